"""Stops from the first question to the verified end: asked, taken back or hurried, delivered, effective."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from skep.clock import Clock
from skep.control import losses
from skep.control.link import Link
from skep.control.verbs import (
    ASKED,
    Done,
    Hurry,
    Preview,
    Previewed,
    Request,
    Stop,
    TakeBack,
    Uncommitted,
    UncommittedShown,
)
from skep.errors import Refused, SkepError
from skep.model.agent import Agent, Face
from skep.model.states import DriverKind, State
from skep.model.swarm import SwarmState
from skep.room.doing import command_line
from skep.room.keymap import Keymap
from skep.room.look import Look, Role
from skep.room.screens.sending import Sender, Stage, lives, other_answer
from skep.room.screens.stop import How, StopPlan
from skep.room.widgets.message import MessageLine, Part, Question, Says
from skep.text import clean_line, duration

RUNG_SECONDS = 1.0
"""At most one rung of the ladder in so many seconds, however often the key is pressed."""

LEAST_DOING = 6
"""Cells that are left of what an agent does where the question about it is too long."""

Targets = tuple[tuple[str, bool], ...]
"""Agents, and whether their branches go too."""


class Asking(Stage, Protocol):
    """A stage with somebody to ask."""

    async def choose(self, plan: StopPlan) -> How | None:
        """Put the stop dialog; None if it was cancelled."""


@dataclass(slots=True, eq=False)
class _Stopping:
    """A stop that was asked for, until all that it touches has ended."""

    how: How
    name: str
    targets: Targets
    asked: float
    until: float | None
    """When the take-back window closes; None if there is none, or nobody waits for it any more."""
    agents: tuple[str, ...] = ()
    seq: int = 0
    """Number of the last event of it."""
    delivered: bool = False
    said: Says = field(default_factory=Says)


class Stopping(Sender):
    """Asks, sends, and tells on the message line what becomes of it."""

    def __init__(
        self,
        stage: Asking,
        link: Link,
        clock: Clock,
        message: MessageLine,
        look: Look,
        keymap: Keymap,
        *,
        window: float,
        rate: Callable[[str], int | None],
    ) -> None:
        """``window``: the seconds in which a stop can be taken back; ``rate``: what a branch costs in an hour."""
        super().__init__(stage, link, clock, message, look, keymap)
        self._asking = stage
        self._window = window
        self._rate = rate
        self._stops: list[_Stopping] = []
        """The newest last; of the others only those that can be taken back."""
        self._rung_at = float("-inf")
        self._seen: tuple[_Stopping, int, int] | None = None

    def stop(self, agents: Sequence[str], *, branch: bool = False, how: How = How.INTERRUPT) -> None:
        """Interrupt: a leaf after a question, anything larger after the dialog; a stopping one goes on down."""
        if self.refused():
            return
        with self._link.registry.read() as state:
            live = _topmost(state, [state.agents[one] for one in agents if lives(state, one)])
            below = {one.id: state.live_below(one.id) > 0 for one in live}
        if not live:
            self._nothing_here(agents)
        elif len(live) == 1 and not branch and how is How.INTERRUPT and is_asked_to_stop(live[0]):
            self._hurry(live[0].id, branch=below[live[0].id])
        elif len(live) == 1 and not branch and how is How.INTERRUPT and not below[live[0].id]:
            self._ask(live[0])
        else:
            self._stage.run(self._stop_by_dialog(tuple((one.id, branch or below[one.id]) for one in live), how))

    # -- questions ---------------------------------------------------------------------------------------------

    def _ask(self, agent: Agent) -> None:
        """On the message line, at once; what has to be looked up is filled in as it comes."""
        targets = ((agent.id, False),)
        flight = self._at_work(agent)
        question = Question(
            _question(agent.name, flight), lambda: self._stage.run(self._stop(targets, How.INTERRUPT))
        )
        self._message.ask(question)
        self._stage.run(self._fill_in(agent.name, targets, flight, question))

    async def _fill_in(self, name: str, targets: Targets, flight: Sequence[Part], question: Question) -> None:
        try:
            (previewed,) = await self._preview(targets)
            for one in previewed.in_flight:
                flight = _flight(one.doing, f" {duration(one.seconds)}")
            question = self._message.amend(question, _question(name, flight))
            found = await self._files(targets)
        except SkepError:
            return  # whoever answers yes is told why it cannot be
        self._message.amend(question, _question(name, (*flight, Part(_uncommitted(found)))))

    def _at_work(self, agent: Agent) -> Sequence[Part]:
        """What this room's registry knows of what would be cut short."""
        if agent.state is State.WAITING and agent.reason is not None:
            return (Part(f"waits for {agent.reason.value}, nothing runs"),)
        if not agent.slot:
            return (Part(f"{agent.state.value}, nothing runs"),)
        if agent.driver is DriverKind.CHAT:
            activity = clean_line(self._link.registry.live(agent.id).activity, limit=200)
            return _flight(activity, "") if activity else (Part("between two steps"),)
        return _flight(command_line(agent), f" {duration(agent.in_step(self._clock.time()))}")

    async def _stop_by_dialog(self, targets: Targets, how: How) -> None:
        try:
            first = await self._preview(targets)
        except SkepError as error:
            self._message.fail(error)
            return
        agents = [agent for agent, _ in targets]
        plan = StopPlan(
            first,
            self._name_of(agents),
            how,
            self._window,
            partial(self._preview, targets),
            partial(self._files, targets),
            partial(self._hourly, agents),
            self._keymap.key("stop.take_back"),
        )
        chosen = await self._asking.choose(plan)
        if chosen is not None:
            await self._stop(targets, chosen)

    async def _preview(self, targets: Targets) -> list[Previewed]:
        found = await asyncio.gather(
            *(self._link.call(Preview(agent=agent, branch=branch)) for agent, branch in targets)
        )
        previewed = [one for one in found if isinstance(one, Previewed)]
        if len(previewed) < len(targets):
            raise other_answer()
        return previewed

    async def _files(self, targets: Targets) -> UncommittedShown:
        """What all of them hold: one that has live children is only stopped with its branch."""
        if len(targets) > ASKED:
            raise Refused(f"more than {ASKED} are marked")
        found = await self._link.call(Uncommitted(agents=tuple(agent for agent, _ in targets), branch=True))
        if not isinstance(found, UncommittedShown):
            raise other_answer()
        return found

    def _hourly(self, agents: Sequence[str]) -> int | None:
        rates = [rate for agent in agents if (rate := self._rate(agent)) is not None]
        return sum(rates) if rates else None

    # -- stops -------------------------------------------------------------------------------------------------

    async def _stop(self, targets: Targets, how: How) -> None:
        window = self._window if how is How.INTERRUPT else 0.0
        name = self._name_of([agent for agent, _ in targets])
        stop = _Stopping(how, name, targets, self._clock.monotonic(), None)
        self._say(stop, self._act(Face.STOPPING, name, f"{how.value} asked"), new_step=True)
        done = await self._send_each(
            targets, lambda agent, branch: Stop(agent=agent, branch=branch, how=how.value, window=window)
        )
        stop.agents = tuple(agent for one in done for agent in one.agents)
        if not stop.agents:
            if done:
                self._nothing_here([agent for agent, _ in targets])
            return
        stop.seq = max(one.seq for one in done)
        # Counted from before the engine heard of it: what is promised here is never more than it grants.
        stop.until = stop.asked + window if window else None
        self._stops.append(stop)
        self._rung_at = self._clock.monotonic()
        self.tick()

    def _hurry(self, agent: str, *, branch: bool) -> None:
        if self._clock.monotonic() - self._rung_at < RUNG_SECONDS:
            self._message.tell("one rung a second", Role.GREY)
            return
        self._rung_at = self._clock.monotonic()
        self._stage.run(self._hurried(((agent, branch),)))

    async def _hurried(self, targets: Targets) -> None:
        name = self._name_of([agent for agent, _ in targets])
        self._message.report(self._act(Face.STOPPING, name, "next rung asked"))
        if await self._send_each(targets, lambda agent, branch: Hurry(agent=agent, branch=branch)):
            self._message.report(self._act(Face.STOPPING, name, "one rung further down"))

    @property
    def window_open(self) -> bool:
        """True while a stop can still be taken back."""
        return self._in_window() is not None

    def take_back(self) -> None:
        """Undo the newest stop that is in its window."""
        if self.refused():
            return
        stop = self._in_window()
        if stop is None:
            self._message.tell("nothing to take back: no window is open", Role.GREY)
        else:
            self._close_window(stop)
            self._stops.remove(stop)
            self._message.report(self._act(Face.STOPPING, stop.name, "take back asked"))
            self._stage.run(self._taken_back(stop))

    async def _taken_back(self, stop: _Stopping) -> None:
        asked = self._live_of(stop.targets)
        done = await self._send_each(asked, lambda agent, branch: TakeBack(agent=agent))
        if len(done) == len(asked):
            self._message.report(self._act(Face.RUNNING, stop.name, "taken back, it goes on"))
        else:
            # The window was over for some of them: they are followed on their way down.
            self._stops.append(stop)
            self._seen = None

    def sooner(self) -> None:
        """Skip the rest of the window."""
        stop = self._in_window()
        if stop is not None and not self.refused():
            self._close_window(stop)
            self._rung_at = self._clock.monotonic()
            self._stage.run(self._hurried(self._live_of(stop.targets)))

    async def _send_each(self, targets: Targets, verb: Callable[[str, bool], Request]) -> list[Done]:
        """Send it for each of them; what is refused for one, which is said, does not keep the others from it."""
        done = [await self._send(verb(agent, branch)) for agent, branch in targets]
        return [one for one in done if one is not None]

    def _live_of(self, targets: Targets) -> Targets:
        with self._link.registry.read() as state:
            return tuple((agent, branch) for agent, branch in targets if lives(state, agent))

    def _in_window(self) -> _Stopping | None:
        now = self._clock.monotonic()
        return next((one for one in reversed(self._stops) if one.until is not None and now < one.until), None)

    def _close_window(self, stop: _Stopping) -> None:
        stop.until = None
        self._seen = None
        self._message.show_window(None)

    # -- following ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Renew what is said of the stop that can be taken back, or else of the last one."""
        if not self._stops:
            return
        self._part_with_the_past()
        stop = self._in_window() or (self._stops[-1] if self._stops else None)
        if stop is None:
            return
        now = self._clock.monotonic()
        seen = (stop, self._link.registry.seq, int(now * 4))
        if seen == self._seen:
            return
        self._seen = seen
        if stop.until is not None and now < stop.until:
            left = int(stop.until - now + 0.999)
            keys = self._keys(("stop.take_back", "take back"), ("open", "sooner"))
            self._message.show_window(self._act(Face.STOPPING, stop.name, f"{stop.how.value} in {left} s", keys))
        else:
            self._follow(stop, now)

    def _part_with_the_past(self) -> None:
        """The registry is the judge of windows: another room, or the engine's clock, may have ended one."""
        now = self._clock.monotonic()
        with self._link.registry.read() as state:
            for stop in list(self._stops):
                if state.seq < stop.seq:
                    continue  # not heard of yet
                shuts = [state.shuts[agent] for agent, _ in stop.targets if agent in state.shuts]
                going = [state.agents[agent] for agent in stop.agents if lives(state, agent)]
                if going and not any(is_asked_to_stop(agent) for agent in going):
                    self._stops.remove(stop)
                    if stop.until is not None:
                        self._close_window(stop)
                        self._message.report(
                            self._act(Face.RUNNING, stop.name, "taken back elsewhere, it goes on")
                        )
                elif stop.until is not None and (now >= stop.until or all(shut.until is None for shut in shuts)):
                    self._close_window(stop)
        self._stops = [one for one in self._stops if one is self._stops[-1] or one.until is not None]

    def _follow(self, stop: _Stopping, now: float) -> None:
        with self._link.registry.read() as state:
            going = [state.agents[agent] for agent in stop.agents if lives(state, agent)]
            waiting = all(agent.state is not State.STOPPING for agent in going)
        took, count = duration(now - stop.asked), len(stop.agents)
        if going and waiting and len(going) == count:
            self._say(stop, self._act(Face.STOPPING, stop.name, f"{stop.how.value} asked, {took}"), new_step=False)
        elif going:
            word = "delivered" if count == 1 else f"delivered, {count - len(going)} of {count} ended"
            down = self._keys(("stop", "one rung down"))
            says = self._act(Face.STOPPING, stop.name, f"{stop.how.value} {word}, {took}", down)
            self._say(stop, says, new_step=not stop.delivered)
            stop.delivered = True
        else:
            self._say(stop, self._act(Face.STOPPED, stop.name, f"{_ended(stop.how)} after {took}"), new_step=True)
            self._stops.remove(stop)

    def _say(self, stop: _Stopping, says: Says, *, new_step: bool) -> None:
        if new_step:
            self._message.report(says)
        elif says != stop.said:
            self._message.renew(says)
        stop.said = says


def is_asked_to_stop(agent: Agent) -> bool:
    """It is on the ladder, or behind a gate that a stop has shut."""
    return not agent.ended and (agent.state is State.STOPPING or agent.asked_at is not None)


def _topmost(state: SwarmState, agents: list[Agent]) -> list[Agent]:
    """Without those that stand below another one of them."""
    ids = {agent.id for agent in agents}
    return [
        agent
        for agent in agents
        if not any(above.id in ids for above in state.ancestors(agent.id) if above.id != agent.id)
    ]


def _question(name: str, rest: Sequence[Part]) -> Says:
    asked = Part(f"interrupt {clean_line(name, limit=200)}?  ", Role.RED, bold=True)
    return Says((asked, *rest), (("enter", "yes"), ("esc", "no")))


def _flight(doing: str, since: str) -> tuple[Part, ...]:
    """Where the line is too long, the words give way before the numbers do."""
    return Part(doing, least=LEAST_DOING), Part(since), Part(" in flight", least=0)


def _uncommitted(found: UncommittedShown) -> str:
    if found.at_least and not found.files:
        return f", uncommitted files {losses.uncommitted(found)}"
    return f", {losses.counted(found.files, 'file', at_least=found.at_least)} uncommitted" if found.files else ""


def _ended(how: How) -> str:
    return "interrupted" if how is How.INTERRUPT else "killed"
