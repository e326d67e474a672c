"""The whole demo is played without a network: its tools really work, and every agent comes to the end it must."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from skep.simulator.behaviour import Behaviour, Call, FaultKind, Reply
from skep.simulator.conversation import parse
from skep.simulator.demo import CAPTAIN, GOAL, HANGING, Outcome, behaviour, expected, make_workspace
from skep.simulator.demo.plan import DOOMED
from skep.simulator.demo.shop import services
from skep.simulator.demo.strays import REFUSED

Message = dict[str, object]


class Refused(Exception):
    """The model of an agent does not answer it."""


class Interrupted(Exception):
    """An operator ended an agent that would not have ended by itself."""


@dataclass
class Workspace:
    """The tools but for `delegate`, with a folder that they really work in."""

    folder: Path
    commands: bool = True

    def list_files(self, path: str) -> str:
        entries = sorted((self.folder / path).iterdir())
        return "\n".join(f"{entry.relative_to(self.folder)}{'/' * entry.is_dir()}" for entry in entries)

    def read_file(self, path: str) -> str:
        return (self.folder / path).read_text()

    def write_file(self, path: str, content: str) -> str:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(content)
        return f"wrote {path}"

    def search_files(self, pattern: str, path: str, glob: str) -> str:
        found = [
            f"{file.relative_to(self.folder)}:{number}: {line}"
            for file in sorted((self.folder / path).rglob(glob))
            for number, line in enumerate(file.read_text().splitlines(), 1)
            if re.search(pattern, line)
        ]
        return "\n".join(found) or "[nothing found]"

    def terminal(self, command: str, cwd: str, timeout: int) -> str:
        if not self.commands:
            return "not allowed: commands are denied to this agent; go on without them"
        ran = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.folder / cwd,
            env={"PATH": f"{Path(sys.executable).parent}:{os.defpath}"},  # bare, with this very Python
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return f"{ran.stdout}{ran.stderr}\n[exit {ran.returncode} after 0s]"


TOOLS: dict[str, Callable[..., str]] = {
    "list_files": Workspace.list_files,
    "read_file": Workspace.read_file,
    "write_file": Workspace.write_file,
    "search_files": Workspace.search_files,
    "terminal": Workspace.terminal,
}


@dataclass
class Play:
    """Answers the agents one after the other, carries out what they ask for, and notes what becomes of them."""

    workspace: Workspace
    model: Behaviour
    order: random.Random
    """In which order siblings run."""
    early: bool = False
    """Whether results of the background come before the parent's next turn, or not until it has answered."""
    ended: dict[str, Outcome] = field(default_factory=dict)
    replies: dict[str, list[Reply]] = field(default_factory=dict)

    def answer(self, name: str) -> str:
        return self.replies[name][-1].text

    def run(self, parent: str | None, task: dict[str, str]) -> dict[str, str]:
        """Let an agent live and return its report."""
        name, goal = task["name"], task["goal"]
        state, error = "done", ""
        try:
            self.converse(name, goal, (*TOOLS, "delegate") if task.get("role") == "orchestrator" else (*TOOLS,))
        except Refused as refused:
            state, error = "failed", f"400: {refused}"
        except Interrupted:
            state, error = "interrupted", "interrupted by you"
        assert name not in self.ended, "names are unique"
        self.ended[name] = Outcome(parent, goal, state)
        said = [reply.text for reply in self.replies[name] if reply.text and reply.fault is None]
        return {"name": name, "status": state, "summary": said[-1] if said else "", "error": error}

    def converse(self, name: str, goal: str, tools: tuple[str, ...]) -> None:
        """Take turns until the agent has answered and has heard of all its children."""
        history: list[Message] = [{"role": "user", "content": goal}]
        later: list[str] = []
        while True:
            reply = self.turn(name, history, tools)
            if not reply.calls and not later:
                return
            for place, call in enumerate(reply.calls):
                content = self.result(name, call, later)
                history.append({"role": "tool", "tool_call_id": _id(name, history, place), "content": content})
            if later and (self.early or not reply.calls):
                history.append({"role": "user", "content": f"Your agents have ended:\n{later.pop()}"})

    def turn(self, name: str, history: list[Message], tools: tuple[str, ...]) -> Reply:
        offered = [{"type": "function", "function": {"name": tool}} for tool in tools]
        body = json.dumps({"model": "sim-large", "messages": history, "tools": offered}).encode()
        conversation = parse(body, seed=0).conversation  # refuses a history that is not well formed
        reply = self.model(conversation)
        assert reply == self.model(conversation), "a behaviour is a function of the conversation"
        assert {call.name for call in reply.calls} <= set(tools)
        self.replies.setdefault(name, []).append(reply)
        if reply.fault is not None:
            raise Refused(reply.fault.message) if reply.fault.kind is FaultKind.STATUS else Interrupted
        message: Message = {"role": "assistant", "content": reply.text}
        if reply.calls:
            message["tool_calls"] = [_call(name, history, place, call) for place, call in enumerate(reply.calls)]
        history.append(message)
        return reply

    def result(self, name: str, call: Call, later: list[str]) -> str:
        assert isinstance(call.arguments, dict)
        if call.name != "delegate":
            return TOOLS[call.name](self.workspace, **call.arguments)
        tasks = call.arguments["tasks"]
        reports = {task["name"]: self.run(name, task) for task in self.order.sample(tasks, len(tasks))}
        if name != CAPTAIN and any(report["status"] == "interrupted" for report in reports.values()):
            raise Interrupted  # an operator interrupts a hanging branch at its top, which is a team
        text = json.dumps({"status": "any", "results": [reports[task["name"]] for task in tasks]})
        if call.arguments.get("background"):
            later.append(text)
            return "They run in the background: " + ", ".join(reports)
        return text


def _id(name: str, history: list[Message], place: int) -> str:
    turn = sum(message["role"] == "assistant" for message in history)
    return f"{name}-{turn}-{place}"


def _call(name: str, history: list[Message], place: int, call: Call) -> Message:
    asked = [*history, {"role": "assistant"}]
    function = {"name": call.name, "arguments": json.dumps(call.arguments)}
    return {"id": _id(name, asked, place), "type": "function", "function": function}


def play(folder: Path, seed: int, *, commands: bool = True, early: bool = False) -> Play:
    make_workspace(folder, seed)
    model, order = behaviour(seed, speed=1000), random.Random(f"order {early} {seed}")
    whole = Play(Workspace(folder, commands), model, order, early)
    whole.run(None, {"name": CAPTAIN, "goal": GOAL, "role": "orchestrator"})
    return whole


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Play:
    """The demo with the seed 7, played once with everything real."""
    return play(tmp_path_factory.mktemp("seven"), 7)


def test_every_agent_ends_as_it_must(seven: Play):
    assert seven.ended == expected(7)


def test_the_report_is_built_from_what_the_teams_answered(seven: Play):
    report = (seven.workspace.folder / "RELEASE.md").read_text()
    assert f"| {HANGING} | interrupted | interrupted by you |" in report
    assert f"{DOOMED} failed" in report
    assert "10 services tested" in report
    assert "6 of 6 modules mended" in report
    assert "5 of 5 services held" in report
    assert "RELEASE.md is written: 6 of 8" in seven.answer(CAPTAIN)


def test_a_lead_tells_of_a_failed_agent_why_it_failed_and_how_far_it_came(seven: Play):
    told = next(line for line in seven.answer("audit").splitlines() if line.startswith("- "))
    assert told.startswith(f"- {DOOMED} failed: 400: {REFUSED}.")
    assert "compares with ==" in told


def test_the_broken_modules_are_mended_and_their_tests_pass(seven: Play):
    broken = [(service, service.broken) for service in services(7) if service.broken is not None]
    assert len(broken) == 6
    for service, kind in broken:
        assert (seven.workspace.folder / service.path(kind)).read_text() == service.source(kind, mended=True)
        assert re.search(r"mended, \d tests pass", seven.answer(f"mend-{service.name}-{kind.stem}"))


def test_what_agents_write_says_what_they_found(seven: Play):
    folder = seven.workspace.folder / "docs"
    assert len(list((folder / "reviews").glob("*.md"))) == 10
    assert len(list((folder / "services").glob("*.md"))) == 10
    assert "`signature`: Return the signature of all fields" in (folder / "services/payments.md").read_text()
    assert "return signature(fields, secret) == given" in (folder / "audit/compares.md").read_text()
    counted = re.search(r"(\d+) notes counted, 3 plans made", seven.answer("debt"))
    assert counted is not None
    assert int(counted[1]) == sum(len(service.notes) for service in services(7))


def test_the_doomed_leaf_says_something_before_it_is_refused(seven: Play):
    replies = seven.replies[DOOMED]
    assert [bool(reply.text) for reply in replies] == [True, True, False]
    assert replies[-1].fault is not None
    assert replies[-1].fault.status == 400


def test_leaves_of_the_hanging_branch_work_first_and_one_never_says_a_word(seven: Play):
    leaves = {name: replies for name, replies in seven.replies.items() if name.startswith(f"{HANGING}-")}
    assert len(leaves) == 5
    assert all(replies[-1].fault is not None for replies in leaves.values())
    silent = [replies for replies in leaves.values() if replies[0].fault is not None]
    assert [len(replies) for replies in silent] == [1]
    stopped = [replies[-1].fault for replies in leaves.values() if len(replies) > 1]
    assert all(fault is not None and fault.characters > 0 for fault in stopped)


def test_leaves_take_three_to_six_turns(seven: Play):
    parents = {outcome.parent for outcome in seven.ended.values()}
    leaves = {name for name, outcome in seven.ended.items() if name not in parents and outcome.state == "done"}
    turns = {name: len(seven.replies[name]) for name in leaves}
    assert {name: number for name, number in turns.items() if not 3 <= number <= 6} == {}


def test_replies_are_pleasant_to_watch(seven: Play):
    for replies in seven.replies.values():
        for reply in replies:
            assert reply.pace is not None
            assert 0.3 <= reply.pace.first_token <= 1.5
            assert 25 <= reply.pace.rate <= 60


def test_eight_slots_are_busy_for_two_minutes_or_so(seven: Play):
    seconds = 0.0
    for reply in (reply for replies in seven.replies.values() for reply in replies if reply.fault is None):
        assert reply.pace is not None
        said = len(reply.text) + len(reply.thinking)
        said += sum(len(json.dumps(call.arguments)) for call in reply.calls)
        seconds += reply.pace.first_token + said / 4 / reply.pace.rate
    assert 60 <= seconds / 8 <= 180


@pytest.mark.parametrize(("seed", "early"), [(0, True), (1, True), (1, False), (12345, False)])
def test_every_seed_and_order_ends_as_it_must_even_where_commands_are_denied(
    tmp_path: Path, seed: int, early: bool
):
    assert play(tmp_path, seed, commands=False, early=early).ended == expected(seed)
