"""What the operator asks of the swarm: verbs go out at once, the message line follows them to their effect."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Protocol

from skep.clock import Clock
from skep.control.link import Link, LinkState
from skep.control.verbs import (
    Answer,
    Done,
    Hurry,
    Pause,
    Preview,
    Previewed,
    Reply,
    Request,
    Stop,
    TakeBack,
    Unpause,
)
from skep.errors import Refused, SkepError
from skep.model.agent import Agent, Face
from skep.model.holds import SWARM_SCOPE, Latch
from skep.model.states import State, Strength
from skep.model.swarm import SwarmState
from skep.room.doing import command_line
from skep.room.keymap import Keymap
from skep.room.look import Look, Role
from skep.room.screens.stop import How, StopPlan
from skep.room.widgets.message import MessageLine, Part, Question, Says, sentence
from skep.text import clean_line, duration

RUNG_SECONDS = 1.0
"""At most one rung of the ladder in so many seconds, however often the key is pressed."""


class Stage(Protocol):
    """What acting needs of the screen: a place to run in, and somebody to ask."""

    def run(self, work: Coroutine[None, None, None]) -> None:
        """Run it to its end, beside everything else."""

    async def choose(self, plan: StopPlan) -> How | None:
        """Put the stop dialog; None if it was cancelled."""


@dataclass(slots=True, eq=False)
class _Stopping:
    """A stop that was asked for, until all that it touches has ended."""

    how: How
    name: str
    targets: tuple[tuple[str, bool], ...]
    """Agents and whether their branches go too."""
    asked: float
    until: float | None = None
    """When the take-back window closes."""
    agents: tuple[str, ...] = ()
    delivered: bool = False
    said: Says = field(default_factory=Says)


def refusal(state: LinkState) -> str | None:
    """Why nothing can be changed now, in words; None if it can."""
    if state.live and state.gone:
        return "its engine is gone: nothing is sent; skep recover takes it up again, and this room with it"
    if not state.live:
        return "this swarm is looked at from its journal: nothing can change"
    if state.read_only:
        return "read-only: attach without --read-only to act"
    if state.foreign:
        return f"nothing is sent, another version of skep runs it now: {clean_line(state.foreign, limit=100)}"
    if not state.connected:
        return f"nothing is sent, no engine answers: {state.trouble or 'the link is down'}"
    if state.silent:
        return f"nothing is sent: the engine has not said a word for {duration(state.behind)}"
    return None


def is_asked_to_stop(agent: Agent) -> bool:
    """It is on the ladder, or behind a gate that a stop has shut."""
    return not agent.ended and (agent.state is State.STOPPING or agent.asked_at is not None)


class Acting:
    """Sends verbs and tells on the message line what became of them."""

    def __init__(
        self,
        stage: Stage,
        link: Link,
        clock: Clock,
        message: MessageLine,
        look: Look,
        keymap: Keymap,
        *,
        window: float,
    ) -> None:
        self._stage = stage
        self._link = link
        self._clock = clock
        self._message = message
        self._look = look
        self._keymap = keymap
        self._window = window
        self._stopping: _Stopping | None = None
        self._rung_at = float("-inf")
        self._seen: tuple[_Stopping, int, int] | None = None

    # -- holds -------------------------------------------------------------------------------------------------

    def hold(self, scopes: Sequence[str], wanted: bool, *, reason: str = "", seconds: float | None = None) -> None:
        """Hold (or release) new spawns under these agents; :data:`SWARM_SCOPE` is the whole swarm."""
        if self.refused():
            return
        with self._link.registry.read() as state:
            open_to_it = tuple(one for one in scopes if one == SWARM_SCOPE or _lives(state, one))
        if open_to_it:
            self._stage.run(self._hold(open_to_it, wanted, reason, seconds))
        else:
            self._nothing_here(scopes)

    def _nothing_here(self, agents: Sequence[str]) -> None:
        """The rows that a verb was meant for cannot take it."""
        words = f"{self._name_of(agents)} has ended already" if agents else "no agent under the cursor"
        self._message.tell(words, Role.GREY)

    async def _hold(self, scopes: tuple[str, ...], wanted: bool, reason: str, seconds: float | None) -> None:
        name = self._name_of(scopes)
        self._message.report(self._act(Face.HELD, name, "hold asked" if wanted else "release asked"))
        touched = 0
        for scope in scopes:
            request = Pause(scope=scope, reason=reason, seconds=seconds) if wanted else Unpause(scope=scope)
            done = await self._call(request)
            if done is None:
                return
            touched += done.count
        if wanted:
            words = f"new spawns held, {touched:,} wait" if touched else "new spawns held"
            key = self._keymap.key("hold.reason")
            self._message.report(self._act(Face.HELD, name, words, ((key, "says why"),) if key else ()))
        else:
            self._message.report(self._act(Face.RUNNING, name, f"released{self._after_release(touched)}"))

    def _after_release(self, released: int) -> str:
        with self._link.registry.read() as state:
            free, slots = state.slots_free, state.max_running
        if not released:
            return ""
        return f": {released:,} will start" + (f", {slots} at a time" if released > free else "")

    def newest_hold(self, agent: str | None) -> Latch | None:
        """The newest latch that reaches this agent."""
        with self._link.registry.read() as state:
            scopes = {SWARM_SCOPE}
            if agent is not None and agent in state.agents:
                scopes |= {one.id for one in state.ancestors(agent)}
            return max(
                (latch for latch in state.latches.values() if latch.scope in scopes),
                key=lambda latch: latch.since,
                default=None,
            )

    def give_reason(self, latch: Latch, reason: str) -> None:
        """Close the same latch again, for the time that it has left, with a reason."""
        left = latch.until - self._clock.time() if latch.until is not None else None
        if not self.refused() and (left is None or left > 0):
            self._stage.run(self._give_reason(latch.scope, latch.strength, reason, left))

    async def _give_reason(self, scope: str, strength: Strength, reason: str, left: float | None) -> None:
        if await self._call(Pause(scope=scope, strength=strength, reason=reason, seconds=left)) is not None:
            self._message.report(self._act(Face.HELD, self._name_of((scope,)), f"held: {clean_line(reason)}"))

    # -- stops -------------------------------------------------------------------------------------------------

    def stop(self, agents: Sequence[str], *, branch: bool = False, how: How = How.INTERRUPT) -> None:
        """Interrupt: a leaf after a question, anything larger after the dialog; a stopping one goes on down."""
        if self.refused():
            return
        with self._link.registry.read() as state:
            live = [state.agents[one] for one in agents if _lives(state, one)]
            live = _topmost(state, live)
            below = any(state.live_below(one.id) for one in live)
        if not live:
            self._nothing_here(agents)
        elif len(live) == 1 and not branch and how is How.INTERRUPT and is_asked_to_stop(live[0]):
            self._hurry(live[0].id, branch=below)
        elif len(live) == 1 and not branch and how is How.INTERRUPT and not below:
            self._ask(live[0])
        else:
            targets = tuple((one.id, branch or self._has_live_below(one.id)) for one in live)
            self._stage.run(self._stop_by_dialog(targets, how))

    def _ask(self, agent: Agent) -> None:
        at = duration(agent.in_step(self._clock.time()))
        flight = f"{command_line(agent)} {at} in flight" if agent.slot else f"{agent.state.value}, nothing runs"
        name = clean_line(agent.name, limit=200)
        targets = ((agent.id, False),)
        says = Says(
            (Part(f"interrupt {name}?", Role.RED, bold=True), Part(f"  {flight}")),
            (("enter", "yes"), ("esc", "no")),
        )
        self._message.ask(Question(says, lambda: self._stage.run(self._stop(targets, How.INTERRUPT))))

    async def _stop_by_dialog(self, targets: tuple[tuple[str, bool], ...], how: How) -> None:
        try:
            first = await self._preview(targets)
        except SkepError as error:
            self._message.fail(error)
            return
        plan = StopPlan(
            first, self._name_of([one for one, _ in targets]), how, self._window, partial(self._preview, targets)
        )
        chosen = await self._stage.choose(plan)
        if chosen is not None:
            await self._stop(targets, chosen)

    async def _preview(self, targets: tuple[tuple[str, bool], ...]) -> list[Previewed]:
        found = [await self._link.call(Preview(agent=agent, branch=branch)) for agent, branch in targets]
        return [one for one in found if isinstance(one, Previewed)]

    async def _stop(self, targets: tuple[tuple[str, bool], ...], how: How) -> None:
        window = self._window if how is How.INTERRUPT else 0.0
        stop = _Stopping(how, self._name_of([agent for agent, _ in targets]), targets, self._clock.monotonic())
        self._say(stop, self._act(Face.STOPPING, stop.name, f"{how.value} asked"), new_step=True)
        touched: list[str] = []
        for agent, branch in targets:
            done = await self._call(Stop(agent=agent, branch=branch, how=how.value, window=window))
            if done is None:
                return
            touched += done.agents
        stop.agents = tuple(touched)
        stop.until = self._clock.monotonic() + window if window else None
        stop.delivered = stop.until is None
        self._stopping = stop
        self._rung_at = self._clock.monotonic()
        self.tick()

    def _hurry(self, agent: str, *, branch: bool) -> None:
        if self._clock.monotonic() - self._rung_at < RUNG_SECONDS:
            self._message.tell("one rung a second", Role.GREY)
            return
        self._rung_at = self._clock.monotonic()
        self._stage.run(self._hurried(((agent, branch),)))

    async def _hurried(self, targets: tuple[tuple[str, bool], ...]) -> None:
        name = self._name_of([agent for agent, _ in targets])
        self._message.report(self._act(Face.STOPPING, name, "next rung asked"))
        for agent, branch in targets:
            if await self._call(Hurry(agent=agent, branch=branch)) is None:
                return
        self._message.report(self._act(Face.STOPPING, name, "one rung further down"))

    @property
    def window_open(self) -> bool:
        """True while the last stop can still be taken back."""
        return self._stopping is not None and self._stopping.until is not None

    def take_back(self) -> None:
        """Undo the last stop, within its window."""
        stop = self._stopping
        if self.refused():
            return
        if stop is None or stop.until is None:
            self._message.tell("nothing to take back: no window is open", Role.GREY)
        else:
            self._close_window()
            self._stopping = None
            self._stage.run(self._taken_back(stop))

    async def _taken_back(self, stop: _Stopping) -> None:
        for agent, _ in stop.targets:
            if await self._call(TakeBack(agent=agent)) is None:
                return
        self._message.report(self._act(Face.RUNNING, stop.name, "taken back, it goes on"))

    def sooner(self) -> None:
        """Skip the rest of the window."""
        stop = self._stopping
        if stop is not None and stop.until is not None and not self.refused():
            stop.delivered = True
            self._close_window()
            self._rung_at = self._clock.monotonic()
            self._stage.run(self._hurried(stop.targets))

    def _close_window(self) -> None:
        if self._stopping is not None:
            self._stopping.until = None
        self._message.show_window(None)

    # -- answers -----------------------------------------------------------------------------------------------

    async def answer(self, agent: str, hash: str, *, allow: bool) -> None:
        """Allow or deny what an agent asks; ``hash`` is that of the question which was read."""
        if self.refused():
            return
        name, word = self._name_of((agent,)), "allowed" if allow else "denied"
        self._message.report(self._act(Face.ASKS, name, f"answer asked: {word}"))
        if await self._call(Answer(agent=agent, hash=hash, allow=allow)) is not None:
            self._message.report(self._act(Face.RUNNING, name, word))

    # -- following ---------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Renew what is said of the last stop."""
        stop = self._stopping
        if stop is None:
            return
        now = self._clock.monotonic()
        seen = (stop, self._link.registry.seq, int(now * 4))
        if seen == self._seen:
            return
        self._seen = seen
        with self._link.registry.read() as state:
            agents = [state.agents[agent] for agent in stop.agents if agent in state.agents]
            going = sum(not agent.ended for agent in agents)
        if stop.until is not None and now < stop.until and going:
            left = int(stop.until - now + 0.999)
            keys = (("u", "take back"), ("enter", "sooner"))
            self._message.show_window(self._act(Face.STOPPING, stop.name, f"{stop.how.value} in {left} s", keys))
            return
        opened, stop.until = stop.until is not None, None
        if opened:
            self._message.show_window(None)
        took = duration(now - stop.asked)
        if going:
            word = "delivered" if len(agents) == 1 else f"delivered, {len(agents) - going} of {len(agents)} ended"
            down = ((self._keymap.key("stop"), "one rung down"),)
            says = self._act(Face.STOPPING, stop.name, f"{stop.how.value} {word}, {took}", down)
            self._say(stop, says, new_step=not stop.delivered or opened)
            stop.delivered = True
        else:
            self._say(stop, self._act(Face.STOPPED, stop.name, f"{_ended(stop.how)} after {took}"), new_step=True)
            self._stopping = None

    def _say(self, stop: _Stopping, says: Says, *, new_step: bool) -> None:
        if new_step:
            self._message.report(says)
        elif says != stop.said:
            self._message.renew(says)
        stop.said = says

    # -- inside ------------------------------------------------------------------------------------------------

    def refused(self) -> bool:
        """True, and said why, if nothing can be changed now."""
        why = refusal(self._link.state)
        if why is not None:
            self._message.tell(why, Role.AMBER)
        return why is not None

    async def _call(self, request: Request) -> Done | None:
        """Send a verb; None if it failed, which is said then."""
        try:
            reply: Reply = await self._link.call(request)
        except SkepError as error:
            self._message.fail(error)
            return None
        if isinstance(reply, Done):
            return reply
        self._message.fail(Refused("the engine gave an answer to another question", mend="update skep"))
        return None

    def _act(self, face: Face, name: str, words: str, keys: tuple[tuple[str, str], ...] = ()) -> Says:
        role = Role.BLUE if face in (Face.HELD, Face.STOPPING) else Role.GREY
        glyph = Part(f"{self._look.faces[face]} ", role)
        return replace(sentence(glyph, Part(name, bold=True), f"  {words}"), keys=keys)

    def _has_live_below(self, agent: str) -> bool:
        with self._link.registry.read() as state:
            return state.live_below(agent) > 0

    def _name_of(self, agents: Sequence[str]) -> str:
        with self._link.registry.read() as state:
            if len(agents) != 1:
                return f"{len(agents)} agents"
            if agents[0] == SWARM_SCOPE:
                return "the swarm"
            agent = state.agents.get(agents[0])
            return clean_line(agent.name, limit=60) if agent is not None else agents[0]


def _lives(state: SwarmState, agent: str) -> bool:
    return agent in state.agents and not state.agents[agent].ended


def _topmost(state: SwarmState, agents: list[Agent]) -> list[Agent]:
    """Without those that stand below another one of them."""
    ids = {agent.id for agent in agents}
    return [
        agent
        for agent in agents
        if not any(above.id in ids for above in state.ancestors(agent.id) if above.id != agent.id)
    ]


def _ended(how: How) -> str:
    return "interrupted" if how is How.INTERRUPT else "killed"
