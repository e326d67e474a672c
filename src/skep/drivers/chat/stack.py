"""Where a task stands: the frames of what it awaits, from its own coroutine to the innermost one.

``asyncio.Task.get_stack`` gives only the outermost frame of a task that waits, and once a task is cancelled its
frames are unwound. So this is asked before, and remembers places, not text: that costs microseconds.
"""

from __future__ import annotations

import asyncio
import gc
import traceback
from collections.abc import Iterator
from types import AsyncGeneratorType, CoroutineType, FrameType, GeneratorType

MOST_FRAMES = 100
"""A stack is followed so far down."""

Place = traceback.FrameSummary | str
"""A frame, or a line that says whose frames follow."""


def stack_of(task: asyncio.Task[object]) -> list[Place]:
    """The frames of a task that waits, outermost first; of a task that it awaits in turn, those too."""
    places: list[Place] = []
    for place in _places(task.get_coro()):
        places.append(place)
        if len(places) >= MOST_FRAMES:
            break
    return places


def in_lines(places: list[Place]) -> list[str]:
    """As a traceback prints them: file, line, function, and the line itself."""
    lines: list[str] = []
    for place in places:
        if isinstance(place, str):
            lines.append(place)
        else:
            lines += traceback.StackSummary.from_list([place]).format()[0].rstrip("\n").split("\n")
    return lines


def _places(awaited: object) -> Iterator[Place]:
    seen: set[int] = set()
    while awaited is not None and id(awaited) not in seen:
        seen.add(id(awaited))
        if isinstance(awaited, CoroutineType):
            frame, awaited = awaited.cr_frame, awaited.cr_await
        elif isinstance(awaited, AsyncGeneratorType):
            frame, awaited = awaited.ag_frame, awaited.ag_await
        elif isinstance(awaited, GeneratorType):
            frame, awaited = awaited.gi_frame, awaited.gi_yieldfrom
        else:
            awaited = _within(awaited)
            if isinstance(awaited, asyncio.Task):
                yield f"the task {awaited.get_name()}:"
                awaited = awaited.get_coro()
            continue
        if frame is not None:
            yield _place(frame)


def _within(wrapper: object) -> object | None:
    """What stands behind a wrapper that the interpreter puts around a coroutine, a generator or a task.

    It has no attribute for that; only the garbage collector can tell.
    """
    kinds = (CoroutineType, AsyncGeneratorType, GeneratorType, asyncio.Task)
    return next((one for one in gc.get_referents(wrapper) if isinstance(one, kinds)), None)


def _place(frame: FrameType) -> traceback.FrameSummary:
    code = frame.f_code
    return traceback.FrameSummary(code.co_filename, frame.f_lineno, code.co_name, lookup_line=False)
