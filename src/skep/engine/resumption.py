"""Ended conversations that go on: a new agent with the old conversation, and what the old one could not know."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from skep.drivers.chat.history import History
from skep.drivers.chat.resuming import Rebuilt
from skep.engine.delegation import chat_spec, next_id, unique_name
from skep.engine.ledger import Decision, Ledger
from skep.errors import NotFound, Refused
from skep.journal import JournalReader
from skep.model.agent import Agent
from skep.model.codec import decode
from skep.model.events import (
    ROOT,
    AgentEnded,
    AgentQueued,
    AttemptStruck,
    EngineStarted,
    Event,
    MessageAdded,
    Reopened,
    ToolEnded,
    TurnCompleted,
)
from skep.model.launch import EngineSettings
from skep.model.permits import Note
from skep.model.states import DriverKind, State
from skep.model.swarm import SwarmState
from skep.providers import split_model
from skep.text import clean, cut_middle

_ROWS = 5_000
_CHILDREN = 20  # as many are named
_SUMMARY_CHARACTERS = 2_000  # of the answer of a child, as told to who resumes its parent
_NOTES = (TurnCompleted, AttemptStruck, ToolEnded, MessageAdded)


class Resumption:
    """Makes agents that go on with the conversation of an ended one, and reads such conversations.

    What takes a decision is called inside of it, in any thread; the coroutines belong to the engine's loop.
    """

    def __init__(
        self, ledger: Ledger, settings: EngineSettings, caps: dict[str, int], accounts: dict[str, list[str]]
    ) -> None:
        """``caps`` and ``accounts`` are what an engine tells of its providers when it takes a swarm over."""
        self._ledger = ledger
        self._settings = settings
        self._caps = caps
        self._accounts = accounts

    async def check(self, agent: str) -> None:
        """Raise what stands against resuming this agent, before anything is made of it.

        Raises NotFound, Refused, and Damaged if its conversation cannot be read, or cannot be put together again.
        """
        with self._ledger.registry.read() as state:
            self._resumable(state, agent)
        Rebuilt(History(()), await self.conversation(agent))

    def resume(self, decision: Decision, agent: str, message: str, who: str) -> str:
        """Queue an agent that goes on with this one's conversation; returns its id.

        It stands where the old one stood if somebody there still works or only holds others, else below the root.
        Raises NotFound and Refused as :meth:`check` does.
        """
        state = decision.state
        old = self._resumable(state, agent)
        above = list(state.ancestors(agent))[1:]
        place = next((one for one in above if not one.ended or one.driver is DriverKind.GROUP), state.agents[ROOT])
        shut = state.shut_over(place.id)
        if shut is not None and state.status is None:  # in a swarm that has ended nothing is stopping any more
            raise Refused(f"{old.name} cannot be resumed", why=f"{state.agents[shut.agent].name} is being stopped")
        if state.status is not None:
            decision.emit(Reopened(ROOT, who))
            if state.engine_pid != os.getpid():
                decision.emit(EngineStarted(os.getpid(), True, self._caps, self._accounts))
        for one in reversed([one for one in state.ancestors(place.id) if one.ended and one.parent is not None]):
            decision.emit(Reopened(one.id, who))
        first = _first_of(state, old)
        taken = {state.agents[child].name for child in place.children} | {first.name}
        new = next_id(state)
        name = unique_name(first.name, taken)
        decision.emit(AgentQueued(new, place.id, name, old.driver, old.goal, old.spec, resumes=agent))
        decision.emit(MessageAdded(new, 0, _news(state, old, message)))
        return new

    async def conversation(self, agent: str) -> list[Note]:
        """What was said and done in the conversation of this agent and of those that it resumes, oldest first."""
        with self._ledger.registry.read() as state:
            chain = [(one.id, one.order) for one in _chain(state, state.agents[agent])]
            seq = state.seq
        await self._ledger.settle(seq)
        return await asyncio.to_thread(_read, self._ledger.folder, chain)

    def _resumable(self, state: SwarmState, agent: str) -> Agent:
        one = state.agents.get(agent)
        if one is None:
            raise NotFound(f"there is no agent {agent}", mend="skep tree lists them")
        spec = chat_spec(one)
        if not one.ended:
            raise Refused(f"{one.name} cannot be resumed", why=f"it has not ended: it is {one.state}")
        if one.resumed_by:
            newest = one
            while newest.resumed_by:
                newest = state.agents[newest.resumed_by]
            raise Refused(
                f"{one.name} was resumed already",
                why=f"{newest.name} ({newest.id}) goes on with its conversation",
                mend=f"resume {newest.id} once it has ended",
            )
        provider = split_model(spec.model)[0]
        if provider not in self._settings.providers:
            raise Refused(f"{one.name} cannot be resumed", why=f"this swarm has no provider {provider}")
        if provider not in self._accounts:
            raise Refused(
                f"{one.name} cannot be resumed",
                why=f"its engine found no key for {provider} when it started",
                mend="set the key, end the engine, and resume again: a new engine looks for it",
            )
        return one


def _chain(state: SwarmState, agent: Agent) -> Iterator[Agent]:
    """The agent and all that it goes on from, oldest first."""
    older = [agent]
    while older[-1].resumes:
        older.append(state.agents[older[-1].resumes])
    return reversed(older)


def _first_of(state: SwarmState, agent: Agent) -> Agent:
    return next(_chain(state, agent))


def _read(folder: Path, chain: list[tuple[str, int]]) -> list[Note]:
    """The notes of these agents from the journal, each from the event that asked for it to its end."""
    notes: list[Note] = []
    with JournalReader(folder) as reader:
        for agent, order in chain:
            notes.extend(event for event in _events(reader, agent, order) if isinstance(event, _NOTES))
    return notes


def _events(reader: JournalReader, agent: str, order: int) -> Iterator[Event]:
    mark = f'"agent":"{agent}"'.encode()
    after = order - 1
    while rows := reader.read(after, _ROWS):
        after = rows[-1].seq
        for row in rows:
            if mark in row.body:  # quick, and right nearly always; decoding is slow
                event = decode(row.body)
                if getattr(event, "agent", None) == agent:
                    yield event
                    if isinstance(event, AgentEnded):
                        return


def _news(state: SwarmState, old: Agent, message: str) -> str:
    """What the agent has to know when it goes on, and what the operator adds."""
    parts = []
    if old.state is State.LOST:
        parts.append(
            "You were cut off: the process that ran you died. Go on from here; if your last answer was the final "
            "one, give it again. Nobody knows whether a tool call whose result is unknown took effect: look "
            "before you repeat it."
        )
    elif old.state is not State.DONE:
        parts.append(f"You had ended: {old.error or old.state.value}. Go on from here.")
    parts.extend(_children(state, old))
    parts.append(message.strip() or ("" if parts else "Go on."))
    return "\n\n".join(filter(None, parts))


def inherited(state: SwarmState, agent: Agent) -> list[str]:
    """The children of those that it resumes that have not ended: their results are for it now."""
    return [child for one in _chain(state, agent) for child in one.children if _is_heir(state, one, child, agent)]


def _is_heir(state: SwarmState, parent: Agent, child: str, agent: Agent) -> bool:
    one = state.agents[child]
    return parent is not agent and not one.ended and not one.resumes


def _children(state: SwarmState, old: Agent) -> Iterator[str]:
    """What became of the agents that it had started, where it may not have been told: one that is done was."""
    children = [] if old.state is State.DONE else [state.agents[child] for child in reversed(old.children)]
    told = [_in_words(one) for one in children][:_CHILDREN]
    if told:
        yield "\n".join(["What became of the agents that you had started, the newest first:", *told])


def _in_words(one: Agent) -> str:
    if not one.ended:
        return f"- {one.name} ({one.id}): {one.state.value}; its result comes as a message when it has ended"
    error = f", {one.error}" if one.error else ""
    summary = f"\n{cut_middle(clean(one.result), _SUMMARY_CHARACTERS)}" if one.result else ""
    return f"- {one.name} ({one.id}): {one.state.value}{error}{summary}"
