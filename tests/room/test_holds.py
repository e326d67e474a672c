"""Holds of every scope and strength as the room puts them on, shows them and says how to end them; resuming."""

from __future__ import annotations

import pytest

from skep.control.verbs import Pause, Resume, Unpause
from skep.model.agent import Face
from skep.model.events import ROOT, AgentEnded, AgentWaiting, EngineStarted, LatchClosed, Record
from skep.model.holds import SWARM_SCOPE
from skep.model.registry import Registry
from skep.model.states import State, Strength, WaitReason
from tests.room.chats import chats
from tests.room.rooms import Room, open_room
from tests.room.scenes import SCENE_NOW

TURNS = Strength.TURNS


def happens(registry: Registry, *events: object) -> None:
    seq = registry.seq
    registry.fold(Record(at, SCENE_NOW, event) for at, event in enumerate(events, seq + 1))


def banner(room: Room) -> str:
    return room.row("#banner")


async def test_t_holds_the_turns_of_the_branch_and_t_again_releases_them():
    async with open_room(registry=chats()) as room:
        room.app.main.agents.go_to("invoices")
        await room.press("t")
        assert room.verbs == [Pause(scope="invoices", strength=TURNS)]
        assert "turns held" in room.says
        assert "turns held under invoices" in banner(room)
        assert "p hold" in room.row("#footer"), "spawns are not held there"
        await room.press("t")
        assert room.verbs[1:] == [Unpause(scope="invoices", strength=TURNS)]


async def test_capital_t_holds_the_turns_of_the_swarm_and_says_how_to_end_that():
    async with open_room(registry=chats()) as room:
        await room.press("T")
        assert room.verbs == [Pause(scope=SWARM_SCOPE, strength=TURNS)]
        assert "turns held in the swarm" in banner(room)
        assert "T release" in banner(room)
        with room.link.registry.read() as state:
            working = sum(one.slot for one in state.agents.values())
        assert f"{working} still at work" in banner(room), "a turn that is under way comes to its end"
        await room.press("T")
        assert room.verbs[1:] == [Unpause(scope=SWARM_SCOPE, strength=TURNS)]


@pytest.mark.parametrize(
    ("typed", "verb", "said"),
    [
        (
            "pause --model kimi/k2 --turns",
            Pause(scope="model:kimi/k2", strength=TURNS),
            "turns held on model kimi/k2",
        ),
        ("pause --account k-1", Pause(scope="account:kimi/k-1"), "new spawns held on account kimi/k-1"),
        ("pause docs --turns", Pause(scope="docs", strength=TURNS), "turns held under docs"),
    ],
)
async def test_the_prompt_holds_models_and_accounts(typed: str, verb: Pause, said: str):
    registry = chats()
    happens(registry, EngineStarted(1, accounts={"kimi": ["kimi/k-1", "kimi/k-2"]}))
    async with open_room(registry=registry, size=(160, 48)) as room:
        await room.press(":")
        await room.type(typed)
        assert room.verbs == [verb]
        await room.press(":")
        await room.type("unpause docs")  # the older hold there
        assert said in banner(room)
        if "docs" not in typed:
            assert f":unpause --{verb.scope.replace(':', ' ')}" in banner(room), "what it says ends it"


async def test_an_agent_that_holds_at_its_turn_says_so_and_counts_as_held():
    registry = chats()
    happens(
        registry,
        LatchClosed("invoices", TURNS, "rate limits", "anna"),
        AgentWaiting("inv-parser", WaitReason.GATE, "turns held by anna"),
    )
    with registry.read() as state:
        assert state.face(state.agents["inv-parser"]) is Face.HELD
        before = sum(state.face(one) is Face.HELD for one in state.agents.values())
    async with open_room(registry=registry, size=(160, 48)) as room:
        room.app.main.agents.go_to("inv-parser")
        await room.settle()
        await room.after(8.0)  # what was said before has had its time
        assert "turns held by invoices" in room.app.main.message.render_line(0).text
        assert f"{before} held" in room.row("#header")
        room.app.main.agents.go_to("invoices")
        await room.press("t")
        assert room.verbs == [Unpause(scope="invoices", strength=TURNS)]


async def test_r_goes_on_with_a_lost_conversation_and_the_banner_counts_what_is_left():
    registry = chats()
    happens(
        registry,
        AgentEnded("inv-parser", State.LOST, error="its engine died while it ran"),
        AgentEnded("inv-credit", State.LOST, error="its engine died while it ran"),
        *(LatchClosed("docs", strength, "", "you") for strength in Strength),
    )
    async with open_room(registry=registry, size=(160, 48)) as room:
        await room.press(":")
        await room.type("unpause docs")
        await room.press(":")
        await room.type("unpause docs --turns")
        assert "2 lost agents can be resumed" in banner(room)
        assert "r on one resumes it" in banner(room)
        room.app.main.agents.go_to("inv-parser")
        await room.press("r")
        assert room.verbs[-1] == Resume(agent="inv-parser")
        assert "inv-parser 2 goes on with its conversation" in room.says
        assert "1 lost agent can be resumed" in banner(room)


async def test_what_runs_or_is_no_conversation_is_not_resumed():
    async with open_room(registry=chats()) as room:
        room.app.main.agents.go_to("inv-parser")
        await room.press("r")
        assert "has not ended" in room.says
        assert room.verbs == []
    async with open_room() as room:
        room.app.main.agents.go_to("lint")
        await room.press("r")
        assert room.verbs == []


async def test_a_read_only_room_holds_and_resumes_nothing():
    async with open_room(registry=chats(), read_only=True) as room:
        await room.press("t", "T", "r")
        assert room.verbs == []
        assert "read-only" in room.says


def test_the_root_has_an_id_that_no_scope_can_be_taken_for():
    assert ":" not in ROOT
