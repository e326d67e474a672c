"""The stack of a task that waits, from its coroutine to the innermost frame, through whatever lies between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import coroutine

from skep.drivers.chat.stack import MOST_FRAMES, in_lines, stack_of
from tests.engine.hive import turns


def functions(task: asyncio.Task) -> list[str]:
    return [place if isinstance(place, str) else place.name for place in stack_of(task)]


async def waits(event: asyncio.Event) -> None:
    await event.wait()


async def gives(event: asyncio.Event) -> AsyncIterator[int]:
    await waits(event)
    yield 1


async def reads(event: asyncio.Event) -> None:
    async for _ in gives(event):
        return


@coroutine
def old_style(event: asyncio.Event) -> Iterator[object]:
    yield from waits(event).__await__()


async def of_many(event: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(reads(event))


async def of_one(event: asyncio.Event) -> None:
    inner = asyncio.create_task(reads(event), name="inner")
    await inner


async def deep(event: asyncio.Event, count: int) -> None:
    await (deep(event, count - 1) if count else waits(event))


async def stood(body, *arguments: object) -> list[str]:
    event = asyncio.Event()
    task = asyncio.create_task(body(event, *arguments))
    await turns(5)
    try:
        return functions(task)
    finally:
        event.set()
        await task


async def test_every_frame_is_there_whatever_lies_between_two_of_them():
    assert await stood(waits) == ["waits", "wait"]
    assert await stood(reads) == ["reads", "gives", "waits", "wait"]
    assert await stood(of_one) == ["of_one", "the task inner:", "reads", "gives", "waits", "wait"]
    assert (await stood(of_many))[:2] == ["of_many", "__aexit__"]

    async def old(event: asyncio.Event) -> None:
        await old_style(event)

    assert (await stood(old))[:2] == ["old", "old_style"]


async def test_a_stack_without_an_end_is_cut():
    assert len(await stood(deep, 3 * MOST_FRAMES)) == MOST_FRAMES


async def test_a_task_that_has_not_begun_or_has_ended_has_no_more_than_that():
    event = asyncio.Event()
    task = asyncio.create_task(waits(event))
    assert functions(task) == ["waits"]
    event.set()
    await task
    assert functions(task) == []


async def test_its_lines_are_those_of_a_traceback_and_only_the_code_is_shown():
    event = asyncio.Event()
    task = asyncio.create_task(of_one(event))
    await turns(5)
    lines = in_lines(stack_of(task))
    assert lines[0].startswith('  File "')
    assert lines[0].endswith(", in of_one")
    assert lines[1] == "    await inner"
    assert lines[2] == "the task inner:"
    event.set()
    await task
