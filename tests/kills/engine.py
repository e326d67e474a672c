"""An engine process like that of :mod:`skep.cli.engine`, of other parts: ``PARTS POINT NTH ARMED FOLDER …``."""

from __future__ import annotations

import sys
from pathlib import Path

from skep.cli.engine import main
from tests.kills.fuse import FUSE
from tests.kills.mutants import PARTS

if __name__ == "__main__":
    parts, point, nth, armed, *rest = sys.argv[1:]
    FUSE.set(point, int(nth), Path(armed))
    sys.exit(main(rest, PARTS[parts]))
