"""Which key a request came with: from its Authorization header to a label and the door of that key."""

from __future__ import annotations

import hashlib
import secrets

from skep.simulator.limits import Gate
from skep.simulator.refusals import Refusal
from skep.simulator.scenario import Scenario

WITHOUT = "no-key"
"""The label of requests without a key, where none is needed."""
_MOST_UNLISTED = 10_000


class KeyRing:
    """The keys of a scenario. It keeps keyed hashes of them; what goes out of here is a label."""

    def __init__(self, scenario: Scenario) -> None:
        self._salt = secrets.token_bytes(32)
        self._listed = bool(scenario.keys)
        self._limits = scenario.limits
        self._speed = scenario.speed
        self._labels: dict[bytes, str] = {}
        self._gates: dict[str, Gate] = {}
        for number, key in enumerate(scenario.keys, 1):
            label = f"key-{number}"
            self._labels[self._digest(key.secret)] = label
            self._gates[label] = Gate(key.limits, scenario.speed)

    @property
    def labels(self) -> tuple[str, ...]:
        """All keys so far, in their order."""
        return tuple(self._gates)

    def label(self, authorization: str | None) -> str:
        """Return the label of the key in an Authorization header.

        Raises: Refusal (401) if it is none of those that are accepted; the key itself is not in it.
        """
        scheme, _, key = (authorization or "").partition(" ")
        key = key.strip() if scheme.lower() == "bearer" else ""
        if not key:
            if self._listed:
                raise Refusal(401, "no API key: send it as `Authorization: Bearer …`", code="invalid_api_key")
            return WITHOUT
        digest = self._digest(key)
        label = self._labels.get(digest)
        if label is None:
            if self._listed or len(self._labels) >= _MOST_UNLISTED:
                raise Refusal(401, "this API key is not known", code="invalid_api_key")
            label = self._labels[digest] = f"key-{len(self._labels) + 1}"
        return label

    def gate(self, label: str) -> Gate:
        """Return the door of a key."""
        gate = self._gates.get(label)
        if gate is None:
            gate = self._gates[label] = Gate(self._limits, self._speed)
        return gate

    def _digest(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), key=self._salt, digest_size=16).digest()
