"""Whoever is killed, engine, warden or guard: every command ends, and what is said about it is true."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator

import pytest

from skep.warden.client import Command, Exit, Leftover, SpawnFailed, Warden, WardenLost, marked
from tests.warden import zoo
from tests.warden.support import LIMIT, Doomed, Output, Start, Watch, gone, parent_of, python


@pytest.fixture
async def doomed(swarm: str, watch: Watch) -> AsyncIterator[Warden]:
    """A warden that the test may kill."""
    warden = await Warden.start(swarm, dict(os.environ))
    watch.add(warden.pid)
    yield warden
    async with asyncio.timeout(LIMIT):
        await warden.close(grace=0)
    assert watch.living() == set()


async def _stay(warden: Warden, watch: Watch, script: str, agent: str = "bee") -> Command:
    output = Output()
    command = await warden.run(agent, python(script), cwd="/", env={}, output=output.writing)
    watch.add(command.pid, parent_of(command.pid), *map(int, await output.lines_until("ready")))
    output.close()
    return command


async def test_when_the_engine_is_killed_everything_ends_even_if_its_socket_lives_on(
    swarm: str, watch: Watch
) -> None:
    with Doomed(swarm) as one, Doomed(swarm, "leak") as other:
        for engine in (one, other):
            watch.add(*engine.below())
        assert len(watch.living()) == 2 * 12  # the warden, four guards, four commands, three grandchildren
        one.process.kill()
        other.process.kill()
        await watch.all_ended()
    assert marked(swarm) == ()


async def test_when_the_warden_is_killed_its_guards_end_everything(doomed: Warden, watch: Watch) -> None:
    lost = asyncio.Event()
    doomed.on_lost(lost.set)
    commands = [
        await _stay(doomed, watch, script)
        for script in (zoo.IGNORES_TERM, zoo.DAEMON, zoo.STOPPED, zoo.SCRUBS_ITS_ENVIRONMENT)
    ]
    program = ["sh", "-c", "trap 'sleep 0.3; echo bye; exit' TERM; echo ready; sleep 600 & wait"]
    output = Output()
    commands.append(await doomed.run("polite", program, cwd="/", env={}, output=output.writing))
    await output.lines_until("ready")
    os.kill(doomed.pid, signal.SIGKILL)
    async with asyncio.timeout(LIMIT):
        await lost.wait()
    with pytest.raises(WardenLost):
        await doomed.run("bee", ["true"], cwd="/", env={}, output=0)
    assert watch.living()  # said to be lost, and not yet to be gone
    await gone(*commands)
    assert watch.living() == set()
    assert [await command.exited() for command in commands] == [Exit(None, None)] * 5
    assert await output.line() == "bye"
    output.close()


async def test_when_warden_and_guards_are_killed_the_marker_finds_the_rest(doomed: Warden, watch: Watch) -> None:
    commands = [await _stay(doomed, watch, script) for script in (zoo.IGNORES_TERM, zoo.DAEMON)]
    for pid in (*(parent_of(command.pid) for command in commands), doomed.pid):
        os.kill(pid, signal.SIGSTOP)  # so that none of them sees another one's end
    for pid in (*(parent_of(command.pid) for command in commands), doomed.pid):
        os.kill(pid, signal.SIGKILL)
    await gone(*commands)
    assert watch.living() == set()
    assert [await command.exited() for command in commands] == [Exit(None, None)] * 2


async def test_a_run_that_the_warden_cannot_answer_any_more_fails(doomed: Warden) -> None:
    os.kill(doomed.pid, signal.SIGSTOP)
    task = asyncio.create_task(doomed.run("bee", ["true"], cwd="/", env={}, output=0))
    await asyncio.sleep(0)
    os.kill(doomed.pid, signal.SIGKILL)
    with pytest.raises(WardenLost):
        await task


async def test_when_a_guard_is_killed_its_orphans_end_and_the_run_is_lost(start: Start, watch: Watch) -> None:
    command, output = await start(python(zoo.DAEMON), "victim")
    watch.add(command.pid, *map(int, await output.lines_until("ready")))
    other, other_output = await start(python(zoo.IGNORES_TERM), "other")
    await other_output.lines_until("ready")
    os.kill(parent_of(command.pid), signal.SIGKILL)
    await gone(command)
    assert watch.living() == set()
    assert await command.exited() == Exit(None, None)
    assert await other.alive()
    later, _ = await start(["sh", "-c", "exit 5"])
    await gone(later)
    assert await later.exited() == Exit(5, None)


async def test_a_guard_that_is_made_while_others_die_is_heard(start: Start, warden: Warden, watch: Watch) -> None:
    """Its link may get the number of an old one that has ended, while the death of its guard is still news."""
    victims = [(await start(["sleep", "600"]))[0] for _ in range(3)]
    os.kill(warden.pid, signal.SIGSTOP)
    guards = Watch()
    for victim in victims:
        watch.add(victim.pid)
        guards.add(victim.guard)
        os.kill(victim.guard, signal.SIGKILL)
    await guards.all_ended()
    guards.close()
    task = asyncio.create_task(start(["sh", "-c", "exit 5"]))
    await asyncio.sleep(0)  # the order is on its way
    os.kill(warden.pid, signal.SIGCONT)
    command, _ = await task
    await gone(command, *victims)
    assert await command.exited() == Exit(5, None)
    assert watch.living() == set()


async def test_an_idle_guard_that_is_killed_is_not_missed(start: Start, watch: Watch) -> None:
    first, _ = await start(["true"])
    await gone(first)
    watch.add(first.guard)
    os.kill(first.guard, signal.SIGKILL)
    await watch.all_ended()
    with contextlib.suppress(SpawnFailed):  # it was given work before the warden had heard of its end
        await start(["true"])
    second, _ = await start(["sh", "-c", "exit 5"])
    await gone(second)
    assert await second.exited() == Exit(5, None)


async def test_warden_and_guards_end_by_no_signal_but_kill(start: Start, warden: Warden, watch: Watch) -> None:
    first, output = await start(python(zoo.IGNORES_TERM))
    await output.lines_until("ready")
    watch.add(warden.pid, first.guard)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGALRM"):
        for pid in (warden.pid, first.guard):
            os.kill(pid, getattr(signal, name))
    second, _ = await start(["sh", "-c", "exit 5"])
    await gone(second)
    assert await second.exited() == Exit(5, None)
    first.kill()
    await gone(first)  # the guard still does its work
    assert await first.exited() == Exit(None, signal.SIGKILL)
    assert watch.living() == {warden.pid, first.guard}


async def test_close_gives_a_grace_and_then_kills(doomed: Warden, watch: Watch) -> None:
    output = Output()
    program = ["sh", "-c", "trap 'exit 9' TERM; echo ready; sleep 600 & wait"]
    polite = await doomed.run("polite", program, cwd="/", env={}, output=output.writing)
    await output.lines_until("ready")
    rude = await _stay(doomed, watch, zoo.IGNORES_TERM)
    async with asyncio.timeout(LIMIT):
        await doomed.close(grace=0.3)
    assert watch.living() == set()
    assert await polite.exited() == Exit(9, None)
    assert await rude.exited() == Exit(None, signal.SIGKILL)
    await gone(polite, rude)
    with pytest.raises(WardenLost):
        await doomed.run("bee", ["true"], cwd="/", env={}, output=output.writing)
    output.close()


async def test_close_is_not_taken_for_a_loss(doomed: Warden) -> None:
    losses: list[str] = []
    doomed.on_lost(lambda: losses.append("lost"))
    await doomed.close()
    await doomed.close()
    assert losses == []


async def test_a_process_that_cannot_be_killed_is_reported_with_its_state(start: Start, watch: Watch) -> None:
    command, output = await start(python(zoo.IGNORES_TERM))
    await output.lines_until("ready")
    command.note(11, b"4121 D dd")  # no test can make a process uninterruptible: the report itself is put in
    assert command.left == (Leftover(4121, "D", "dd"),)
    command.kill()
    await gone(command)
    assert command.left == ()
