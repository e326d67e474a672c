"""The demo's model: who asks with a goal of the plan is answered as that agent; nothing is kept in mind."""

from __future__ import annotations

import random
from collections.abc import Mapping

from skep.simulator.behaviour import Behaviour, Conversation, Reply
from skep.simulator.demo import engineers, leads, strays, writers
from skep.simulator.demo.plan import Persona, Trade, plan
from skep.simulator.demo.scene import Scene, Step

_LEAVES: Mapping[Trade, tuple[Step, ...]] = {
    Trade.REVIEW: engineers.REVIEW,
    Trade.TEST: engineers.TEST,
    Trade.MEND: engineers.MEND,
    Trade.LOAD: engineers.LOAD,
    Trade.DOCUMENT: writers.DOCUMENT,
    Trade.COUNT: writers.COUNT,
    Trade.PLAN: writers.PLAN,
    Trade.AUDIT: writers.AUDITS,
    Trade.EXPLOIT: strays.EXPLOIT,
    Trade.IMPORT: strays.IMPORT,
}


def behaviour(seed: int, speed: float = 1.0) -> Behaviour:
    """Return the model of the demo with that seed.

    `speed` divides the seconds of the load tests that its agents run; the delays of the replies stay as they are,
    since the scenario's own speed divides those.
    """
    agents = plan(seed)

    def reply(conversation: Conversation) -> Reply:
        persona = agents.find(conversation.goal)
        if persona is None:
            return Reply(text="That is no part of this release. I have nothing to add to it.")
        dice = random.Random(f"{seed}\0{conversation.turn}\0{persona.goal}")
        steps = _steps(persona)
        answer = steps[min(conversation.turn, len(steps) - 1)](Scene(agents, persona, conversation, speed, dice))
        return _within(answer, conversation.tools)

    return reply


def _steps(persona: Persona) -> tuple[Step, ...]:
    if persona.trade is Trade.CAPTAIN:
        return leads.CAPTAINS
    return leads.lead(persona.name) if persona.trade is Trade.LEAD else _LEAVES[persona.trade]


def _within(reply: Reply, offered: frozenset[str]) -> Reply:
    """Return the reply, or one that says what is missing where it calls a tool that is not offered."""
    missing = sorted({call.name for call in reply.calls} - offered)
    if not missing:
        return reply
    text = f"I cannot go on: this takes {' and '.join(missing)}, and I was given no such tool.\n\n{reply.text}"
    return Reply(text=text, thinking=reply.thinking, pace=reply.pace)
