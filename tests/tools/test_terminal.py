"""A command runs only where the policy or the operator allows exactly that command, there, for that agent."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from skep.errors import Unreachable
from skep.model.approvals import Answer, Commands, Question
from skep.tools.base import CommandEnd
from skep.tools.capping import RESULT_LIMIT
from skep.tools.terminal import Terminal
from tests.tools.seat import Seat

DONE = CommandEnd(0, None, "hello\n", False, 1.4)


async def run(seat: Seat, policy: Commands = Commands.ALLOW, **args: object):
    return await seat.call("terminal", json.dumps(args), policy)


async def test_a_command_goes_to_the_shell_in_the_workspace(seat: Seat):
    seat.end = DONE
    result = await run(seat, command="echo hello | cat")
    assert result.ok
    assert result.content == "hello\n[exit 0 after 1s]"
    assert result.exit_code == 0
    assert seat.commands == [(("/bin/sh", "-c", "echo hello | cat"), str(seat.workspace), 120.0)]
    assert seat.story == ["runs"]


async def test_a_command_really_runs(seat: Seat, workspace: Path):
    (workspace / "sub").mkdir()
    result = await run(seat, command="pwd; exit 3", cwd="sub", timeout=5)
    assert result.content == f"{workspace}/sub\n[exit 3 after 0s]"
    assert not result.ok
    assert result.exit_code == 3


async def test_denied_commands_are_not_asked_about(seat: Seat):
    result = await run(seat, Commands.DENY, command="ls")
    assert not result.ok
    assert result.content.startswith("not allowed: commands are denied")
    assert seat.story == []


async def test_the_operator_is_asked_and_says_no(seat: Seat):
    result = await run(seat, Commands.ASK, command="rm -rf .")
    assert not result.ok
    assert result.content == "not allowed by operator: not on my machine"
    assert seat.story == ["waits for approval: $ rm -rf .", "asks", "goes on"]


async def test_the_operator_is_asked_and_says_yes(seat: Seat):
    seat.end, seat.answer = DONE, Answer(True, "operator")
    assert (await run(seat, Commands.ASK, command="ls")).ok
    assert seat.story == ["waits for approval: $ ls", "asks", "goes on", "runs"]


async def test_a_folder_that_went_while_the_operator_thought_is_not_run_in(seat: Seat, workspace: Path):
    (workspace / "sub").mkdir()

    class Slow(Seat):
        async def approve(self, question: Question) -> Answer:
            (self.workspace / "sub").rmdir()
            (self.workspace / "sub").symlink_to("/")
            return Answer(True, "operator")

    slow = Slow(workspace)
    assert "symbolic link" in (await run(slow, Commands.ASK, command="ls", cwd="sub")).content
    assert not slow.commands


async def test_an_answer_is_bound_to_agent_command_and_folder(seat: Seat, workspace: Path):
    (workspace / "sub").mkdir()
    await run(seat, Commands.ASK, command="ls")
    await run(seat, Commands.ASK, command="ls ")
    await run(seat, Commands.ASK, command="ls", cwd="sub")
    seat.agent = "a2"
    await run(seat, Commands.ASK, command="ls")
    seat.agent = "a1"
    await run(seat, Commands.ASK, command="ls", cwd="./")
    first, *others, again = seat.questions
    assert first.detail == {"agent": "a1", "command": "ls", "cwd": str(workspace), "timeout": 120.0}
    assert len({question.hash for question in seat.questions}) == 4
    assert first.hash == again.hash
    assert all(question.is_whole for question in (first, *others))
    assert not dataclasses.replace(first, detail={**first.detail, "command": "rm"}).is_whole


async def test_what_people_see_of_a_command_is_clean_and_what_runs_is_not_changed(seat: Seat):
    seat.end, seat.answer = DONE, Answer(True, "operator")
    command = "echo a\r\x1b[2Kecho b\n\u202erm"
    await run(seat, Commands.ASK, command=command)
    [question] = seat.questions
    assert question.headline.isprintable()
    assert question.headline.startswith("$ echo a")
    assert seat.commands[0][0][2] == command


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"command": "  "}, "command: is missing or empty"),
        ({"command": "a\0b"}, "command: must have"),
        ({"command": "x" * 110_000}, "command: must have"),
        ({"command": "ls", "timeout": 0}, "timeout: must be a number from 0.001 to 1,800"),
        ({"command": "ls", "timeout": 1801}, "timeout: must be"),
        ({"command": "ls", "timeout": "9"}, "timeout: must be a number, not a string"),
        ({"command": "ls", "cwd": "missing"}, "missing: there is no such file"),
    ],
)
async def test_a_wrong_call_is_refused_before_anybody_is_asked(seat: Seat, args: dict[str, object], why: str):
    result = await run(seat, Commands.ASK, **args)
    assert not result.ok
    assert result.content.startswith(f"error: {why}")
    assert seat.story == []


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (CommandEnd(None, 9, "", False, 61.0), "[ended by signal 9 after 1m01s]"),
        (CommandEnd(None, 15, "part", True, 120.0), "part\n[ended after its time of 120 seconds was up]"),
        (CommandEnd(0, None, "late", True, 120.0), "late\n[ended after its time of 120 seconds was up]"),
        (CommandEnd(None, None, "", False, 0.0), "[it is unknown how it ended, after 0s]"),
        (
            CommandEnd(0, None, "a\nb\n", False, 2.0, 5_000),
            "a\nb\n[exit 0 after 2s; 5,000 bytes in the middle of its output are left out]",
        ),
    ],
)
async def test_however_it_ends_is_said(seat: Seat, end: CommandEnd, said: str):
    seat.end = end
    result = await run(seat, command="x")
    assert result.content == said
    assert result.ok is (end.code == 0 and not end.timed_out)


async def test_long_output_is_cut_to_head_and_tail_and_the_end_stays_told(seat: Seat):
    seat.end = CommandEnd(1, None, "first\n" + "é" * 200_000 + "\nlast\n", False, 3.0)
    content = (await run(seat, command="x")).content
    assert len(content.encode()) <= RESULT_LIMIT
    assert content.startswith("first\n")
    assert content.endswith("last\n[exit 1 after 3s]")
    assert "400,012 bytes are cut" in content


async def test_a_command_that_cannot_start_is_a_result(seat: Seat):
    class Lost(Seat):
        async def command(self, argv, *, cwd, env, timeout):
            raise Unreachable("the warden is gone")

    result = await run(Lost(seat.workspace), command="x")
    assert not result.ok
    assert result.content == "error: the warden is gone"


def test_the_description_tells_the_policy():
    assert "refused" in Terminal(Commands.DENY).description
    assert "may refuse" in Terminal(Commands.ASK).description
    assert "refuse" not in Terminal(Commands.ALLOW).description
