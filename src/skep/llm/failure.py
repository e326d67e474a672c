"""A request that gave no complete turn: why, who is to blame, and whether another one may do better."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from http import HTTPStatus

import httpx

from skep.errors import SkepError
from skep.keys import Outcome, OutcomeKind, retry_after
from skep.llm.faults import StreamFault
from skep.llm.messages import Usage

_RETRYABLE_4XX = frozenset({401, 408, 409, 425, 429})
_NOT_RETRYABLE_5XX = frozenset({501, 505})


class Aborted(SkepError):
    """A request, or a whole turn, that was ended from this side; its connection is closed."""

    def __init__(self) -> None:
        super().__init__("the request was aborted")


class AttemptFailed(SkepError):
    """One request failed: no text of it counts."""

    def __init__(
        self,
        what: str,
        *,
        outcome: Outcome,
        retryable: bool,
        reached: bool,
        why: str | None = None,
        mend: str | None = None,
        status: int | None = None,
        wait: float = 0.0,
    ) -> None:
        super().__init__(what, why=why, mend=mend)
        self.outcome = outcome
        """How it goes into the books of its key."""
        self.retryable = retryable
        """Whether the same request may do better, at another time or with another key."""
        self.reached = reached
        """Whether a model may have worked on it."""
        self.status = status
        """The HTTP status, where there was one."""
        self.wait = wait
        """Seconds that the server wants to be left alone; 0 if it did not say."""
        self.partial = ""
        """The text that came before it failed."""
        self.usage = Usage(0, 0)
        """What the provider said it used nevertheless."""

    @property
    def counts(self) -> bool:
        """Whether it is one of the few attempts of a turn: being turned away for the key's sake is not."""
        return self.outcome.kind not in (OutcomeKind.RATE_LIMITED, OutcomeKind.UNAUTHORIZED)


def of_status(status: int, headers: Mapping[str, str], message: str, now: float) -> AttemptFailed:
    """The failure that an HTTP status stands for: ``message`` as the provider has it, ``now`` in epoch seconds."""
    wait = retry_after(headers, now)
    return AttemptFailed(
        f"the provider answered {status}{_phrase(status)}",
        why=message or None,
        mend=_mend(status),
        outcome=_blamed(status, wait),
        retryable=status in _RETRYABLE_4XX or (status >= 500 and status not in _NOT_RETRYABLE_5XX),
        reached=status >= 500,
        status=status,
        wait=wait or 0.0,
    )


def of_stream(fault: StreamFault, message: str) -> AttemptFailed:
    """The failure of an answer that began well; ``message`` is what is wrong with it, fit to be shown."""
    if fault.status is None:
        outcome = Outcome.CONNECTION if fault.cut else Outcome.SERVER
        what = "the answer broke off" if fault.cut else "the answer cannot be used"
        return AttemptFailed(what, why=message, outcome=outcome, retryable=True, reached=True, status=200)
    failure = of_status(fault.status, {}, message, 0.0)
    failure.what = f"the provider reported an error in its answer ({fault.status}{_phrase(fault.status)})"
    failure.reached = True
    return failure


def of_link(error: httpx.HTTPError, *, sent: bool, begun: bool) -> AttemptFailed:
    """The failure of a connection; ``sent``: once it stood, ``begun``: once its answer had begun.

    Of the error only what comes from the system is told: libraries quote headers in theirs.
    """
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return AttemptFailed(
            "the request cannot be sent",
            why="a header or the address of it is malformed",
            mend="look at the provider's base_url and key",
            outcome=Outcome.REFUSED,
            retryable=False,
            reached=False,
        )
    certificate = _cause(error, ssl.SSLCertVerificationError)
    if certificate is not None:
        return AttemptFailed(
            "the provider's certificate cannot be trusted",
            why=getattr(certificate, "verify_message", None),
            mend="look at the provider's base_url; SSL_CERT_FILE names further authorities",
            outcome=Outcome.CONNECTION,
            retryable=False,
            reached=False,
        )
    cause = _cause(error, OSError)
    if not sent:
        what, why = "no connection to the provider", "the address does not answer"
    elif begun:
        what, why = "the answer broke off", "the connection was closed"
    else:
        what, why = "no answer from the provider", "it closed the connection"
    if cause is not None:
        why = _system_error(cause) or why
    return AttemptFailed(what, why=why, outcome=Outcome.CONNECTION, retryable=True, reached=sent)


def of_clock(why: str, *, sent: bool) -> AttemptFailed:
    """The failure of a request that took too long."""
    return AttemptFailed(
        "the request timed out", why=why, outcome=Outcome.CONNECTION, retryable=True, reached=sent
    )


def _blamed(status: int, wait: float | None) -> Outcome:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Outcome.rate_limited(wait)
    if status == HTTPStatus.UNAUTHORIZED:
        return Outcome.UNAUTHORIZED
    if 300 <= status < 500 and status not in _RETRYABLE_4XX:
        return Outcome.REFUSED
    return Outcome.SERVER


def _mend(status: int) -> str | None:
    if status == HTTPStatus.UNAUTHORIZED:
        return "look at the key: the provider does not take it"
    if status == HTTPStatus.NOT_FOUND:
        return "look at the name of the model and at the provider's base_url"
    if 300 <= status < 400:
        return "the provider's base_url must be the address itself: redirects are not followed"
    return None


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return " Overloaded" if status == 529 else ""


def _system_error(error: OSError) -> str | None:
    if isinstance(error, ssl.SSLError | socket.gaierror) or error.errno is None:
        return error.strerror
    return os.strerror(error.errno)  # asyncio puts words of its own, with the address, in place of these


def _cause(error: BaseException, kind: type[OSError]) -> OSError | None:
    """The first error of that kind in the chain of causes."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None or isinstance(seen, kind):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None
