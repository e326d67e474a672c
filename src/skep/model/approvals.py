"""A question whether an agent may do one dangerous thing, and the answer, bound to exactly that thing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from skep.model.events import Json


class Commands(StrEnum):
    """What becomes of the commands that an agent wants to run."""

    DENY = "deny"
    ASK = "ask"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class Question:
    """May this be done? Made by :meth:`about`; ``detail`` is raw, ``headline`` is cleaned for people."""

    tool: str
    headline: str
    detail: dict[str, Json]
    """All that the answer covers: the agent, and for a command its text, folder and timeout."""
    hash: str
    """Of the tool and the detail; an answer counts for a question of the same hash, once."""

    @classmethod
    def about(cls, tool: str, headline: str, detail: dict[str, Json]) -> Self:
        """The question with its hash."""
        return cls(tool, headline, detail, fingerprint(tool, detail))

    @property
    def is_whole(self) -> bool:
        """Whether the hash still belongs to the rest: false once anything was changed on the way."""
        return self.hash == fingerprint(self.tool, self.detail)


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided, by whom (``operator``, ``policy``, ``timeout``) and why, in words."""

    allow: bool
    who: str
    why: str = ""


def fingerprint(tool: str, detail: dict[str, Json]) -> str:
    """SHA-256 over the canonical JSON of a tool and what it wants to do."""
    body = json.dumps([tool, detail], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(body.encode()).hexdigest()
