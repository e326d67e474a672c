"""The durable log of a swarm: numbered opaque rows, acknowledged when they are on the disk, proven when read."""

from skep.journal.chain import Row
from skep.journal.checkpoints import Checkpoint
from skep.journal.lock import FolderLock, holder, is_owned
from skep.journal.reader import JournalReader
from skep.journal.remains import Damage
from skep.journal.verify import Verified, verify
from skep.journal.writer import Journal

__all__ = [
    "Checkpoint",
    "Damage",
    "FolderLock",
    "Journal",
    "JournalReader",
    "Row",
    "Verified",
    "holder",
    "is_owned",
    "verify",
]
