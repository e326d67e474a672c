"""Looking at a swarm ends, whatever is wrong with it, and says what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

from skep.clock import VirtualClock
from skep.control.archive import ArchiveLink
from skep.control.client import SocketLink
from skep.control.link import LinkState
from skep.control.server import ControlServer
from skep.errors import SkepError
from skep.journal import Journal, Row
from skep.model.codec import encode
from skep.paths import socket_path
from tests.control.conftest import folder as folder
from tests.control.listed import ListService, born
from tests.safety.attempts import attempt


def _no_trouble(trouble: SkepError | None) -> None:
    if trouble is not None:
        raise trouble


async def test_a_past_swarm_tells_how_it_is_while_its_state_is_looked_at(folder: Path):
    with Journal(folder, on_durable=lambda seq: None, on_trouble=_no_trouble) as journal:
        rows = [Row(number, 1_700_000_000.0, encode(event)) for number, event in enumerate(born(), 1)]
        journal.append(rows)
        assert journal.wait(len(rows), 10)
    link = ArchiveLink.open(folder, VirtualClock())

    def both() -> LinkState:
        with link.registry.read():
            return link.state

    assert attempt(both).live is False
    await link.close()


async def test_who_asks_once_is_told_that_the_disk_is_full(folder: Path):
    service = ListService(folder)
    service.happens(*born())
    service.trouble = "the journal cannot be written"
    server = await ControlServer.start(service, socket_path(folder), clock=(clock := VirtualClock()))
    link = await SocketLink.connect(folder, client="you", once=True, clock=clock)
    assert link.state.trouble == "the journal cannot be written"
    await link.close()
    await server.close()


def test_a_document_holds_nothing_that_acts_on_a_terminal(capsys):
    from skep.cli.printing import document

    name = "\x1b]52;c;x\x07 \x9b2J \u202e \u200b \x7f \U000e0041 \U0001f41d é"
    document({"name": name})
    printed = capsys.readouterr().out
    assert printed.rstrip("\n").isascii()
    assert printed.rstrip("\n").isprintable()
    assert json.loads(printed) == {"name": name}
