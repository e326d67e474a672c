"""The tool calls of a turn: all at once, each shown while it runs, their results in the order of the calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from skep.clock import Clock
from skep.drivers.chat.here import ChatHere
from skep.drivers.chat.record import WorkRecord
from skep.drivers.chat.resuming import UNKNOWN
from skep.drivers.chat.seat import Seat
from skep.drivers.chat.transcript import Shown, Transcript
from skep.errors import SkepError
from skep.llm.messages import Message, ToolCall
from skep.model.events import ToolEnded
from skep.model.logs import Gutter
from skep.text import clean_line, duration
from skep.tools.base import ToolResult
from skep.tools.reports import children_in_lines
from skep.tools.toolbox import DELEGATE, Call, Toolbox

MakeHere = Callable[[Callable[[bytes], None]], ChatHere]
"""Makes what one call may use of its agent; given who shows the output of its programs."""

_NAME_CHARACTERS = 80

logger = logging.getLogger(__name__)


class ToolCalls:
    """Carries out what the model of one agent asks for."""

    def __init__(
        self,
        agent: str,
        toolbox: Toolbox,
        seat: Seat,
        transcript: Transcript,
        record: WorkRecord,
        clock: Clock,
        moved: Callable[[], None],
        here: MakeHere,
    ) -> None:
        self._agent = agent
        self._toolbox = toolbox
        self._seat = seat
        self._transcript = transcript
        self._record = record
        self._clock = clock
        self._moved = moved
        self._here = here
        self._open: dict[str, tuple[str, float]] = {}

    def __bool__(self) -> bool:
        """True while some call is open."""
        return bool(self._open)

    @property
    def activity(self) -> str:
        """What is open, in a few words."""
        if not self._open:
            return ""
        (first, _), *others = self._open.values()
        return f"{first}  +{len(others)}" if others else first

    def headline(self, call: ToolCall) -> str:
        """What a call is about in a few words, cleaned."""
        return _headline(self._toolbox.prepare(call.name, call.arguments), call)

    async def settle(self, calls: Sequence[ToolCall], turn: int) -> list[Message]:
        """Results for calls of which nobody knows how they ended: only what changes nothing is made again."""
        again = [call for call in calls if call.name in self._toolbox.read_only]
        results = await self.carry_out(again, turn) if again else []
        for call in calls:
            if call not in again:
                results.append(await self._not_run(call, turn, UNKNOWN, "unknown how it ended"))
        return results

    async def leave_out(self, calls: Sequence[ToolCall], turn: int, why: str) -> None:
        """Keep that these calls were not carried out: whoever goes on with the conversation knows it then."""
        for call in calls:
            await self._not_run(call, turn, f"error: not carried out: {why}", "not carried out")

    async def _not_run(self, call: ToolCall, turn: int, content: str, shown: str) -> Message:
        self._transcript.line(Gutter.CALL, self.headline(call))
        self._transcript.line(Gutter.FAULT, shown)
        end = ToolEnded(self._agent, turn, call.id, call.name, False, content)
        await self._seat.note(end)
        return Message("tool", content, call_id=call.id)

    @property
    def since(self) -> float:
        """When the first of the open calls began, epoch seconds; 0 if none is open."""
        return min((began for _, began in self._open.values()), default=0.0)

    async def carry_out(self, calls: Sequence[ToolCall], turn: int) -> list[Message]:
        """All calls of a turn at once; what the model is told of them."""
        if len(calls) == 1:
            return [await self._one(calls[0], turn)]
        with self._seat.branched(len(calls)):
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._one_of_many(call, turn)) for call in calls]
        return [task.result() for task in running]

    async def _one_of_many(self, call: ToolCall, turn: int) -> Message:
        async with self._seat.one():
            return await self._one(call, turn)

    async def _one(self, call: ToolCall, turn: int) -> Message:
        started = self._clock.monotonic()
        prepared = self._toolbox.prepare(call.name, call.arguments)
        self._record.calling(call.name, call.arguments)
        headline = _headline(prepared, call)
        self._transcript.line(Gutter.CALL, headline)
        self._open[call.id] = headline, self._clock.time()
        self._moved()
        shown = Shown(self._transcript, self._moved)
        try:
            result = await self._result(prepared, call, shown)
        finally:
            shown.close()
            self._open.pop(call.id, None)
        seconds = self._clock.monotonic() - started
        self._show(call, result, seconds, streamed=shown.used)
        self._record.called(
            call.name, ok=result.ok, characters=len(result.content), read=result.read, wrote=result.wrote
        )
        ended = ToolEnded(self._agent, turn, call.id, call.name, result.ok, result.content, round(seconds, 3))
        await self._seat.note(ended)
        self._moved()
        return Message("tool", result.content, call_id=call.id)

    async def _result(self, prepared: Call | ToolResult, call: ToolCall, shown: Shown) -> ToolResult:
        if isinstance(prepared, ToolResult):
            return prepared
        await self._seat.go()
        try:
            return await prepared.run(self._here(shown.feed))
        except Exception as error:
            if isinstance(error, SkepError):
                raise
            # A fault of ours in one tool is its result: the calls beside it go on to their ends.
            logger.exception("the tool %s of %s failed", call.name, self._agent)
            return ToolResult(False, f"error: the tool itself failed: {error!r}")

    def _show(self, call: ToolCall, result: ToolResult, seconds: float, *, streamed: bool) -> None:
        if call.name == DELEGATE and result.ok:
            self._transcript.line(Gutter.OUTPUT, children_in_lines(result.content))
        elif not streamed:
            self._transcript.result(result.content)
        took = duration(seconds)
        if result.exit_code is not None:
            how = f"exit {result.exit_code} in {took}"
        else:
            how = f"{len(result.content):,} characters in {took}" if result.ok else f"failed after {took}"
        self._transcript.line(Gutter.END if result.ok else Gutter.FAULT, how)


def _headline(prepared: Call | ToolResult, call: ToolCall) -> str:
    return prepared.headline if isinstance(prepared, Call) else clean_line(call.name, limit=_NAME_CHARACTERS)
