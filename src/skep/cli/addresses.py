"""What the addresses of the command line mean where a verb takes only one kind of them."""

from __future__ import annotations

from skep.control.swarms import SwarmFolder, resolve
from skep.errors import BadInput, NotFound
from skep.text import clean_line


def whole_swarm(address: str | None) -> SwarmFolder:
    """The swarm that this address names. Raises ``NotFound``, or ``BadInput`` if it names an agent."""
    target = resolve(address)
    if target.agent is None:
        return target.swarm
    shown = clean_line(address or "", limit=80)
    if "/" in shown:
        raise BadInput("this verb is for whole swarms", where=shown, mend=f"write {target.swarm.id}")
    raise NotFound(f"there is no swarm {shown}", mend="skep ls lists them")
