"""Verbs over the control socket: what is asked is checked, carried out, or refused in words."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import get_args

import pytest

from skep.clock import VirtualClock
from skep.control.client import SocketLink
from skep.control.server import ControlServer
from skep.control.service import Who
from skep.control.verbs import (
    AnyRequest,
    Done,
    Flight,
    Pause,
    Preview,
    Previewed,
    Request,
    Standing,
    Stop,
    Uncommitted,
    UncommittedShown,
)
from skep.errors import NotFound, Refused, SkepError
from skep.paths import socket_path
from tests.control.conftest import Connect, ConnectRaw
from tests.control.listed import BrokenService, ListService, advance_until, born, ends, rounds, runs

pytestmark = pytest.mark.usefixtures("server")


async def test_a_verb_is_carried_out_and_answered(service: ListService, connect: Connect):
    service.happens(*born())
    link = await connect()
    reply = await link.call(Pause(scope="a1", reason="lunch", seconds=60))
    assert reply == Done(seq=service.durable, agents=[])
    assert service.asked == [(Pause(scope="a1", reason="lunch", seconds=60), Who("you"))]
    await link.until(lambda state: state.seq >= reply.seq)
    with link.registry.read() as state:
        assert [latch.reason for latch in state.latches.values()] == ["lunch"]


async def test_a_preview_comes_back_as_what_it_is(service: ListService, connect: Connect):
    service.happens(*born(), *runs("a1"))
    link = await connect()
    reply = await link.call(Preview(agent="a1", branch=True))
    assert isinstance(reply, Previewed)
    assert (reply.count, reply.states, reply.standing) == (1, {"running": 1}, {Standing.RUNNING: 1})
    assert [(flight.kind, flight.doing) for flight in reply.in_flight] == [(Flight.PROGRAM, "$ true")]
    assert await link.call(Uncommitted(agents=("a1",))) == UncommittedShown(worktrees=[], files=0)


async def test_the_engines_refusal_reaches_the_caller_with_all_its_parts(service: ListService, connect: Connect):
    service.happens(*born())
    link = await connect()
    with pytest.raises(Refused) as caught:
        await link.call(Stop(agent="a1"))
    error = caught.value
    assert (error.what, error.where, error.why) == ("not now", "a1", "it has ended")
    assert error.mend == "look at another one"
    with pytest.raises(NotFound):
        await link.tail("nobody")


def _every_verb() -> list[Request]:
    """One of each that the wire knows, with an example for whatever it must have: a new one comes by itself."""
    examples: dict[str, object] = {"agent": "a1", "agents": ("a1",), "hash": "x", "allow": True}
    union, _ = get_args(AnyRequest)
    needed = {
        verb: [name for name, field in verb.model_fields.items() if field.is_required()]
        for verb in get_args(union)
    }
    return [verb(**{name: examples[name] for name in names}) for verb, names in needed.items()]


QUESTIONS = {"preview", "uncommitted", "holds", "keys"}
"""What a read-only client may ask. Everything else changes the swarm, and so does a new verb unless it says so."""


@pytest.mark.parametrize("request_", _every_verb(), ids=lambda request: request.verb)
async def test_a_read_only_client_may_ask_and_not_act(
    service: ListService, connect: Connect, request_: AnyRequest
):
    service.happens(*born())
    link = await connect(read_only=True)
    assert link.state.read_only
    if request_.verb in QUESTIONS:
        await link.call(request_)
        assert service.asked == [(request_, Who("you", read_only=True))]
        return
    with pytest.raises(Refused, match=f"{request_.verb} is not for a read-only client") as caught:
        await link.call(request_)
    assert "without --read-only" in str(caught.value.mend)
    assert service.asked == []
    assert link.registry.seq == service.durable == len(born())


async def test_a_read_only_client_may_look(service: ListService, connect: Connect, clock: VirtualClock):
    service.happens(*born(), *runs("a1"))
    service.output["a1"] = ["one", "two"]
    link = await connect(read_only=True)
    assert isinstance(await link.call(Preview(agent="a1")), Previewed)
    assert isinstance(await link.call(Uncommitted(agents=("a1",))), UncommittedShown)
    assert (await link.tail("a1")).lines == ("one", "two")
    assert link.registry.pages() == service.registry.pages()
    assert await link.records() == service.all_records()
    link.follow("a1")
    await rounds()
    service.output["a1"] += ["three"]
    service.happens(*ends("a1"))
    await link.until(lambda state: state.agents["a1"].ended)
    lines: list[str] = []
    await advance_until(
        clock, lambda: bool(lines.extend(n for _, c in link.take_output() for n in c.lines) or lines)
    )
    assert lines == ["three"]
    once = await connect(read_only=True, once=True)
    assert once.registry.pages() == service.registry.pages()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"verb": "pause", "seconds": "5"}, "request.pause.seconds"),
        ({"verb": "pause", "seconds": -1}, "request.pause.seconds"),
        ({"verb": "pause", "reason": "x" * 501}, "request.pause.reason"),
        ({"verb": "pause", "strength": "all"}, "request.pause.strength"),
        ({"verb": "stop"}, "request.stop.agent"),
        ({"verb": "stop", "agent": "a1", "sudo": True}, "request.stop.sudo"),
        ({"verb": "uncommitted", "agents": []}, "request.uncommitted.agents"),
        ({"verb": "uncommitted", "agents": ["a1"] * 501}, "request.uncommitted.agents"),
        ({"verb": "stop", "agent": "\ud800"}, "params"),
        ({"verb": "reboot"}, "request"),
        ("stop", "request"),
    ],
)
async def test_a_request_that_does_not_fit_names_the_field_and_the_connection_stays(
    service: ListService, raw: ConnectRaw, request_: dict[str, object] | str, field: str
):
    client = await raw()
    await client.hello()
    client.ask("call", {"request": request_}, 5)  # type: ignore[dict-item]
    error = (await client.answer())["error"]
    assert error["data"]["class"] == "BadInput"
    assert field in error["data"]["where"]
    assert service.asked == []
    client.ask("call", {"request": {"verb": "pause"}}, 6)
    assert (await client.answer())["id"] == 6


async def test_an_unknown_method_is_answered_as_such(raw: ConnectRaw):
    client = await raw()
    await client.hello()
    client.ask("shutdown", {}, 9)
    answer = await client.answer()
    assert (answer["id"], answer["error"]["code"]) == (9, -32601)


async def test_attaching_twice_is_refused(service: ListService, raw: ConnectRaw):
    service.happens(*born())
    client = await raw()
    await client.hello()
    client.ask("attach", {"after_seq": 0}, 1)
    assert (await client.answer())["result"] == {"seq": service.durable}
    for number, method in enumerate(("attach", "tree"), 2):
        client.ask(method, {}, number)
        assert (await client.answer())["error"]["data"]["class"] == "Refused"


async def test_events_can_be_asked_for_in_pages(service: ListService, connect: Connect):
    service.happens(*born(5))
    link = await connect()
    records = await link.records(after=2, limit=3)
    assert records == service.all_records()[2:5]
    assert await link.records(after=service.durable) == []


async def test_a_look_without_attaching_gives_the_picture_of_that_moment(service: ListService, connect: Connect):
    service.happens(*born(), *runs("a1"))
    link = await connect(once=True)
    assert link.registry.pages() == service.registry.pages()
    seen = link.registry.seq
    service.happens(*ends("a1"))
    assert [record.seq async for record in link.events()] == list(range(1, service.durable + 1))
    assert link.registry.seq == seen
    assert isinstance(await link.call(Pause()), Done)


async def test_a_verb_that_waits_keeps_no_other_question_waiting(service: ListService, connect: Connect):
    service.happens(*born())
    service.output["a1"] = ["one"]
    link = await connect()
    service.gate.clear()
    waiting = asyncio.create_task(link.call(Pause()))
    assert (await link.tail("a1")).lines == ("one",)
    assert not waiting.done()
    service.gate.set()
    assert isinstance(await waiting, Done)


async def test_a_client_that_asks_and_asks_has_only_so_much_under_way(service: ListService, raw: ConnectRaw):
    service.happens(*born())
    client = await raw()
    await client.hello()
    service.gate.clear()
    for number in range(1, 101):
        client.ask("call", {"request": {"verb": "pause"}}, number)
    await rounds(200)
    assert len(service.asked) == 8
    service.gate.set()
    assert sorted([(await client.answer())["id"] for _ in range(100)]) == list(range(1, 101))


async def test_a_fault_in_the_engine_is_answered_and_harms_nobody(
    folder: Path, clock: VirtualClock, caplog: pytest.LogCaptureFixture
):
    service = BrokenService(folder)
    service.happens(*born())
    server = await ControlServer.start(service, socket_path(folder), clock=clock)
    link = await SocketLink.connect(folder, client="you", clock=clock)
    with caplog.at_level(logging.ERROR), pytest.raises(SkepError, match="failed at this call"):
        await link.call(Pause())
    assert "ZeroDivisionError" in caplog.text
    assert await link.records(limit=1) == service.all_records()[:1]
    await link.close()
    await server.close()
