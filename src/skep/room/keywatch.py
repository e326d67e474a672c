"""Asks how the keys stand, once a second, and only while somebody looks at them and an engine answers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import replace

from skep.clock import Clock
from skep.control.link import Link
from skep.control.verbs import Keys, KeysShown
from skep.errors import SkepError
from skep.model.registry import Registry
from skep.room.board import Board, board_of, in_order_of
from skep.text import clean_line

EVERY = 1.0
"""Seconds between two questions."""
ORDER_EVERY = 5.0
"""Seconds for which rows keep their places while no key changes its state."""


class KeyWatch:
    """The newest board; one question is on its way at a time."""

    def __init__(
        self,
        link: Link,
        clock: Clock,
        run: Callable[[Coroutine[None, None, None]], None],
        told: Callable[[], None],
    ) -> None:
        self._link = link
        self._clock = clock
        self._run = run
        self._told = told
        self._asked_at = float("-inf")
        self._ordered_at = float("-inf")
        self._busy = False
        self.board = Board(trouble="no engine has told yet")

    def tick(self, *, visible: bool) -> None:
        """Ask again, if it is time and worth it."""
        state = self._link.state
        if not visible or self._busy:
            return
        if not state.live or state.gone:
            self.board = Board(trouble="keys are known only while the engine runs")
            return
        now = self._clock.monotonic()
        if state.connected and not state.silent and now - self._asked_at >= EVERY:
            self._asked_at, self._busy = now, True
            self._run(self._ask())

    async def _ask(self) -> None:
        try:
            reply = await self._link.call(Keys())
        except SkepError as error:
            self.board = replace(self.board, trouble=clean_line(error.what, limit=100))
        else:
            if isinstance(reply, KeysShown):
                self._take(board_of(reply, lambda branch: _name(self._link.registry, branch)))
        finally:
            self._busy = False
        self._told()

    def _take(self, board: Board) -> None:
        now = self._clock.monotonic()
        if board.order == self.board.order and now - self._ordered_at < ORDER_EVERY:
            board = replace(board, rows=in_order_of(board, (row.label for row in self.board.rows)))
        else:
            self._ordered_at = now
        self.board = board


def _name(registry: Registry, branch: str) -> str:
    with registry.read() as state:
        agent = state.agents.get(branch)
        return agent.name if agent is not None else branch
