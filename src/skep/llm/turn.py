"""One turn of a model: requests until one gives a complete answer, on whichever key is fit for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

from skep.model.states import WaitReason

if TYPE_CHECKING:
    from skep.clock import Clock
    from skep.keys.pool import Pool
    from skep.llm.attempt import Cutoff
    from skep.llm.client import ModelClient
    from skep.llm.failure import AttemptFailed
    from skep.llm.messages import Delta, Message, ToolSpec, Turn
    from skep.providers import Provider


class Hears(Protocol):
    """Who is told how a turn gets on; called in the task of the turn, must not block."""

    def attempt(self, key: str) -> None:
        """A request begins on the key of this label; what was heard before it does not count."""

    def delta(self, delta: Delta) -> None:
        """A piece of the answer arrived."""

    def struck(self, failure: AttemptFailed, partial: str, key: str) -> None:
        """A request failed; its text does not count."""


class Seat(Protocol):
    """What an agent has in the swarm: a slot that it can give back while it waits."""

    def waiting(self, reason: WaitReason, detail: str) -> AbstractAsyncContextManager[None]:
        """Be seen waiting for ``detail``, with the slot given back, for as long as the context lasts."""


async def complete(
    client: ModelClient,
    pool: Pool,
    provider: Provider,
    model: str,
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    *,
    agent: str,
    branch: str,
    seat: Seat,
    hears: Hears,
    clock: Clock,
    cutoff: Cutoff | None = None,
) -> Turn:
    """The model's answer to ``messages``.

    Raises AttemptFailed once no further attempt is worth it, and Aborted if ``cutoff`` ended it.
    """
    raise AssertionError
