"""What is wrong with an answer, found in the midst of it."""

from __future__ import annotations

from skep.model.events import Json


class StreamFault(Exception):
    """The stream is not, or does not carry, a complete answer."""

    def __init__(self, why: str, *, status: int | None = None, cut: bool = False) -> None:
        super().__init__(why)
        self.why = why
        """What is wrong with the stream ("it …"), or the provider's own words, raw."""
        self.status = status
        """The HTTP status that an error inside of the stream stands for, where it says so."""
        self.cut = cut
        """The stream merely ended too soon."""


def fault_in(document: Json) -> StreamFault:
    """The fault that an error inside of a stream stands for."""
    error = document.get("error", document) if isinstance(document, dict) else document
    return StreamFault(message_of(document) or "the provider reported an error", status=_status(error))


def message_of(document: Json) -> str:
    """What a provider's error says in words, raw; empty if it says nothing."""
    for _ in range(3):
        if isinstance(document, str):
            return document
        if not isinstance(document, dict):
            return ""
        document = document.get("error") or document.get("message") or document.get("detail")
    return ""


_KINDS = (
    ("rate_limit", 429),
    ("quota", 429),
    ("overloaded", 529),
    ("server_error", 500),
    ("unavailable", 503),
    ("timeout", 504),
    ("authentication", 401),
    ("invalid_api_key", 401),
    ("permission", 403),
    ("invalid_request", 400),
    ("context_length", 400),
    ("content_policy", 400),
    ("not_found", 404),
)


def _status(error: Json) -> int | None:
    if not isinstance(error, dict):
        return None
    for field in ("code", "status", "type"):
        value = error.get(field)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
        if isinstance(value, str):
            for word, status in _KINDS:
                if word in value.lower():
                    return status
    return None
