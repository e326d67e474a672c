"""What a command is started with, how its end is told, and what is said when it cannot be started."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from skep.warden.client import Exit, SpawnFailed, SpawnFault, Warden
from tests.warden.support import LIMIT, Output, Start, gone, python


@pytest.mark.parametrize(
    ("script", "how"),
    [("true", Exit(0, None)), ("exit 7", Exit(7, None)), ("kill -9 $$", Exit(None, signal.SIGKILL))],
)
async def test_the_end_is_told_to_all_who_ask(start: Start, script: str, how: Exit) -> None:
    command, _ = await start(["sh", "-c", script])
    early = [asyncio.create_task(command.exited()) for _ in range(100)]
    impatient = asyncio.create_task(command.exited())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await asyncio.gather(*early) == [how] * 100
    await gone(command)
    assert await command.exited() == how
    assert not await command.alive()


async def test_output_and_errors_go_to_the_same_pipe_and_input_is_empty(start: Start) -> None:
    _, output = await start(["sh", "-c", "echo out; echo err >&2; cat; echo end"])
    assert await output.rest() == "out\nerr\nend"


async def test_environment_is_base_then_extras_then_marker(start: Start, swarm: str) -> None:
    agent = "a" * 64
    env = {"EXTRA": "for this one", "SKEP_AGENT": "forged"}
    _, output = await start(["sh", "-c", 'echo "$BASE, $EXTRA, $SKEP_AGENT"'], agent, env)
    assert await output.rest() == f"of all, for this one, {swarm}/{agent}"
    _, output = await start(["sh", "-c", 'echo "$BASE, $EXTRA"'])
    assert await output.rest() == "of all, "


async def test_a_command_has_a_session_of_its_own_and_works_in_its_folder(start: Start, tmp_path: Path) -> None:
    command, output = await start(python("say(os.getsid(0)); say(os.getpgrp()); say(os.getcwd())"))
    *leader, folder = (await output.rest()).splitlines()
    assert leader == [str(command.pid)] * 2
    assert folder == str(tmp_path)


@pytest.fixture
def low_limit() -> Iterator[None]:
    """An engine whose limit of open files leaves room for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("low_limit")
async def test_a_command_inherits_no_descriptor_no_ignored_signal_and_no_raised_limit(start: Start) -> None:
    script = (
        "ls /proc/self/fd | wc -w; grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\t'; ulimit -n; ulimit -Hn"
    )
    _, output = await start(["sh", "-c", script])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    names = ["unlimited" if limit == resource.RLIM_INFINITY else str(limit) for limit in (soft, hard)]
    descriptors, blocked, ignored, *limits = (await output.rest()).split()
    assert descriptors == "4"  # standard input, output and errors, and the folder that is being listed
    assert blocked == "SigBlk:" + "0" * 16
    bits = int(ignored.removeprefix("SigIgn:"), 16)
    assert not [number for number in signal.valid_signals() if bits >> (number - 1) & 1]
    assert limits == names


async def test_start_time_and_pid_name_the_main_process(start: Start) -> None:
    command, output = await start(["sh", "-c", "echo $$; cat /proc/$$/stat; exec sleep 600"])
    assert await output.line() == str(command.pid)
    assert (await output.line()).rpartition(") ")[2].split()[19] == str(command.started)
    assert await command.alive()
    command.kill()
    await gone(command)


async def test_names_need_not_be_utf8(start: Start) -> None:
    raw = os.fsdecode(b"caf\xe9 \xff")
    _, output = await start(["printf", "%s\n%s\n", raw, "naïve"], env={"ODD": raw})
    assert await output.rest() == f"{raw}\nnaïve"


async def test_a_large_order_arrives_whole(start: Start) -> None:
    arguments = [f"{n:04}" + "x" * 1000 for n in range(1000)]
    _, output = await start(["sh", "-c", 'echo $#; for last; do :; done; echo "$last"', "sh", *arguments])
    assert await output.rest() == f"1000\n{arguments[-1]}"


async def test_a_program_is_looked_for_in_the_path_of_the_command(start: Start, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "only-here"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    _, output = await start(["only-here"], env={"PATH": f"/nowhere:{tmp_path / 'bin'}"})
    assert await output.rest() == "found"
    _, output = await start(["bin/only-here"])
    assert await output.rest() == "found"


async def test_commands_one_after_the_other_share_a_guard_and_commands_at_once_do_not(start: Start) -> None:
    first, _ = await start(["sleep", "600"])
    second, _ = await start(["sleep", "600"])
    assert first.guard != second.guard
    assert os.readlink(f"/proc/{first.guard}/cwd") == "/"  # it keeps no command's folder in use
    second.kill()
    await gone(second)
    third, _ = await start(["sleep", "600"])
    assert third.guard == second.guard
    first.kill()
    third.kill()
    await gone(first, third)


async def test_many_more_commands_than_warm_guards_all_come_to_their_end(warden: Warden) -> None:
    turns = asyncio.Semaphore(30)
    output = Output()

    async def run(number: int) -> Exit:
        async with turns:
            argv = ["sh", "-c", f"exit {number}"]
            command = await warden.run(f"bee-{number}", argv, cwd="/", env={}, output=output.writing)
            await gone(command)
            return await command.exited()

    async with asyncio.timeout(LIMIT):
        ends = await asyncio.gather(*(run(number) for number in range(90)))
    assert ends == [Exit(number, None) for number in range(90)]
    output.close()


@pytest.fixture
def awkward(tmp_path: Path) -> Path:
    (tmp_path / "data").write_text("no program")
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    (tmp_path / "noise").write_bytes(b"\x00\x01\x02")
    (tmp_path / "noise").chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("argv", "cwd", "reason", "text"),
    [
        (["no-such-program"], ".", SpawnFault.NO_PROGRAM, "no-such-program"),
        (["./no-such-program"], ".", SpawnFault.NO_PROGRAM, "no-such-program"),
        (["./script"], ".", SpawnFault.NO_PROGRAM, "interpreter"),
        (["./data"], ".", SpawnFault.NOT_EXECUTABLE, "Permission denied"),
        (["./noise"], ".", SpawnFault.NOT_EXECUTABLE, "Exec format error"),
        (["/"], ".", SpawnFault.NOT_EXECUTABLE, "not executable: /"),
        (["true"], "nowhere", SpawnFault.NO_FOLDER, "nowhere"),
        (["true"], "data", SpawnFault.NO_FOLDER, "Not a directory"),
        (["true", "x" * 200_000], ".", SpawnFault.OTHER, "Argument list too long"),
        (["true", *["x" * 100_000] * 200], ".", SpawnFault.OTHER, "Argument list too long"),
        (["true", "a\0b"], ".", SpawnFault.OTHER, "Invalid argument"),
        ([], ".", SpawnFault.OTHER, "Invalid argument"),
    ],
)
async def test_a_command_that_cannot_start_says_why(
    warden: Warden, awkward: Path, argv: list[str], cwd: str, reason: SpawnFault, text: str
) -> None:
    output = Output()
    with pytest.raises(SpawnFailed) as caught:
        await warden.run("bee", argv, cwd=str(awkward / cwd), env={}, output=output.writing)
    assert caught.value.reason is reason
    assert caught.value.where == "bee"
    assert text in str(caught.value)
    command = await warden.run("bee", ["echo", "fine"], cwd="/", env={}, output=output.writing)
    output.close_writing()
    assert await output.rest() == "fine"
    await gone(command)
    output.close()


async def test_a_closed_output_is_a_fault_and_not_a_crash(warden: Warden) -> None:
    output = Output()
    closed = os.dup(output.writing)
    os.close(closed)
    with pytest.raises(SpawnFailed, match="Bad file descriptor"):
        await warden.run("bee", ["true"], cwd="/", env={}, output=closed)
    output.close()
