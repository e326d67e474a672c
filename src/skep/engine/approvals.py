"""What agents may not do before a person has allowed it: asked, answered once, denied when nobody answers."""

from __future__ import annotations

import asyncio
from functools import partial

from skep.engine.alarms import Alarms
from skep.engine.ledger import Decision, Ledger
from skep.errors import NotFound, Refused
from skep.model.approvals import Answer, Question
from skep.model.events import ApprovalAnswered, ApprovalAsked
from skep.model.states import State
from skep.text import duration

CLOCK = "its time limit"
"""Who denies what nobody answers."""


class Approvals:
    """The open questions of a swarm; one at a time for each agent, the next is asked after the answer."""

    def __init__(self, ledger: Ledger, alarms: Alarms, patience: float) -> None:
        self._ledger = ledger
        self._alarms = alarms
        self._patience = patience
        """Seconds after which a question is denied."""
        self._turns: dict[str, asyncio.Lock] = {}
        self._open: dict[str, asyncio.Future[Answer]] = {}

    async def approve(self, agent: str, question: Question) -> Answer:
        """Ask and wait; an agent that is stopped meanwhile just stops."""
        async with self._turns.setdefault(agent, asyncio.Lock()):
            future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            with self._ledger.decide() as decision:
                one = decision.state.agents[agent]
                if one.ended or one.state is State.STOPPING:
                    raise Refused(f"{one.name} may not ask", why="it is being stopped")
                until = decision.now + self._patience
                asked = ApprovalAsked(
                    agent, question.hash, question.tool, question.headline, dict(question.detail), until
                )
                decision.emit(asked)
                self._open[agent] = future
                alarm = self._alarms.after(decision, self._patience, partial(self._deny, agent, question.hash))
            try:
                return await future
            finally:
                alarm.cancel()
                self._open.pop(agent, None)

    def answer(self, decision: Decision, agent: str, hash: str, *, allow: bool, who: str) -> int:
        """Answer what an agent asks; the hash says what one has read, so that nothing else is allowed.

        Inside of a decision, in any thread. Returns the number of the event. Raises NotFound, and Refused if it
        asks nothing, or something else.
        """
        one = decision.state.agents.get(agent)
        if one is None:
            raise NotFound(f"there is no agent {agent}", mend="skep tree lists them")
        future = self._open.get(agent)
        if one.question is None or future is None:
            raise Refused(f"{one.name} asks nothing", mend="it may have been answered already")
        if one.question.get("hash") != hash:
            raise Refused(f"{one.name} asks something else now", mend="read it again before you answer")
        seq = decision.emit(ApprovalAnswered(agent, hash, allow, who))
        answer = Answer(allow, who, f"nobody answered within {duration(self._patience)}" if who == CLOCK else "")

        async def tell() -> None:
            if not future.done():
                future.set_result(answer)

        decision.then(tell)
        return seq

    def forget(self, agent: str) -> None:
        """The agent has ended; any thread."""
        self._turns.pop(agent, None)

    def _deny(self, agent: str, hash: str, decision: Decision) -> None:
        one = decision.state.agents[agent]
        if one.question is not None and one.question.get("hash") == hash:
            self.answer(decision, agent, hash, allow=False, who=CLOCK)
