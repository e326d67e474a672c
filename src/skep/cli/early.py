"""Ctrl-C while a swarm is being started: kept until there is somebody who can act on it."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self

CAUGHT = (signal.SIGINT, signal.SIGTERM)
"""The signals with which a person or a script ends a run."""


class Early:
    """Notes these signals while it is entered; half a start is the one thing that nobody asked for."""

    def __init__(self) -> None:
        self.noted: list[int] = []
        """The signals that came, oldest first."""
        self._before = {number: signal.getsignal(number) for number in CAUGHT}

    def __enter__(self) -> Self:
        for number in CAUGHT:
            signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noted.append(number)
