"""Holds, answers and resuming: verbs go out at once, the message line follows them to their effect."""

from __future__ import annotations

from collections.abc import Sequence

from skep.control.verbs import Answer, Pause, Resume, Unpause
from skep.model.agent import Face
from skep.model.holds import SWARM_SCOPE, Latch, Scope, ScopeKind
from skep.model.states import DriverKind, Strength
from skep.model.swarm import SwarmState
from skep.room.look import Role
from skep.room.screens.sending import Sender, lives
from skep.text import clean_line


class Acting(Sender):
    """Holds and releases, gives reasons, answers what asks, has conversations go on."""

    # -- holds -------------------------------------------------------------------------------------------------

    def hold(
        self,
        scopes: Sequence[str],
        wanted: bool,
        *,
        strength: Strength = Strength.SPAWNS,
        reason: str = "",
        seconds: float | None = None,
    ) -> None:
        """Hold (or release) new spawns or turns in these scopes (see :class:`skep.model.holds.Scope`)."""
        if self.refused():
            return
        with self._link.registry.read() as state:
            open_to_it = tuple(one for one in scopes if _can_be_held(state, one))
        if open_to_it:
            self._stage.run(self._hold(open_to_it, wanted, strength, reason, seconds))
        else:
            self._nothing_here(scopes)

    async def _hold(
        self, scopes: tuple[str, ...], wanted: bool, strength: Strength, reason: str, seconds: float | None
    ) -> None:
        name = self._name_of(scopes)
        self._message.report(self._act(Face.HELD, name, "hold asked" if wanted else "release asked"))
        touched = 0
        for scope in scopes:
            request = (
                Pause(scope=scope, strength=strength, reason=reason, seconds=seconds)
                if wanted
                else Unpause(scope=scope, strength=strength)
            )
            done = await self._send(request)
            if done is None:
                return
            touched += done.count
        if wanted:
            what = "turns held" if strength is Strength.TURNS else "new spawns held"
            words = f"{what}, {touched:,} wait" if touched else what
            self._message.report(self._act(Face.HELD, name, words, self._keys(("hold.reason", "says why"))))
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
        if await self._send(Pause(scope=scope, strength=strength, reason=reason, seconds=left)) is not None:
            self._message.report(self._act(Face.HELD, self._name_of((scope,)), f"held: {clean_line(reason)}"))

    # -- answers -----------------------------------------------------------------------------------------------

    async def answer(self, agent: str, hash: str, *, allow: bool) -> None:
        """Allow or deny what an agent asks; ``hash`` is that of the question which was read."""
        if self.refused():
            return
        name, word = self._name_of((agent,)), "allowed" if allow else "denied"
        self._message.report(self._act(Face.ASKS, name, f"answer asked: {word}"))
        if await self._send(Answer(agent=agent, hash=hash, allow=allow)) is not None:
            self._message.report(self._act(Face.RUNNING, name, word))

    # -- resuming ----------------------------------------------------------------------------------------------

    def resume(self, agents: Sequence[str]) -> None:
        """Go on with the conversations of those of these agents that have ended."""
        if self.refused():
            return
        with self._link.registry.read() as state:
            found = [state.agents[one] for one in agents if one in state.agents]
            fit = tuple(one.id for one in found if one.ended and one.driver is DriverKind.CHAT)
        if fit:
            self._stage.run(self._resume(fit))
        elif found and not found[0].ended:
            self._message.tell(f"{self._name_of(agents)} has not ended: nothing to resume", Role.GREY)
        else:
            self._message.tell("only conversations can be resumed", Role.GREY)

    async def _resume(self, agents: tuple[str, ...]) -> None:
        for agent in agents:
            name = self._name_of((agent,))
            self._message.report(self._act(Face.WAITING, name, "resume asked"))
            done = await self._send(Resume(agent=agent))
            if done is None:
                return
            with self._link.registry.read() as state:
                new = state.agents.get(done.agents[0]) if done.agents else None
                held = new is not None and state.is_held(new.id)
                shown = clean_line(new.name, limit=60) if new is not None else ", ".join(done.agents)
            words = f"{shown} goes on with its conversation" + (", held as the swarm is" if held else "")
            self._message.report(self._act(Face.HELD if held else Face.RUNNING, name, words))


def _can_be_held(state: SwarmState, scope: str) -> bool:
    """A branch has to live; whether there is such a model or account the engine says."""
    return Scope.read(scope).kind is not ScopeKind.BRANCH or lives(state, scope)
