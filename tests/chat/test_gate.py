"""Latches of every scope and strength over conversations: held, visible, nothing lost, order kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from skep.control.holding import holds
from skep.engine.engine import Engine
from skep.engine.seats import Seats
from skep.errors import NotFound
from skep.keys import KeyState
from skep.model.agent import Face
from skep.model.approvals import Commands
from skep.model.events import AgentAdmitted, LatchOpened, TurnCompleted
from skep.model.holds import SWARM_SCOPE
from skep.model.report import waiting_document
from skep.model.states import State, Strength, WaitReason
from tests.chat.asking import call, chat
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.chat.holding import check
from tests.engine.conftest import MakePipe
from tests.engine.hive import group, turns

MINE, OTHERS = ("g0", "g1", "g2"), ("h0", "h1", "h2")
SCOPES = {
    "swarm": SWARM_SCOPE,
    "branch": "g",
    "model": "model:simulator/any",
    "account": "account:simulator/sim-1",
}
scopes = pytest.mark.parametrize("scope", SCOPES.values(), ids=SCOPES)


def branches(hive: ChatHive, *steps: dict, commands: Commands = Commands.ALLOW) -> list:
    """Two branches of three agents each; each branch has a provider, and with it a model and a key, of its own."""
    return [
        ask
        for branch, provider in (("g", "simulator"), ("h", "other"))
        for ask in (
            group(branch),
            *(
                chat(
                    f"{branch}{n}",
                    *steps,
                    {"say": f"{branch}{n}"},
                    cwd=hive.workspace,
                    parent=branch,
                    commands=commands,
                    model=f"{provider}/any",
                )
                for n in range(3)
            ),
        )
    ]


def reached(scope: str) -> tuple[str, ...]:
    return (*MINE, *OTHERS) if scope == SWARM_SCOPE else MINE


def quiesced(hive: ChatHive, scope: str) -> bool:
    def in_flight(account: str) -> int:
        provider, _, name = account.partition("/")
        keys = hive.models.pools[provider].snapshot().keys
        return sum(key.in_flight for key in keys if key.account == name)

    with hive.registry.read() as state:
        [one] = [one for one in holds(state, in_flight) if one.scope == scope]
    return one.quiesced


@scopes
@pytest.mark.parametrize("strength", Strength)
async def test_what_has_not_begun_is_held_in_its_place_also_after_a_restart(
    make_chat_hive: MakeChatHive, tmp_path: Path, scope: str, strength: Strength
):
    hive = await make_chat_hive(others=("other",))
    await hive.launch(*branches(hive), slots=2, run=False)
    # Closed after two were admitted: nothing of them has run yet, so that the restart finds them lost.
    await hive.engine.pause(scope, strength, "lunch", "you", None)
    folder = await hive.die(tmp_path / "left")
    again = await make_chat_hive(others=("other",), folder=folder)
    await again.recover(go=True)
    lost = {agent for agent in (*MINE, *OTHERS) if again.agent(agent).state is State.LOST}
    held = [agent for agent in reached(scope) if agent not in lost]
    await again.until(lambda state: all(state.agents[a].ended for a in (*MINE, *OTHERS) if a not in held))
    assert sorted(again.held()) == sorted(held)
    with again.registry.read() as state:
        for agent in held:
            assert state.face(state.agents[agent]) is Face.HELD
            shown = waiting_document(state, state.agents[agent], 1)
            assert (shown["reason"], shown["held_by"]) == ("gate", scope or "root")
    assert quiesced(again, scope)
    order = [agent for agent in again.held() if agent in MINE]
    assert order == [agent for agent in MINE if agent in held]
    await again.engine.unpause(scope, strength, "you")
    await again.over()
    admitted = [event.agent for event in again.events(AgentAdmitted) if event.agent in held]
    assert [agent for agent in admitted if agent in MINE] == order
    assert all(again.agent(agent).state is State.DONE for agent in held)
    check(again)


@scopes
async def test_turns_hold_those_that_run_before_their_next_model_call(make_chat_hive: MakeChatHive, scope: str):
    hive = await make_chat_hive(others=("other",))
    ask = call("terminal", command="true")
    await hive.launch(*branches(hive, ask, commands=Commands.ASK), slots=6)
    await hive.until(lambda state: all(state.agents[one].question for one in (*MINE, *OTHERS)))
    await hive.engine.pause(scope, Strength.TURNS, "lunch", "you", None)
    for agent in (*MINE, *OTHERS):
        await hive.engine.answer(agent, hive.agent(agent).question["hash"], allow=True, who="you")
    held = reached(scope)
    free = [agent for agent in OTHERS if agent not in held]
    await hive.until(lambda state: all(state.agents[one].ended for one in free))
    for agent in held:
        # Those that come back from the approval stand in line for their slot, and are held there.
        await hive.until(
            lambda state, a=agent: state.line.is_parked(a) or state.agents[a].reason is WaitReason.GATE
        )
    await turns()
    with hive.registry.read() as state:
        for agent in held:
            assert state.face(state.agents[agent]) is Face.HELD
            assert (state.agents[agent].turns, state.agents[agent].slot) == (1, False)
            assert waiting_document(state, state.agents[agent], 1)["reason"] == "gate"
        assert state.slots_used == 0
    assert quiesced(hive, scope)
    await hive.engine.unpause(scope, Strength.TURNS, "you")
    await hive.over()
    assert all(hive.agent(agent).state is State.DONE for agent in (*MINE, *OTHERS))
    assert {event.agent: event.turn for event in hive.events(TurnCompleted)} == dict.fromkeys((*MINE, *OTHERS), 2)
    check(hive)


class NeverHeld(Seats):
    """A mutant: nobody is told that its turns are held."""

    def held(self, agent: str, generation: int) -> str:
        return ""


class HoldsNobody(Engine):
    """An engine with that fault."""

    def __init__(self, *given: object, **options: object) -> None:
        super().__init__(*given, **options)  # type: ignore[arg-type]
        self._seats.__class__ = NeverHeld


async def hold_one_that_works(make_chat_hive: MakeChatHive, pipe: MakePipe, scope: str, **options: object) -> None:
    """A hold comes while a tool runs; the agent has its slot, and gives it back before its next model call."""
    hive = await make_chat_hive(others=("other",), **options)
    gate = pipe("gate")
    works = chat("x", call("terminal", command=f"read x < {gate.path}"), {"say": "x"}, cwd=hive.workspace)
    await hive.launch(group("g"), works.model_copy(update={"parent": "g"}), slots=1)
    await hive.until(lambda state: state.agents["x"].calls)
    await hive.engine.pause(scope, Strength.TURNS, "lunch", "you", None)
    assert not quiesced(hive, scope) or scope.startswith("account")
    gate.let_go()
    await hive.until(lambda state: state.agents["x"].reason is WaitReason.GATE or state.agents["x"].ended)
    one = hive.agent("x")
    assert (one.state, one.reason, one.slot, one.turns) == (State.WAITING, WaitReason.GATE, False, 1)
    assert quiesced(hive, scope)
    await hive.engine.unpause(scope, Strength.TURNS, "you")
    await hive.over()
    assert hive.agent("x").state is State.DONE
    check(hive)


@scopes
async def test_who_works_gives_its_slot_back_before_its_next_model_call(
    make_chat_hive: MakeChatHive, pipe: MakePipe, scope: str
):
    await hold_one_that_works(make_chat_hive, pipe, scope)


@pytest.mark.parametrize("scope", [SWARM_SCOPE, "g", "model:simulator/any"])
async def test_an_engine_that_holds_no_turns_is_caught(make_chat_hive: MakeChatHive, pipe: MakePipe, scope: str):
    with pytest.raises(AssertionError):
        await hold_one_that_works(make_chat_hive, pipe, scope, engine=HoldsNobody)


@scopes
async def test_a_hold_is_not_called_quiesced_while_a_model_call_goes_on(make_chat_hive: MakeChatHive, scope: str):
    hive = await make_chat_hive(others=("other",))
    hangs = chat("x", {"hang": True}, cwd=hive.workspace, parent="g")
    asks = branches(hive, call("terminal", command="true"), commands=Commands.ASK)
    await hive.launch(*asks, hangs, slots=7)
    await hive.until(lambda state: all(state.agents[one].question for one in (*MINE, *OTHERS)))
    while not hive.simulator.ledger.open:
        await turns()
    await hive.engine.pause(scope, Strength.TURNS, "", "you", None)
    assert not quiesced(hive, scope)
    await hive.interrupt("x")
    await hive.are(State.INTERRUPTED, "x")
    assert quiesced(hive, scope)
    await hive.kill("root", branch=True)
    await hive.over()
    check(hive)


async def test_new_agents_are_kept_from_a_held_account_and_those_that_use_it_go_on(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(keys=2)
    ask = call("terminal", command="true")
    old = [chat(f"old{n}", ask, ask, {"say": "x"}, cwd=hive.workspace, commands=Commands.ASK) for n in range(2)]
    await hive.launch(*old, slots=4)
    await hive.until(lambda state: all(state.agents[one.id].question for one in old))
    used = {one.id: hive.agent(one.id).key for one in old}
    assert set(used.values()) == {"sim-1", "sim-2"}
    await hive.engine.pause("account:simulator/sim-1", Strength.SPAWNS, "", "you", None)
    await turns()
    assert [key.state for key in hive.pool.snapshot().keys] == [KeyState.HELD, KeyState.OK]
    lease = hive.pool.take("any", "new", "b")
    assert lease is not None
    assert lease.label == "sim-2"
    lease.release()
    for one in old:
        for _ in range(2):
            await hive.until(lambda state, a=one.id: state.agents[a].question)
            await hive.engine.answer(one.id, hive.agent(one.id).question["hash"], allow=True, who="you")
            await hive.until(lambda state, a=one.id: state.agents[a].question is None)
    await hive.over()
    assert {event.agent: event.key for event in hive.events(TurnCompleted)} == used
    check(hive)


async def test_a_hold_of_turns_ends_by_itself_on_time(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    ask = call("terminal", command="true")
    await hive.launch(chat("a", ask, {"say": "x"}, cwd=hive.workspace, commands=Commands.ASK))
    await hive.until(lambda state: state.agents["a"].question)
    await hive.engine.pause("model:simulator/any", Strength.TURNS, "", "you", 90.0)
    await hive.engine.answer("a", hive.agent("a").question["hash"], allow=True, who="you")
    await hive.until(lambda state: state.line.is_parked("a"))
    await hive.pass_time(89.0)
    assert hive.held() == ["a"]
    await hive.pass_time(2.0)
    await hive.over()
    assert [event.who for event in hive.events(LatchOpened)] == ["its end time"]
    assert hive.agent("a").state is State.DONE


@pytest.mark.parametrize("scope", ["model:simulator/an", "account:simulator/sim-9", "nobody"])
async def test_what_is_not_there_cannot_be_held(make_chat_hive: MakeChatHive, scope: str):
    hive = await make_chat_hive()
    await hive.launch(chat("a", {"hang": True}, cwd=hive.workspace))
    with pytest.raises(NotFound):
        await hive.engine.pause(scope, Strength.SPAWNS, "", "you", None)
    await hive.kill("a")
    await hive.over()
