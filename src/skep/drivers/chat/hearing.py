"""What is heard of a turn while it comes in: shown as it streams, kept until it is complete or struck."""

from __future__ import annotations

from collections.abc import Callable

from skep.drivers.chat.transcript import Transcript
from skep.llm.failure import AttemptFailed
from skep.llm.messages import Delta, DeltaKind, Usage
from skep.model.logs import Gutter

KEPT_CHARACTERS = 64 * 1024
"""So much of what was struck is kept in the journal."""

ASKING = "asks the model"
"""What an agent does before the first token."""

_DOING = {DeltaKind.TEXT: "writing", DeltaKind.THINKING: "thinking"}
_GUTTERS = {DeltaKind.TEXT: Gutter.TEXT, DeltaKind.THINKING: Gutter.THINKING}

Struck = Callable[[str, str, str, str, Usage | None], None]
"""Told of a model call that does not count: key, class of the failure, error, text, and what it used.

None: nobody told what it used, and it may have used something.
"""


class Hearing:
    """Follows the model calls of one agent (see :class:`skep.llm.turn.Hears`)."""

    def __init__(
        self, transcript: Transcript, moved: Callable[[], None], asked: Callable[[str], None], struck: Struck
    ) -> None:
        """``moved`` is called for each piece of an answer, ``asked`` with the key for each request."""
        self._transcript = transcript
        self._moved = moved
        self._asked = asked
        self._strike = struck
        self._text: list[str] = []
        self._open = False
        self.activity = ""
        """What the agent does just now as far as its model tells."""
        self.key = ""
        """Label of the key of the newest attempt."""
        self.attempts = 0
        """How many of the present turn there were."""

    @property
    def partial(self) -> str:
        """The text of the turn that has come in so far."""
        return "".join(self._text)

    def begin(self) -> None:
        """A turn begins."""
        self._text.clear()
        self.attempts = 0
        self.activity = ASKING

    def complete(self) -> None:
        """It is complete: what was heard counts."""
        self._text.clear()
        self._open = False
        self.activity = ""

    def cut(self, why: str) -> None:
        """It was cut from this side: what was heard does not count."""
        if self._open:
            self._transcript.line(Gutter.FAULT, f"{why}; what stands above is struck" if self._text else why)
            self._strike(self.key, "interrupted", why, self.partial[:KEPT_CHARACTERS], None)
            self._text.clear()
            self._open = False
        self.activity = ""

    def attempt(self, key: str) -> None:
        """A request begins on this key."""
        self.attempts += 1
        self.key = key
        self.activity = ASKING
        self._text.clear()
        self._open = True
        self._asked(key)

    def delta(self, delta: Delta) -> None:
        """A piece of the answer: progress, whatever it is."""
        self._moved()
        if delta.kind is DeltaKind.ARGUMENTS:
            return
        if delta.kind is DeltaKind.CALL:
            self.activity = f"calls {delta.text[:40]}"
            return
        if delta.kind is DeltaKind.TEXT:
            self._text.append(delta.text)
        self.activity = _DOING[delta.kind]
        self._transcript.stream(_GUTTERS[delta.kind], delta.text)

    def struck(self, failure: AttemptFailed, partial: str, key: str) -> None:
        """A request failed; a retry is no progress."""
        heard = bool(self._text)
        error = str(failure)
        self._transcript.line(Gutter.FAULT, f"{error}; what stands above is struck" if heard else error)
        told = failure.usage if failure.usage != Usage(0, 0) or not failure.reached else None
        self._strike(key, failure.outcome.kind.value, error, partial[:KEPT_CHARACTERS], told)
        self._text.clear()
        self._open = False
        self.activity = "tries again"
