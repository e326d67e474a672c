"""What a preview says of conversations: which tool runs and since when, or since when the model is asked."""

from __future__ import annotations

import asyncio

import pytest

from skep.control.preview import preview
from skep.control.verbs import Flight, Preview, Previewed, Standing
from skep.model.approvals import Commands
from skep.model.events import ROOT
from skep.model.states import State
from tests.chat.asking import call, chat
from tests.chat.conftest import ChatHive
from tests.engine.conftest import MakePipe


async def asked(hive: ChatHive) -> None:
    async with asyncio.timeout(20):
        await hive.simulator.ledger.until(lambda ledger: ledger.open >= 1)


def now(hive: ChatHive) -> Previewed:
    return preview(hive.registry, Preview(agent=ROOT, branch=True), hive.clock.time())


async def test_a_tool_is_timed_from_its_own_beginning(chat_hive: ChatHive, pipe: MakePipe):
    works, gate = pipe("works"), pipe("gate")
    line = f"echo up > {works.path}; read line < {gate.path}"
    await chat_hive.launch(
        root=chat(ROOT, call("terminal", command=line), {"hang": True}, cwd=chat_hive.workspace)
    )
    await works.line()
    await chat_hive.pass_time(93, step=0.5)
    (flight,) = now(chat_hive).in_flight
    assert (flight.kind, flight.doing) == (Flight.TOOL, f"$ {line}")
    assert flight.seconds == pytest.approx(93, abs=1)
    gate.let_go()
    await asked(chat_hive)
    await chat_hive.until(lambda state: state.agents[ROOT].turns == 1)
    await chat_hive.pass_time(12, step=0.5)
    (flight,) = now(chat_hive).in_flight
    assert (flight.kind, flight.doing) == (Flight.REQUEST, "asks the model")
    assert flight.seconds == pytest.approx(12, abs=1)
    assert chat_hive.agent(ROOT).in_step(chat_hive.clock.time()) > 100  # its state is an older story


async def test_a_tool_that_asks_is_not_at_work(chat_hive: ChatHive):
    waits = call("terminal", command="true")
    root = chat(ROOT, waits, {"hang": True}, cwd=chat_hive.workspace, commands=Commands.ASK)
    await chat_hive.launch(root=root)
    await chat_hive.until(lambda state: state.agents[ROOT].question is not None)
    await chat_hive.are(State.WAITING, ROOT)
    await chat_hive.pass_time(5)
    found = now(chat_hive)
    assert found.standing == {Standing.ASK: 1}
    assert found.flights == {}
    await chat_hive.engine.answer(ROOT, chat_hive.agent(ROOT).question["hash"], allow=True, who="you")
    await asked(chat_hive)
    await chat_hive.until(lambda state: state.agents[ROOT].turns == 1)
    await chat_hive.pass_time(1)
    assert now(chat_hive).flights == {Flight.REQUEST: 1}
