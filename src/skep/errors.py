"""One family of errors: each knows what went wrong, where, why, and the mend."""

from __future__ import annotations


class SkepError(Exception):
    """Base of every error that skep shows to a person.

    The CLI prints it as one message and exits with ``exit_code``; the control socket carries its four parts.
    """

    exit_code = 2

    def __init__(
        self, what: str, *, where: str | None = None, why: str | None = None, mend: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.mend = mend

    def __str__(self) -> str:
        """All parts on one line, for logs and tracebacks: ``where: what: why (mend)``."""
        line = f"{self.where}: {self.what}" if self.where else self.what
        if self.why:
            line += f": {self.why}"
        return f"{line} ({self.mend})" if self.mend else line


class BadInput(SkepError):
    """A value from a person, a file or a peer that cannot be used as it stands."""


class NotFound(SkepError):
    """An address (swarm, agent, file, program) that names nothing."""


class Ambiguous(SkepError):
    """An address that names more than one thing."""


class Refused(SkepError):
    """A request that is well formed but may not be carried out now (read-only client, ended swarm, tombstone)."""


class OtherProtocol(Refused):
    """Client and engine are of versions of skep that do not understand each other."""


class Unreachable(SkepError):
    """No engine answers where one was expected, or the link to it broke."""


class Damaged(SkepError):
    """Durable data (journal, head mark, checkpoint) that does not prove itself; never accepted in silence."""


class NoSpace(SkepError):
    """The disk took no more; what was acknowledged is safe, what was not waits."""


class IllegalTransition(SkepError):
    """A step that the state of an agent does not allow; raised in tests, else refused and logged."""
