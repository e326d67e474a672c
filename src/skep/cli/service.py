"""The engine as the control server wants to see it: verbs in, typed replies out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from skep.clock import Clock
from skep.control.holding import holds
from skep.control.preview import folders_of, preview, shown
from skep.control.service import TailChunk, Who
from skep.control.verbs import (
    NAMED,
    Answer,
    Done,
    Holds,
    HoldsShown,
    Hurry,
    Keys,
    KeysShown,
    Pause,
    PoolShown,
    Preview,
    Reply,
    Request,
    Resume,
    Stop,
    TakeBack,
    Uncommitted,
    Unpause,
)
from skep.engine.engine import Engine
from skep.errors import BadInput
from skep.keys import Pool
from skep.model.events import Record
from skep.model.registry import Registry
from skep.model.states import DriverKind, StopVerb

T = TypeVar("T")


class EngineService:
    """Implements :class:`skep.control.service.Service` over an engine in the same loop."""

    def __init__(self, engine: Engine, clock: Clock, pools: Mapping[str, Pool] | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._pools = tuple(dict.fromkeys((pools or {}).values()))  # providers may share one
        # One thread and no more: several would keep the interpreter from the loop together.
        self._reader = ThreadPoolExecutor(1, "skep reader")
        self.registry: Registry = engine.registry
        self.folder: Path = engine.folder

    @property
    def durable(self) -> int:
        """Number of the last event that may be published."""
        return self._engine.ledger.durable

    @property
    def trouble(self) -> str | None:
        """What keeps the journal from being written, in words."""
        trouble = self._engine.ledger.trouble
        return str(trouble) if trouble is not None else None

    async def published(self, after: int) -> None:
        """Wait until an event after this number is durable."""
        await self._engine.ledger.published(after)

    async def records(self, after: int, limit: int) -> Sequence[Record]:
        """Durable events after this number: recent ones from memory, older ones from the disk."""
        ledger = self._engine.ledger
        recent = ledger.recent(after, limit)
        return recent if recent is not None else await self._read(partial(ledger.records, after, limit))

    async def tail(self, agent: str, first: int, limit: int) -> TailChunk:
        """Output of an agent: from its host while it runs, else from its log on the disk."""
        chunk = self._engine.tail_now(agent, first, limit)
        if chunk is None:
            chunk = await self._read(partial(self._engine.tail_logged, agent, first, limit))
        return chunk

    def close(self) -> None:
        """Nothing will be read any more; again is harmless."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    async def call(self, request: Request, who: Who) -> Reply:
        """Carry out a verb; returns once its events are durable."""
        engine = self._engine
        match request:
            case Pause():
                held = self._held()
                seq = await engine.pause(
                    request.scope, request.strength, request.reason, who.name, request.seconds
                )
                return Done(seq=seq, count=max(0, self._held() - held))
            case Unpause():
                held = self._held()
                seq = await engine.unpause(request.scope, request.strength, who.name)
                return Done(seq=seq, count=max(0, held - self._held()))
            case Stop():
                seq, agents = await engine.stop(
                    request.agent,
                    branch=request.branch,
                    verb=StopVerb(request.how),
                    who=who.name,
                    window=request.window,
                )
                return self._done(seq, agents)
            case TakeBack():
                return self._done(await engine.take_back(request.agent, who.name), [request.agent])
            case Hurry():
                seq, agents = await engine.hurry(
                    request.agent, branch=request.branch, kill=request.kill, who=who.name
                )
                return self._done(seq, agents)
            case Answer():
                seq = await engine.answer(request.agent, request.hash, allow=request.allow, who=who.name)
                return self._done(seq, [request.agent])
            case Resume():
                seq, new = await engine.resume(request.agent, request.message, who.name)
                return self._done(seq, [new])
            case Holds():
                with self.registry.read() as state:
                    return HoldsShown(holds=holds(state, self._in_flight))
            case Keys():
                views = [pool.snapshot().document() for pool in self._pools]
                return KeysShown(pools=[PoolShown.model_validate(view) for view in views])
            case Preview():
                return preview(self.registry, request, self._clock.time())
            case Uncommitted():
                with self.registry.read() as state:
                    folders = folders_of(state, request)
                return shown(await engine.uncommitted(list(folders)), folders)
            case _:
                raise BadInput(f"the engine knows no verb {type(request).__name__}")

    def _in_flight(self, account: str) -> int:
        """How many requests are in flight on the keys of an account, by the pool of its provider."""
        provider, _, name = account.partition("/")
        views = [pool.snapshot() for pool in self._pools if pool.provider == provider]
        return sum(key.in_flight for view in views for key in view.keys if key.account == name)

    async def _read(self, read: Callable[[], T]) -> T:
        """Do this beside the loop, which must not wait for it."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, read)

    def _held(self) -> int:
        with self.registry.read() as state:
            return state.line.parked

    def _done(self, seq: int, agents: list[str]) -> Done:
        """Groups only hold others: they are named, for rows to show it, and not counted."""
        with self.registry.read() as state:
            count = sum(state.agents[agent].driver is not DriverKind.GROUP for agent in agents)
        return Done(seq=seq, count=count, agents=agents[:NAMED])
