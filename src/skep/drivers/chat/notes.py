"""Notes to the model of an agent that runs, each with its receipt: queued, delivered at a turn, or missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skep.drivers.chat.transcript import Transcript
from skep.llm.messages import Message
from skep.model.events import MessageAdded
from skep.model.logs import Gutter

QUEUED = "steered, not delivered yet"
"""The receipt of a note that no request has carried yet."""


@dataclass(frozen=True, slots=True)
class _Note:
    text: str
    who: str

    @property
    def content(self) -> str:
        """What the model reads: it has to know that no user of its own is speaking."""
        return f"Note from the operator's side ({self.who}): {self.text}"


class Notes:
    """Keeps notes until the next turn; a note counts as delivered once a request with it in it is made."""

    def __init__(self, agent: str, transcript: Transcript, keep: Callable[[MessageAdded], None]) -> None:
        self._agent = agent
        self._transcript = transcript
        self._keep = keep
        self._waiting: list[_Note] = []
        self._taken: list[_Note] = []
        self._turn = 0
        self.count = 0
        """How many there were."""
        self.receipt = ""
        """What became of the newest note; empty before the first."""

    def add(self, text: str, who: str) -> None:
        """One more for the next turn."""
        self._waiting.append(_Note(text, who))
        self.count += 1
        self.receipt = QUEUED

    def take(self, turn: int) -> list[Message]:
        """What this turn has to carry."""
        taken, self._waiting = self._waiting, []
        self._taken += taken
        self._turn = turn
        return [Message("user", note.content) for note in taken]

    def sent(self) -> None:
        """A request of the turn is made; of several, the first one counts."""
        taken, self._taken = self._taken, []
        for note in taken:
            self._transcript.line(Gutter.NOTE, f"{note.who}: {note.text} (delivered at turn {self._turn})")
            self._keep(MessageAdded(self._agent, self._turn, note.content, note.who))
        if taken and not self._waiting:
            self.receipt = f"steered, delivered at turn {self._turn}"

    def close(self) -> None:
        """The conversation has ended: what is left was missed."""
        for note in [*self._taken, *self._waiting]:
            self._transcript.line(Gutter.NOTE, f"{note.who}: {note.text} (missed: there was no further turn)")
        self._taken, self._waiting = [], []
