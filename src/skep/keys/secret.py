"""A key, and the one type that holds its bytes: they leave it through ``reveal()`` and in no other way."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, SupportsIndex, final

_HIDDEN = "‹secret›"
# Of this process alone: what is derived from a key can neither be looked up nor compared elsewhere.
_HASH_KEY = secrets.token_bytes(32)


@final
class Secret:
    """The bytes of one key, which no repr, format, pickle, JSON or copy shows."""

    __slots__ = ("_reveal",)

    def __init__(self, value: str) -> None:
        # A closure: whoever walks the attributes of an object finds a function here.
        self._reveal: Callable[[], str] = lambda: value

    def reveal(self) -> str:
        """The key itself; only what puts it into a request may ask for it."""
        return self._reveal()

    def fingerprint(self) -> str:
        """Eight hex digits that tell keys apart within this process, and say nothing about the key."""
        return self._digest().hex()[:8]

    def _digest(self) -> bytes:
        return hashlib.blake2b(self._bytes(), key=_HASH_KEY, digest_size=16).digest()

    def _bytes(self) -> bytes:
        return self._reveal().encode("utf-8", "surrogatepass")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._bytes(), other._bytes())

    def __hash__(self) -> int:
        return hash(self._digest())

    def __repr__(self) -> str:
        return _HIDDEN

    def __str__(self) -> str:
        return _HIDDEN

    def __format__(self, spec: str) -> str:
        return _HIDDEN  # a spec that does not fit a string must not raise with the secret half way out

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Secret:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a secret is not written anywhere")


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a provider, as it is shown and told apart."""

    label: str
    """What people see instead of it: ``sim-1``."""
    secret: Secret | None
    """None where the provider needs no key."""
    fingerprint: str = ""
    """See ``Secret.fingerprint``; empty without a secret."""

    @property
    def account(self) -> str:
        """The quota group that it belongs to; nobody has said which keys share one, so each stands for itself."""
        return self.label
