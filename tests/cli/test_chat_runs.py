"""A run of chat agents without a room: who is counted, what is told, what is printed, and how it exits."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from typing import Any

import pytest

from skep.cli.headless import ExitCode, Order, StandIn, wait
from skep.clock import SystemClock
from skep.control.verbs import Stop
from skep.model.events import ROOT, Event, SwarmEnded
from skep.model.states import State
from tests.cli.shells import Shell
from tests.cli.told import asks, born, chat, ended, group, running, served, turn


class Output(io.TextIOWrapper):
    """Standard output that keeps bytes and text, as a pipe does."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    @property
    def text(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


def waited(shell: Shell, *events: Event, **options: Any) -> tuple[ExitCode, str, str]:
    """The exit code, standard output and standard error of a wait for a swarm of these events."""
    out, err = Output(), io.StringIO()
    with served(shell, *events) as engine, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = asyncio.run(asyncio.wait_for(wait(engine.folder, SystemClock(), **options), 20))
    return code, out.text, err.getvalue()


def family() -> list[Event]:
    """A root that delegates to one that fails and one that is stopped, and makes do without them."""
    return [
        *born(),
        chat(ROOT, None, name="captain"),
        *running(ROOT),
        turn(ROOT, 1),
        chat("a1", depth=1),
        chat("a2", depth=1),
        *running("a1"),
        *running("a2"),
        turn("a1", 1, cost=250_000),
        ended("a1", State.FAILED, error="refused"),
        ended("a2", State.FAILED, error="refused as well"),
        turn(ROOT, 2),
        ended(ROOT, result="The answer.\n"),
        SwarmEnded("done"),
    ]


def stopping_once() -> StandIn:
    orders = [Order("enough", Stop(agent=ROOT, branch=True))]
    return lambda state: orders.pop() if orders else None


def test_what_becomes_of_delegated_agents_is_the_business_of_their_parent(shell: Shell) -> None:
    code, out, err = waited(shell, *family(), json=True)
    assert code is ExitCode.DONE
    body = json.loads(out)
    assert body["status"] == "done"
    assert [agent["name"] for agent in body["agents"]] == ["captain", "a1", "a2"]
    assert body["totals"]["states"] == {"done": 1, "failed": 2}
    assert body["totals"]["cost_usd"] == 0.253
    assert "done: 1 done, 2 failed" in err
    assert "$0.25 for 3.30k tokens" in err
    assert "a1: failed: refused" in err


def test_a_printed_run_gives_the_answers_of_those_that_were_asked_for(shell: Shell) -> None:
    code, out, _ = waited(shell, *family(), results=True)
    assert (code, out) == (ExitCode.DONE, "The answer.\n")


def test_the_answers_to_several_goals_come_in_the_order_asked(shell: Shell) -> None:
    told = [*born(), group(), chat("a1"), chat("a2"), chat("a3"), *running("a1"), *running("a2"), *running("a3")]
    told += [ended("a3", result="three"), ended("a2", State.FAILED, error="no"), ended("a1", result="one \x1b[2J")]
    told += [ended(ROOT, State.FAILED), SwarmEnded("failed")]
    code, out, err = waited(shell, *told, results=True)
    assert (code, out) == (ExitCode.FAILED, "one \x1b[2J\nthree\n")  # a pipe gets it as it is
    assert "a2: failed: no" in err


@pytest.mark.parametrize("cost", [None, 1_500])
def test_a_cost_that_nobody_knows_is_not_told_as_nothing(shell: Shell, cost: int | None) -> None:
    told = [*born(), chat(ROOT, None), *running(ROOT), turn(ROOT, 1, cost=None), turn(ROOT, 2, cost=cost)]
    _, out, err = waited(shell, *told, ended(ROOT), SwarmEnded("done"), json=True)
    assert json.loads(out)["totals"]["cost_usd"] is None
    assert (", 2.20k tokens" in err) == (cost is None)
    assert ("≥$0.00 for" in err) == (cost is not None)


def test_who_asks_is_told_with_the_words_that_answer(shell: Shell) -> None:
    told = [*born(), chat(ROOT, None, name="captain"), *running(ROOT), *asks(ROOT)]
    code, _, err = waited(shell, *told, standin=stopping_once())
    assert "captain asks: $ make release: skep approve t1/root, or skep deny t1/root" in err
    assert err.count("asks:") == 1
    assert code is ExitCode.INTERRUPTED


def test_agents_that_join_later_are_counted(shell: Shell) -> None:
    told = [*born(), chat(ROOT, None), *running(ROOT)]
    told += [chat(f"a{n}", depth=1) for n in range(1, 5)]

    _, _, err = waited(shell, *told, standin=stopping_once())
    assert "0/5 after" in err
    assert "1 running, 4 queued" in err
