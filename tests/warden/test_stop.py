"""A stop leaves nothing behind, whatever the command is made of, and touches nobody else."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from skep.warden.client import Command, Exit, Warden, marked
from tests.warden import zoo
from tests.warden.support import LIMIT, Output, Start, Watch, gone, parent_of, python


async def _started(start: Start, watch: Watch, script: str, agent: str = "bee") -> tuple[Command, Output]:
    command, output = await start(python(script), agent)
    watch.add(command.pid, *map(int, await output.lines_until("ready")))
    assert command.pid in watch.living()
    return command, output


@pytest.mark.parametrize("script", zoo.ALL.values(), ids=zoo.ALL)
async def test_kill_ends_the_whole_tree_before_it_is_called_gone(start: Start, watch: Watch, script: str) -> None:
    command, output = await _started(start, watch, script)
    command.kill()
    await gone(command)
    assert watch.living() == set()
    assert command.left == ()
    assert await command.exited() == Exit(None, signal.SIGKILL)
    assert "survived" not in await output.rest()  # and its end shows that nobody holds the pipe


async def test_a_scrubbed_environment_hides_a_process_from_the_marker_but_not_from_its_guard(
    start: Start, watch: Watch, swarm: str
) -> None:
    command, output = await start(python(zoo.SCRUBS_ITS_ENVIRONMENT))
    pids = {int(line) for line in await output.lines_until("ready")}
    watch.add(*pids)
    assert set(marked(swarm)) == {command.pid}
    command.kill()
    await gone(command)
    assert watch.living() == set()


async def test_kill_leaves_siblings_alone(start: Start, watch: Watch) -> None:
    victim, _ = await _started(start, watch, zoo.DAEMON, "one")
    others = [await _started(start, watch, zoo.GRANDCHILD_WITH_A_SESSION, agent) for agent in ("one", "two")]
    before = watch.living()
    victim.kill()
    await gone(victim)
    ended = before - watch.living()
    assert victim.pid in ended
    assert len(ended) == 2
    assert [await other.alive() for other, _ in others] == [True, True]


async def test_terminate_lets_a_program_say_goodbye(start: Start) -> None:
    command, output = await start(["sh", "-c", "trap 'echo bye; exit 7' TERM; echo ready; sleep 600 & wait"])
    await output.lines_until("ready")
    command.terminate()
    async with asyncio.timeout(LIMIT):
        assert await command.exited() == Exit(7, None)
    assert await output.line() == "bye"


async def test_terminate_reaches_every_session_of_the_tree(start: Start) -> None:
    script = """
def work():
    os.setsid()
    def bye(*_):
        say("bye from the grandchild")
        os._exit(0)
    signal.signal(signal.SIGTERM, bye)
    ready()
    time.sleep(600)
signal.signal(signal.SIGTERM, lambda *_: say("the main process stays"))
child(work)
while True: time.sleep(600)
"""
    command, output = await start(python(script))
    await output.lines_until("ready")
    command.terminate()
    assert {await output.line(), await output.line()} == {"bye from the grandchild", "the main process stays"}
    assert await command.alive()


async def test_terminate_wakes_a_stopped_process_so_that_it_hears(start: Start, watch: Watch) -> None:
    command, _ = await _started(start, watch, zoo.STOPPED)
    command.terminate()
    await gone(command)
    assert watch.living() == set()
    assert await command.exited() == Exit(None, signal.SIGTERM)


async def test_interrupt_is_for_the_main_group_only(start: Start) -> None:
    script = """
def work():
    os.setsid()
    signal.signal(signal.SIGINT, lambda *_: say("wrong one"))
    signal.signal(signal.SIGTERM, lambda *_: (say("leftover"), os._exit(0)))
    ready()
    while True: time.sleep(600)
signal.signal(signal.SIGINT, lambda *_: (say("interrupted"), os._exit(3)))
child(work)
while True: time.sleep(600)
"""
    command, output = await start(python(script))
    await output.lines_until("ready")
    command.interrupt()
    await gone(command)
    assert await command.exited() == Exit(3, None)
    assert await output.rest() == "interrupted\nleftover"


async def test_leftovers_of_a_command_that_ended_are_reported_and_ended(start: Start, watch: Watch) -> None:
    script = """
def work():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready(os.getpid())
    time.sleep(600)
signal.signal(signal.SIGUSR1, lambda *_: os._exit(4))
child(work)
while True: time.sleep(600)
"""
    command, output = await start(python(script))
    (pid,) = map(int, await output.lines_until("ready"))
    watch.add(pid)
    os.kill(command.pid, signal.SIGUSR1)
    async with asyncio.timeout(LIMIT):
        assert await command.exited() == Exit(4, None)
    assert watch.living() == {pid}  # it has its grace
    assert not await command.alive()
    await gone(command)
    assert watch.living() == set()


async def test_a_background_child_is_ended_politely_when_its_command_is_done(start: Start) -> None:
    command, output = await start(
        [
            "sh",
            "-c",
            "(trap 'echo bye; exit' TERM; echo ready; sleep 600 & wait) & exec sleep 600",
        ]
    )
    await output.lines_until("ready")
    os.kill(command.pid, signal.SIGKILL)
    await gone(command)
    assert await output.rest() == "bye"


async def test_what_is_left_is_named(start: Start, watch: Watch) -> None:
    script = """
def work():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ready(os.getpid())
    time.sleep(600)
child(work)
time.sleep(600)
"""
    command, output = await start(python(script))
    (pid,) = map(int, await output.lines_until("ready"))
    watch.add(pid)
    guard = parent_of(command.pid)
    os.kill(command.pid, signal.SIGKILL)
    async with asyncio.timeout(LIMIT):
        await command.exited()
    assert [(left.pid, left.name[:6]) for left in command.left] == [(pid, "python")]
    assert parent_of(pid) == guard  # the orphan belongs to the guard now
    command.kill()
    await gone(command)
    assert command.left == ()


async def test_fifty_at_once_are_kept_apart_and_all_end(start: Start, watch: Watch) -> None:
    runs = [
        start(["sh", "-c", f"sleep 600 & trap 'exit {n}' TERM; echo $!; echo ready; wait"], f"bee-{n}")
        for n in range(50)
    ]
    started = await asyncio.gather(*runs)
    for command, output in started:
        watch.add(command.pid, *map(int, await output.lines_until("ready")))
    assert len(watch.living()) == 100
    for command, _ in started[::2]:
        command.kill()
    await gone(*(command for command, _ in started[::2]))
    assert len(watch.living()) == 50
    for command, _ in started[1::2]:
        command.terminate()
    await gone(*(command for command, _ in started))
    assert watch.living() == set()
    exits = [await command.exited() for command, _ in started]
    assert exits[::2] == [Exit(None, signal.SIGKILL)] * 25
    assert exits[1::2] == [Exit(n, None) for n in range(1, 50, 2)]


async def test_a_cancelled_run_leaves_nothing_behind(warden: Warden) -> None:
    output = Output()
    task = asyncio.create_task(warden.run("bee", ["sleep", "600"], cwd="/", env={}, output=output.writing))
    await asyncio.sleep(0)  # the order is on its way, no answer has come
    assert not task.done()
    task.cancel()
    output.close_writing()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await output.rest() == ""  # the end of the stream: the last holder of the pipe is gone
    output.close()


async def test_signals_to_what_is_gone_hit_nobody(start: Start, watch: Watch) -> None:
    first, _ = await start(["true"])
    await gone(first)
    second, _ = await _started(start, watch, zoo.IGNORES_TERM)
    assert second.guard == first.guard
    for signal_ in (first.interrupt, first.terminate, first.kill):
        signal_()
    third, _ = await start(["true"], "another")  # comes after the signals on the same wire
    await gone(third)
    assert await second.alive()
    assert watch.living() == {second.pid}
