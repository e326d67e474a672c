"""Keys under fire: limits, refusals and faults bench the key that met them, and no agent fails for it."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from skep.keys import KeyState
from skep.model.events import ROOT, AgentEnded, AgentWaiting, AttemptStruck, TurnCompleted
from skep.model.states import State, WaitReason
from skep.simulator.limits import KeyLimits, Storm
from skep.simulator.scenario import Scenario, SimulatedKey
from tests.chat.asking import call, chat, delegate, task
from tests.chat.conftest import KEYS, ChatHive, MakeChatHive
from tests.chat.holding import check
from tests.engine.hive import turns


def busy(turns_: int) -> list[dict]:
    return [{"say": "x"} | call("list_files") for _ in range(turns_)]


def ends(hive: ChatHive) -> Counter[State]:
    return Counter(event.state for event in hive.events(AgentEnded) if event.agent != ROOT)


def check_totals(hive: ChatHive, agent: str = ROOT) -> None:
    """What the agents say they used is what the provider handed out, key by key."""
    ledger = hive.simulator.ledger
    with hive.registry.read() as state:
        spend = state.spend(agent)
    assert (spend.turns, spend.tokens_in, spend.tokens_out) == (
        ledger.completed,
        ledger.tokens_in,
        ledger.tokens_out,
    )
    counted: Counter[str] = Counter()
    for event in hive.events(TurnCompleted):
        counted[event.key] += event.tokens_in + event.tokens_out
    handed = {label: one.tokens_in + one.tokens_out for label, one in ledger.keys.items()}
    assert counted == {label.replace("key-", "sim-"): tokens for label, tokens in handed.items() if tokens}
    cached = sum(one.cached for one in ledger.keys.values())
    assert spend.cost == pytest.approx(
        (ledger.tokens_in - cached) * 2.0 + cached * 0.5 + ledger.tokens_out * 8.0, abs=spend.turns
    )


async def test_a_storm_on_one_key_benches_that_key_and_no_other(make_chat_hive: MakeChatHive):
    limits = [KeyLimits(), KeyLimits(storms=[Storm(3, 3_600.0)]), KeyLimits(), KeyLimits()]
    keys = [SimulatedKey(key, limit) for key, limit in zip(KEYS, limits, strict=False)]
    hive = await make_chat_hive(scenario=Scenario(keys=keys))
    agents = [chat(f"a{n}", *busy(6), cwd=hive.workspace) for n in range(24)]
    await hive.launch(*agents, slots=24)
    await hive.over()
    assert ends(hive) == {State.DONE: 24}
    struck = hive.events(AttemptStruck)
    assert {(event.key, event.outcome) for event in struck} == {("sim-2", "rate_limited")}
    view = {key.label: key for key in hive.pool.snapshot().keys}
    assert {label: key.state for label, key in view.items()} == {
        "sim-1": KeyState.OK,
        "sim-2": KeyState.COOLING,
        "sim-3": KeyState.OK,
        "sim-4": KeyState.OK,
    }
    assert view["sim-2"].until == pytest.approx(hive.clock.time() + 3_600, abs=1)
    assert view["sim-2"].rate_limited == len(struck) == hive.simulator.ledger.keys["key-2"].rate_limited
    assert view["sim-2"].rotations == len(struck), "each of them went on with another key, once"
    # Those that were in flight when it began; nobody comes after that.
    assert len(struck) <= 24
    check_totals(hive)
    check(hive)


async def test_when_every_key_cools_agents_wait_and_go_on_after_it(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(keys=2)
    refused = {"status": 429, "retry_after": 40, "times": 2}
    agents = [chat(f"a{n}", refused, {"say": "at last"}, cwd=hive.workspace) for n in range(4)]
    await hive.launch(*agents, slots=4)
    await hive.until(lambda state: all(state.agents[f"a{n}"].reason is WaitReason.KEY for n in range(4)))
    one = hive.agent("a0")
    assert one.slot
    assert "cools 0:40" in one.detail
    assert hive.simulator.ledger.completed == 0
    await hive.pass_time(39)
    assert all(hive.agent(f"a{n}").state is State.WAITING for n in range(4))
    while hive.status() is None:
        await hive.pass_time(41)
        await settled(hive)
    await hive.over()
    assert ends(hive) == {State.DONE: 4}
    assert {event.outcome for event in hive.events(AttemptStruck)} == {"rate_limited"}
    check_totals(hive)
    check(hive)


async def settled(hive: ChatHive) -> None:
    """Until nothing more happens by itself: everybody waits for a key or has ended."""

    def still(state) -> bool:
        live = [one for one in state.agents.values() if not one.ended and one.id != ROOT]
        return all(one.reason is WaitReason.KEY or one.state is State.QUEUED for one in live)

    await hive.until(still)
    await turns()


async def test_who_waits_for_a_key_keeps_the_slot_for_a_minute(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    limited = {"status": 429, "retry_after": 120, "times": 1, "say": "a"}
    first = chat("a", limited, cwd=hive.workspace, timeout=30)
    await hive.launch(first, chat("b", {"say": "b"}, cwd=hive.workspace), slots=1)
    await hive.until(lambda state: state.agents["a"].reason is WaitReason.KEY)
    since = hive.agent("a").since
    await hive.pass_time(59)
    assert hive.agent("a").slot
    assert hive.agent("b").state is State.QUEUED
    await hive.pass_time(1.5)
    await hive.until(lambda state: state.agents["b"].reason is WaitReason.KEY)
    one = hive.agent("a")
    assert (one.state, one.reason, one.slot, one.since) == (State.WAITING, WaitReason.KEY, False, since)
    assert hive.agent("b").slot
    await hive.pass_time(60)
    await hive.over()
    assert ends(hive) == {State.DONE: 2}
    waits = [(event.reason, event.keeps_slot) for event in hive.events(AgentWaiting) if event.agent == "a"]
    assert waits == [(WaitReason.KEY, True), (WaitReason.KEY, False), (WaitReason.SLOT, False)]
    check(hive)


async def test_a_stop_of_agents_that_wait_for_a_key_leaves_nobody_in_its_line(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive()
    limited = {"status": 429, "retry_after": 3_000, "times": 1, "say": "a"}
    await hive.launch(*(chat(f"a{n}", limited, cwd=hive.workspace) for n in range(6)), slots=3)
    await hive.until(lambda state: sum(a.reason is WaitReason.KEY for a in state.agents.values()) == 3)
    await hive.pass_time(61)
    await hive.until(lambda state: sum(a.reason is WaitReason.KEY for a in state.agents.values()) == 6)
    assert hive.pool.snapshot().waiters == 6
    await hive.interrupt(ROOT, branch=True)
    await hive.over()
    assert ends(hive) == {State.INTERRUPTED: 6}
    check(hive)


async def test_a_key_that_is_refused_rests_and_the_others_do_the_work(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(keys=2, secrets=[KEYS[0], "not-a-key-of-theirs", KEYS[1]])
    await hive.launch(*(chat(f"a{n}", *busy(3), cwd=hive.workspace) for n in range(12)), slots=12)
    await hive.over()
    assert ends(hive) == {State.DONE: 12}
    struck = hive.events(AttemptStruck)
    assert {(event.key, event.outcome) for event in struck} == {("sim-2", "unauthorized")}
    assert len(struck) == hive.simulator.ledger.unauthorized
    states = {key.label: key.state for key in hive.pool.snapshot().keys}
    assert states == {"sim-1": KeyState.OK, "sim-2": KeyState.COOLING, "sim-3": KeyState.OK}
    check(hive)


async def test_when_no_key_is_taken_agents_fail_and_say_why(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(secrets=["wrong-1", "wrong-2"])
    await hive.launch(*(chat(f"a{n}", {"say": "x"}, cwd=hive.workspace) for n in range(3)), slots=3)
    while hive.status() is None:
        await hive.pass_time(61)
        await turns(100)
    await hive.over()
    assert ends(hive) == {State.FAILED: 3}
    assert "401" in hive.agent("a0").error
    check(hive)


@pytest.mark.parametrize("status", [500, 503, 529])
async def test_the_key_that_failed_is_the_one_that_is_blamed_with_many_in_flight(
    make_chat_hive: MakeChatHive, status: int
):
    hive = await make_chat_hive(keys=4)
    faulty = [{"status": status, "times": 1}, *busy(1), {"cut": 5, "times": 1}, *busy(2)]
    agents = [chat(f"a{n}", *(faulty if n % 3 == 0 else busy(3)), cwd=hive.workspace) for n in range(30)]
    await hive.launch(*agents, slots=30)
    await hive.over()
    assert ends(hive) == {State.DONE: 30}
    blamed = Counter(event.key for event in hive.events(AttemptStruck))
    failed = {label.replace("key-", "sim-"): one.failed for label, one in hive.simulator.ledger.keys.items()}
    assert blamed == {label: count for label, count in failed.items() if count}
    assert sum(failed.values()) == 20
    view = {key.label: key for key in hive.pool.snapshot().keys}
    assert {label: key.failures for label, key in view.items()} == failed
    assert sum(key.rotations for key in view.values()) == 20, "a retry goes to another key while there is one"
    check_totals(hive)
    check(hive)


async def test_a_fault_of_the_request_blames_no_key_and_is_not_tried_again(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(keys=3)
    await hive.launch(*(chat(f"a{n}", {"fail": "too long"}, cwd=hive.workspace) for n in range(6)), slots=6)
    await hive.over()
    assert ends(hive) == {State.FAILED: 6}
    assert all(key.state is KeyState.OK and key.failures == 0 for key in hive.pool.snapshot().keys)
    assert sum(one.requests for one in hive.simulator.ledger.keys.values()) == 6
    check(hive)


async def test_no_more_agents_of_a_provider_run_than_its_keys_can_serve(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(keys=2, cap=3, others=["second"])
    with_cap = [chat(f"a{n}", *busy(2), cwd=hive.workspace) for n in range(16)]
    hung = [chat(f"h{n}", {"hang": True}, cwd=hive.workspace) for n in range(6)]
    without = [chat(f"b{n}", *busy(2), cwd=hive.workspace, model="second/any") for n in range(8)]
    await hive.launch(*hung, *with_cap, *without, slots=7)
    async with asyncio.timeout(20):
        await hive.simulator.ledger.until(lambda ledger: ledger.open == 4)
    await hive.are(State.DONE, *(f"b{n}" for n in range(8)))
    with hive.registry.read() as state:
        assert state.caps == {"simulator": 4}
        assert state.provider_slots["simulator"] == 4, "floor(0.8 × 2 × 3)"
        assert state.is_full("simulator")
    for number in range(6):
        await hive.until(lambda state, n=number: state.agents[f"h{n}"].state is State.RUNNING)
        await hive.interrupt(f"h{number}")
    await hive.over()
    assert ends(hive) == {State.DONE: 24, State.INTERRUPTED: 6}
    ledger = hive.simulator.ledger
    assert max(account.most_open for account in ledger.keys.values()) <= 3
    assert sum(account.most_open for account in ledger.keys.values()) <= 4
    assert hive.simulators["second"].ledger.completed == 24
    check(hive)


async def test_parents_that_wait_do_not_count_against_the_cap_of_their_provider(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(keys=1, cap=1, max_depth=3)
    nest = task("d3", {"say": "deep"})
    for depth in (2, 1):
        nest = task(f"d{depth}", delegate(nest), {"say": "{last}"}, role="orchestrator")
    await hive.launch(root=chat(ROOT, delegate(nest, nest), {"say": "ok"}, cwd=hive.workspace), slots=8)
    await hive.over()
    assert Counter(event.state for event in hive.events(AgentEnded)) == {State.DONE: 7}
    assert max(account.most_open for account in hive.simulator.ledger.keys.values()) == 1
    check_totals(hive)
    check(hive)


async def test_totals_are_what_the_provider_handed_out(make_chat_hive: MakeChatHive):
    hive = await make_chat_hive(keys=3, max_depth=2)
    leaf = [{"status": 503, "times": 1}, *busy(2), {"reset": 3, "times": 1}, {"say": "leaf"}]
    lead = task(
        "lead", delegate(*(task(f"l{n}", *leaf) for n in range(4))), {"say": "{last}"}, role="orchestrator"
    )
    await hive.launch(root=chat(ROOT, delegate(lead, lead, lead), {"say": "{last}"}, cwd=hive.workspace), slots=6)
    while hive.status() is None:
        await hive.pass_time(21)
        await turns(100)
    await hive.over()
    assert Counter(event.state for event in hive.events(AgentEnded)) == {State.DONE: 16}
    check_totals(hive)
    with hive.registry.read() as state:
        parts = [state.spend(child) for child in state.agents[ROOT].children]
        own = state.agents[ROOT]
        whole = state.spend(ROOT)
    assert whole.tokens_in == own.tokens_in + sum(part.tokens_in for part in parts)
    assert whole.cost == own.cost + sum(part.cost for part in parts)
    check(hive)
