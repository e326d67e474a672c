"""The claims about a crash, each as one check over what was told, what is kept, what ran, and what was paid."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from skep.journal import verify
from skep.model.events import LatchClosed, Record, ToolEnded
from skep.model.holds import Latch
from skep.model.registry import from_pages, to_pages
from skep.model.states import DriverKind, State, Strength
from skep.model.swarm import SwarmState
from tests.chat.holding import check_calls
from tests.kills.life import Mixed
from tests.kills.mixed import JOBS, LEADS, PRICES
from tests.kills.reference import Story
from tests.kills.remains import remains
from tests.simulator.logged import MARK, Asked

LABEL = re.compile(r"\./work ([\w.]+)")
RECOVERY = "recovery"


def nothing_acknowledged_is_lost(mixed: Mixed) -> list[Record]:
    """What any client was told is in the journal, unchanged, and the journal proves itself; returns all of it."""
    assert verify(mixed.folder).rows >= max(mixed.told.last, mixed.acknowledged), "acknowledged events are missing"
    kept = mixed.kept()
    told = mixed.told.records
    assert kept[: len(told)] == told, "acknowledged events were changed"
    return kept


def what_ran_was_durable(mixed: Mixed, kept: Sequence[Record]) -> None:
    """Nothing was carried out that the journal does not know of, and nothing twice."""
    story = Story.of(kept)
    asked = defaultdict(set)
    for agent, turns in story.turns.items():
        for turn in turns:
            asked[agent].update(LABEL.findall(json.dumps(turn.message)))
    runs = Counter(mixed.traces())
    for (label, agent), count in runs.items():
        if story.asked[agent].driver is DriverKind.COMMAND:
            assert count <= story.admitted[agent], f"{label} ran {count} times, admitted {story.admitted[agent]}"
        else:
            known = any(label in asked[one] for one in story.chain(agent))
            assert known, f"{label} of {agent} ran before its turn was durable"
    for label, count in Counter(label for label, agent in runs.elements() if "." in label[1:]).items():
        assert count == 1, f"{label} ran {count} times"


def replayed(records: Sequence[Record]) -> SwarmState:
    """The state of these events."""
    state = SwarmState()
    for record in records:
        state.fold(record)
    return state


def taken_over(before: Sequence[Record], state: SwarmState, *, go: bool = False) -> None:
    """The new engine found what was left: who is lost, who waits in which order, what is held, what was spent."""
    story = Story.of(before)
    for agent, end in story.after_a_crash().items():
        one = state.agents[agent]
        if end is None:
            assert agent in state.line, f"{agent} does not wait any more: it is {one.state}"
        else:
            assert one.state is end, f"{agent} is {one.state} and not {end}"
        if end is State.LOST:
            assert one.calls == story.open[agent], f"{agent} has other open calls"
        assert one.question is None
        assert not one.slot
    found_before = replayed(before)
    found_before.fold(Record(found_before.seq + 1, found_before.time, LatchClosed("", Strength.SPAWNS, "", "")))
    held = found_before.line.held()  # everything that waits, in the order in which it would be let go
    assert state.line.held() == [agent for agent in held if agent in state.line], "the order is another one"
    for key, (since, latch) in story.latches.items():
        found = state.latches.get(key)
        if found is None and key[0] in state.agents and state.agents[key[0]].ended:
            continue  # it holds nothing any more
        assert found is not None, f"the latch {key} is gone"
        kept = (found.reason, found.who, found.since, found.until)
        assert kept == (latch.reason, latch.who, since, latch.until), "a latch is another one"
    for one in state.agents.values():
        if one.state is State.LOST and one.driver is DriverKind.CHAT and not one.resumed_by:
            assert go or not any(a.driver is DriverKind.GROUP and a.ended for a in state.ancestors(one.id))
    recovery = state.latches.get(("", Strength.SPAWNS))
    assert go or recovery is not None, "it is not held"
    assert set(state.latches) - set(story.latches) <= {("", Strength.SPAWNS)}
    spend = state.spend("root")
    used = [sum(turn[n] for turn in story.tokens) for n in (1, 2, 3)]
    assert [spend.tokens_in, spend.tokens_out, spend.cost] == used


def is_what_the_journal_says(state: SwarmState, kept: Sequence[Record]) -> None:
    """The engine, which began at a checkpoint, has the state of all events."""
    assert to_pages(replayed(kept[: state.seq])) == to_pages(state)


def unknown_is_listed(mixed: Mixed, kept: Sequence[Record], tree: dict[str, Any]) -> None:
    """``skep tree --json`` names the calls of each lost conversation of which nobody knows how they ended."""
    story = Story.of(kept)
    for agent in tree["agents"]:
        lost = agent["state"] == "lost" and agent["driver"] == "chat"
        wanted = list(story.open[agent["id"]].values()) if lost else []
        assert agent["unknown"] == wanted, agent["name"]


def conversations_are_whole(kept: Sequence[Record], log: Sequence[Asked]) -> None:
    """Every conversation that came to its end was sent to its provider complete, well formed and in order."""
    check_calls(list(kept))
    assert not [asked for asked in log if asked.outcome == "refused"], "the provider refused a conversation"
    story = Story.of(kept)
    requests: dict[str, list[Asked]] = defaultdict(list)
    for asked in log:
        requests[asked.goal].append(asked)
    for agent, asked_for in story.asked.items():
        done = story.ends.get(agent)
        if asked_for.driver is not DriverKind.CHAT or done is None or done.state is not State.DONE:
            continue
        wanted = story.conversation(agent)
        assert wanted[-1][0] == "assistant", "the last word is the model's"
        goal = asked_for.goal.partition(MARK)[0].strip()
        last = sum(role == "assistant" for role, _ in wanted)
        sent = [one for one in requests[goal] if one.turn == last][-1]  # others may have been in flight at a crash
        differ = [pair for pair in zip_longest(sent.said(), wanted[:-1]) if pair[0] != pair[1]]
        assert not differ, f"{agent} was sent something else than what happened: {differ[:2]}"


def calls_were_settled(kept: Sequence[Record], read_only: Sequence[str] = ("list_files", "read_file")) -> None:
    """After a resume what only reads was made again, and everything else is told as unknown."""
    for record in kept:
        event = record.event
        if isinstance(event, ToolEnded) and event.turn == 0:
            if event.tool in read_only:
                assert event.ok
            else:
                assert event.content.startswith("error: unknown")


def every_call_ran_or_is_unknown(mixed: Mixed, kept: Sequence[Record]) -> None:
    """Of each command that a model asked for: it ran once, or its result says why nobody knows."""
    ran = {label for label, _ in mixed.traces()}
    labels: dict[tuple[str, str], str] = {}
    story = Story.of(kept)
    for agent in story.asked:
        for one in story.chain(agent):
            for turn in story.turns[one]:
                for call in turn.message.get("tool_calls") or []:
                    found = LABEL.search(call["arguments"]) if call["name"] == "terminal" else None
                    if found:
                        labels[agent, call["id"]] = found[1]
    for record in kept:
        event = record.event
        if isinstance(event, ToolEnded) and event.ok and (event.agent, event.call) in labels:
            assert labels[event.agent, event.call] in ran


def accounts_agree(mixed: Mixed, kept: Sequence[Record], log: Sequence[Asked]) -> None:
    """What the journal counted was handed out; what was handed out and not counted was in flight at a crash."""
    story = Story.of(kept)
    handed: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for asked in log:
        if asked.outcome == "completed":
            handed[asked.goal, asked.turn].append((asked.tokens_in, asked.tokens_out))
    counted: Counter[tuple[str, int]] = Counter()
    for agent, asked_for in story.asked.items():
        if asked_for.resumes or asked_for.driver is not DriverKind.CHAT:
            continue
        goal = asked_for.goal.partition(MARK)[0].strip()
        turns = [turn for one in _chain_from(story, agent) for turn in story.turns[one]]
        for number, turn in enumerate(turns, 1):
            counted[goal, number] += 1
            assert (turn.tokens_in, turn.tokens_out) in handed[goal, number], f"{goal} was not sold turn {number}"
            assert turn.cost == turn.tokens_in * PRICES.input + turn.tokens_out * PRICES.output
    for place, count in counted.items():
        assert count == 1, f"turn {place} was counted {count} times"
    for place, answers in handed.items():
        assert len(answers) - counted[place] <= mixed.crashes, f"turn {place} was paid {len(answers)} times"


def _chain_from(story: Story, agent: str) -> list[str]:
    chain = [agent]
    while chain[-1] in story.resumed_by:
        chain.append(story.resumed_by[chain[-1]])
    return chain


def nothing_runs(mixed: Mixed) -> None:
    assert not remains(mixed.swarm, mixed.place.project, mixed.engine)


def ended_well(mixed: Mixed, kept: Sequence[Record], document: dict[str, Any]) -> None:
    """Everything has ended, with the status and the totals that follow from the events; leads came to theirs."""
    story = Story.of(kept)
    assert set(story.ends) == set(story.asked)
    operators = [
        story.ends[agent].state
        for agent, asked in story.asked.items()
        if asked.driver is not DriverKind.GROUP and not asked.spec.get("depth") and agent not in story.resumed_by
    ]
    failed = {State.FAILED, State.LOST, State.TIMED_OUT, State.OVER_LIMIT}.intersection(operators)
    wanted = "failed" if failed else "interrupted" if set(operators) != {State.DONE} else "done"
    assert (story.status, document["status"]) == (wanted, wanted)
    totals = document["totals"]
    assert [totals["tokens_in"], totals["tokens_out"], round(totals["cost_usd"] * 1e6)] == [
        sum(turn[n] for turn in story.tokens) for n in (1, 2, 3)
    ]
    for n in range(LEADS):
        agent = story.newest(f"lead{n}")
        end = story.ends[agent]
        if end.state is not State.INTERRUPTED:
            assert end.state is State.DONE, f"lead{n} ended as {end.state}: {end.error}"
            assert end.result in (f"lead{n} is done", "done"), "the latter if only its end was lost"
    states = Counter(story.ends[f"job{n}"].state for n in range(JOBS))
    assert set(states) <= {State.DONE, State.FAILED, State.LOST}


def same_pages(first: SwarmState, second: SwarmState) -> None:
    """Two recoveries of the same crash: byte by byte the same, but for moments, processes and event numbers."""
    assert _timeless(first) == _timeless(second)


def _timeless(state: SwarmState) -> list[bytes]:
    again = from_pages(to_pages(state))
    again.seq, again.time, again.engine_pid = 0, 0.0, 0
    for one in again.agents.values():
        one.since, one.ended_at = 0.0, None
    again.latches = {key: _of(latch) for key, latch in again.latches.items()}
    return to_pages(again)


def _of(latch: Latch) -> Latch:
    return replace(latch, since=0.0) if latch.who == RECOVERY else latch
