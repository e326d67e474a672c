"""The chat driver: asks a model, keeps its complete turn, runs the tools it asked for, and asks again."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from skep.clock import Clock
from skep.drivers.base import Running
from skep.drivers.chat.calls import ToolCalls
from skep.drivers.chat.diagnosis import Setup, diagnosis
from skep.drivers.chat.ending import RESULT_CHARACTERS, first_of, in_words, shortened
from skep.drivers.chat.hearing import Hearing
from skep.drivers.chat.here import Background, ChatHere
from skep.drivers.chat.history import History
from skep.drivers.chat.models import Models
from skep.drivers.chat.notes import Notes
from skep.drivers.chat.prompt import opening
from skep.drivers.chat.record import WorkRecord
from skep.drivers.chat.resuming import Rebuilt
from skep.drivers.chat.seat import Seat
from skep.drivers.chat.trail import Trail
from skep.drivers.chat.transcript import Transcript
from skep.drivers.ending import ended
from skep.drivers.output import Output
from skep.drivers.program import Program, Programs
from skep.drivers.progress import Progress
from skep.errors import Refused, SkepError
from skep.llm.failure import Aborted, AttemptFailed
from skep.llm.messages import Message, ToolSpec, Usage
from skep.llm.prices import cost
from skep.llm.turn import Cutoff, complete
from skep.model.agent import Live
from skep.model.children import DelegateLimits, Role
from skep.model.events import AttemptStruck, MessageAdded, TurnCompleted
from skep.model.launch import ChatSpec
from skep.model.logs import Gutter, TailChunk
from skep.model.permits import Assignment, Ended, Permits, Pulse
from skep.model.states import State, StopStep, WaitReason
from skep.text import clean, clean_line
from skep.tools.blocking import Threads
from skep.tools.delegate import result_text
from skep.tools.toolbox import ALL, DELEGATE, Toolbox
from skep.tools.writing import WriteFile

ANSWERS = ".skep/answers/{}.md"
"""Where the whole of a long answer is kept, in the workspace: whoever asked for it can read it there."""

_NOTHING = DelegateLimits(0, 0)
_CUT_SHORT = {
    "length": "the answer was cut off at the provider's limit of length",
    "content_filter": "the provider withheld the answer (content filter)",
}
"""Why an answer ended that is no whole one, in words."""

_NAME_CHARACTERS = 80

logger = logging.getLogger(__name__)


class ChatDriver:
    """Runs one conversation. Raises ValueError for a spec that is none, BadInput for a model nobody serves."""

    def __init__(
        self,
        assignment: Assignment,
        output: Output,
        permits: Permits,
        models: Models,
        makes: Programs,
        clock: Clock,
        progressed: Callable[[str], None],
        environment: Mapping[str, str],
    ) -> None:
        self.agent = assignment.agent
        self._assignment = assignment
        self._spec = ChatSpec.of(assignment.spec)
        self._permits = permits
        self._models = models
        self._provider, self._pool, self._model = models.route(self._spec.model)
        self._prices = self._provider.prices.get(self._model)
        self._makes = makes
        self._clock = clock
        self._environment = environment
        self._transcript = Transcript(output, clock)
        self._progress = Progress(clock, lambda: progressed(self.agent))
        self._trail = Trail(clock)
        self._hearing = Hearing(self._transcript, self._progress.moved, self._asked, self._struck)
        names = self._spec.tools if self._spec.tools is not None else ALL
        if self._spec.role is not Role.ORCHESTRATOR:
            names = tuple(name for name in names if name != DELEGATE)
        self._limits = _NOTHING
        self._toolbox = Toolbox(names, commands=self._spec.commands, limits=lambda: self._limits)
        self._declared: list[ToolSpec] | None = None
        self._history = History(opening(assignment.name, assignment.goal, self._spec))
        self._record = WorkRecord()
        self._background = Background()
        self._programs: set[Program] = set()
        self._threads = Threads()
        self._kept: list[AttemptStruck | MessageAdded] = []
        self._notes = Notes(self.agent, self._transcript, self._kept.append)
        self._cutoff = Cutoff()
        self._step: StopStep | None = None
        self._work: asyncio.Task[Ended] | None = None
        self._seat = Seat(permits, self.agent, assignment.generation, self._progress, self._trail)
        self._calls = ToolCalls(
            self.agent,
            self._toolbox,
            self._seat,
            self._transcript,
            self._record,
            clock,
            self._progress.moved,
            self._here,
        )
        self._turn = 0
        self._asked_at = 0.0
        self._said = ""

    # -- what the host asks ----------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Which run of the agent this is; it grows each time that it comes back from a wait."""
        return self._seat.generation

    @generation.setter
    def generation(self, value: int) -> None:
        self._seat.generation = value

    async def run(self, permits: Permits, running: Running) -> Ended:
        """Run to the end; request, programs and tasks are gone when this returns."""
        running(self.generation, ())
        with self._threads.watched():
            return await self._run()

    async def _run(self) -> Ended:
        self._work = asyncio.create_task(self._converse(), name=f"conversation of {self.agent}")
        if self._step is not None:
            self._work.cancel()
        try:
            await asyncio.wait({self._work})
            end = self._outcome(self._work)
            await self._keep_notes()
            return await self._with_its_whole_answer(end)
        finally:
            self._work.cancel()
            await ended(self._work)
            await self._background.cancel()
            self._notes.close()
            self._transcript.close()
            if self._step is not None:
                self._models.client.close_idle()  # after a stop the provider sees no connection open

    def stop(self, step: StopStep) -> None:
        """Close the connection at once, whatever the rung; programs of its tools go down the ladder."""
        first = self._step is None
        if first and step < StopStep.CANCEL:
            self._trail.close()  # a polite stop is nobody's fault, and needs no explanation
        elif first and self._work is not None:
            self._trail.look(self._work)
        self._step = step if self._step is None else max(step, self._step)
        self._cutoff.abort()
        for program in self._programs:
            program.stop(step)
        if first and self._work is not None:
            self._work.cancel()

    async def pulse(self) -> Pulse:
        """Its own task, threads and programs answer; what it does decides how long it may be silent."""
        mute = await self._mute()
        in_tool = bool(self._calls)
        lacks, where = self._evidence()
        return Pulse(
            self.agent,
            self.generation,
            not mute,
            self._progress.idle,
            self._progress.moves,
            in_tool=in_tool,
            quiets=not in_tool,
            lacks=lacks,
            where=where,
            repeats=self._record.repeats,
            repeated=clean_line(self._record.last_tool, limit=_NAME_CHARACTERS),
            mute=mute,
            notes=self._notes.count,
            receipt=self._notes.receipt,
        )

    def steer(self, note: str, who: str) -> None:
        """Its model reads the note at the next turn."""
        self._notes.add(note, who)

    def diagnosis(self) -> str | None:
        """What it was doing, unless its model has answered, or somebody just wanted it to stop."""
        if self._trail.cold:
            return None
        setup = Setup(self._spec, self._provider, self._pool, self._model, self._models)
        return diagnosis(setup, self._history.messages, self._tools, self._trail)

    def live(self) -> Live:
        """What it does, its turn, its key."""
        live = self._transcript.live(self._progress.at)
        live.activity = self._activity()
        live.turn = self._turn
        live.key = self._hearing.key
        live.in_tool = bool(self._calls)
        live.since = self._calls.since or (self._asked_at if self._hearing.activity else 0.0)
        return live

    def tail(self, first: int, limit: int) -> TailChunk:
        """The conversation from line ``first`` on."""
        return self._transcript.tail(first, limit)

    def left(self) -> str:
        """The processes of its tools that are still there, and threads that do not end."""
        count = len(self._threads)
        many = "1 thread" if count == 1 else f"{count} threads"
        threads = f"{many} of {self._calls.activity or 'a tool'}" if count else ""
        return ", ".join(filter(None, (*(program.left() for program in self._programs), threads)))

    # -- the conversation ------------------------------------------------------------------------------------

    async def _converse(self) -> Ended:
        await self._take_up()
        while True:
            self._hear_background()
            answer, finish = await self._ask()
            calls = answer.tool_calls
            if not calls and finish in _CUT_SHORT:
                return self._end(State.FAILED, _CUT_SHORT[finish], finish)
            if not calls and not self._background:
                return self._end(State.DONE, reason=finish)
            if self._turn >= self._spec.max_turns:
                limit = f"max_turns {self._spec.max_turns} reached"
                await self._calls.leave_out(calls, self._turn, limit)
                return self._end(State.OVER_LIMIT, limit, "max_turns")
            if calls:
                self._history.add(*await self._calls.carry_out(calls, self._turn))
            else:  # it has said its last word, but children of it work on: their results give it another turn
                async with self._seat.waiting(WaitReason.CHILD, "children in the background"):
                    await self._background.wait()

    async def _take_up(self) -> None:
        """Go on with the conversation of another agent, if that is what it is for."""
        resumes = self._assignment.resumes
        if not resumes:
            return
        old = Rebuilt(self._history, await self._permits.conversation(self.agent, self.generation))
        self._transcript.line(Gutter.NOTE, f"goes on with the conversation of {resumes} after {old.turns} turns")
        children = await self._permits.inherit(self.agent, self.generation)
        if children:
            reports = self._permits.children(self.agent, self.generation, children)
            self._background.add(asyncio.ensure_future(reports))
        old.finish(await self._calls.settle(old.open, self._turn))

    async def _ask(self) -> tuple[Message, str]:
        """One turn, complete and durable when this returns: the answer, and why it ended."""
        self._trail.phase("asks the engine whether it may go on")
        await self._seat.back()
        await self._seat.turn()
        await self._seat.go()
        if DELEGATE in self._toolbox.names:
            self._limits = await self._permits.limits(self.agent, self.generation)
        self._turn += 1
        self._history.add(*self._notes.take(self._turn))
        self._progress.moved()
        self._hearing.begin()
        self._trail.phase(f"turn {self._turn}: asks the model")
        try:
            self._asked_at = self._clock.time()
            turn = await complete(
                self._models.client,
                self._pool,
                self._provider,
                self._model,
                self._history.messages,
                self._tools(),
                agent=self.agent,
                branch=self._assignment.branch,
                seat=self._seat,
                hears=self._hearing,
                clock=self._clock,
                cutoff=self._cutoff,
            )
        finally:
            await self._keep_notes()
        self._hearing.complete()
        self._trail.close()
        answer = self._history.answered(turn.message)
        self._said = answer.content or self._said
        spent = TurnCompleted(
            self.agent,
            self._turn,
            answer.to_json(),
            turn.finish,
            turn.key,
            turn.usage.tokens_in,
            turn.usage.tokens_out,
            turn.usage.cached,
            cost(self._prices, turn.usage),
            round(turn.seconds, 3),
            {call.id: self._calls.headline(call) for call in answer.tool_calls},
        )
        await self._seat.note(spent)
        self._progress.moved()
        return answer, turn.finish

    def _tools(self) -> list[ToolSpec]:
        """The tools as the model is told of them; anew each turn where they state limits that change."""
        if self._declared is None or DELEGATE in self._toolbox.names:
            self._declared = [ToolSpec(t.name, t.description, t.parameters()) for t in self._toolbox]
        return self._declared

    def _here(self, wrote: Callable[[bytes], None]) -> ChatHere:
        return ChatHere(
            self.agent,
            Path(self._spec.cwd),
            self._seat,
            self._permits,
            self._clock,
            self._makes,
            self._background,
            wrote,
            self._programs,
            self._environment,
        )

    def _hear_background(self) -> None:
        """Tell the model what children in the background left, one message for a batch."""
        for reports in self._background.ended():
            text = f"Agents that you started in the background have ended. Their results:\n{result_text(reports)}"
            self._history.add(Message("user", text))
            self._kept.append(MessageAdded(self.agent, self._turn, text))
            self._transcript.line(Gutter.NOTE, f"results of {len(reports)} agents in the background")

    # -- the end ---------------------------------------------------------------------------------------------

    def _outcome(self, work: asyncio.Task[Ended]) -> Ended:
        """How the conversation ended; whatever it raised becomes an end that says so."""
        if work.cancelled():
            self._cut("stopped")
            return self._end(State.FAILED, "stopped")
        error = work.exception()
        if error is None:
            return work.result()
        error = self._trail.error = first_of(error)
        self._cut(in_words(error))
        if isinstance(error, AttemptFailed):
            self._said = error.partial or self._said  # it does not count as a turn, but shows how far it came
        if isinstance(error, Aborted | Refused) and self._step is not None:
            return self._end(State.FAILED, "stopped")
        if isinstance(error, SkepError):
            return self._end(State.FAILED, in_words(error))
        raise error

    def _cut(self, why: str) -> None:
        partial = self._hearing.partial
        self._said = partial or self._said
        self._hearing.cut(why)

    def _end(self, state: State, error: str | None = None, reason: str = "") -> Ended:
        answer = clean(self._said).strip()
        full: str | None = None
        if len(answer) > RESULT_CHARACTERS:
            full = ANSWERS.format(self.agent)
            answer = shortened(answer, full)
        report = self._record.document(reason or error or state.value, full)
        live = self.live()
        return Ended(self.agent, self.generation, state, None, None, error, answer or None, live, report)

    async def _with_its_whole_answer(self, end: Ended) -> Ended:
        """Write a long answer to where whoever asked for it can read it; or say no more where that would be."""
        path = (end.report or {}).get("full")
        if not isinstance(path, str):
            return end
        place: str | None = str(Path(self._spec.cwd, path))
        try:
            await WriteFile().run({"path": path, "content": self._said}, self._here(lambda data: None))
        except SkepError as error:
            logger.warning("the whole answer of %s is not kept: %s", self.agent, error)
            place = None
        result = (end.result or "").replace(path, place or "no file: it could not be written")
        return dataclasses.replace(end, result=result, report={**(end.report or {}), "full": place})

    async def _keep_notes(self) -> None:
        """Hand what was noted on the way to the journal; after its end nobody takes it any more."""
        while self._kept:
            note = self._kept.pop(0)
            with suppress(Refused):
                await self._seat.note(note)

    def _struck(self, key: str, outcome: str, error: str, text: str, usage: Usage | None) -> None:
        used = usage or Usage(0, 0)
        price = cost(self._prices, used) if usage is not None else None
        self._trail.struck(outcome, error)
        self._kept.append(
            AttemptStruck(
                self.agent,
                self._turn,
                key,
                outcome,
                error,
                text,
                used.tokens_in,
                used.tokens_out,
                price,
                usage is not None,
            )
        )

    # -- what it shows ---------------------------------------------------------------------------------------

    def _activity(self) -> str:
        return self._calls.activity or self._hearing.activity

    def _evidence(self) -> tuple[str, str]:
        """What does not come while nothing moves, and what else is to be said of that."""
        if self._calls:
            return "no output", f" in {self._calls.activity}"
        if not self._hearing.activity:
            return "no progress", ""
        key = f", key {self._hearing.key}" if self._hearing.key else ""
        tries = f" over {self._hearing.attempts} attempts" if self._hearing.attempts > 1 else ""
        return "no token", f"{tries}{key}"

    async def _mute(self) -> str:
        """What of it does not answer; empty if all does. That the loop runs which asks this says nothing of it."""
        if self._work is not None and self._work.done():
            return "its conversation is over, and it has not ended"
        for program in self._programs:
            if not await program.alive():
                return f"the program is gone of {self._calls.activity or 'a tool'}"
        return "" if self._threads.answer() else f"no answer from the thread of {self._calls.activity or 'a tool'}"

    def _asked(self, key: str) -> None:
        self._trail.attempt(key)
        self._notes.sent()
