"""A simulator that keeps a log of what it was asked and how that ended; in this process or in one of its own."""

from __future__ import annotations

import contextvars
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from skep.simulator.chat import Chat
from skep.simulator.exchange import Exchange
from skep.simulator.ledger import Ledger, Outcome
from skep.simulator.main import main
from skep.simulator.openai import Usage
from skep.simulator.scenario import Scenario
from skep.simulator.server import Simulator

MARK = "[[sim]]"


@dataclass
class Asked:
    """One request for a completion; ``outcome`` is empty while it is answered."""

    messages: list[dict[str, Any]]
    outcome: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    """Both of the usage that was handed out."""
    cached: int = 0

    @property
    def goal(self) -> str:
        """What stands before the script in the first message of the user."""
        first = next(message["content"] for message in self.messages if message["role"] == "user")
        return str(first).partition(MARK)[0].strip()

    @property
    def turn(self) -> int:
        """The number of the turn that is asked for, in its whole conversation, from 1."""
        return 1 + sum(message["role"] == "assistant" for message in self.messages)

    def said(self) -> list[tuple[str, str]]:
        """Role and text of every message but those of the system."""
        return [(one["role"], one.get("content") or "") for one in self.messages if one["role"] != "system"]


_asked: contextvars.ContextVar[Asked] = contextvars.ContextVar("asked")


class _Accounts(Ledger):
    """Tells the log how the request of this task has ended."""

    def ended(self, label: str, outcome: Outcome, usage: Usage | None = None) -> None:
        asked = _asked.get()
        asked.outcome = outcome.value
        if usage is not None:
            asked.tokens_in, asked.tokens_out, asked.cached = usage.tokens_in, usage.tokens_out, usage.cached
        super().ended(label, outcome, usage)


class Logged(Simulator):
    """As the simulator, and ``log`` holds every request in the order in which they came."""

    def __init__(self, scenario: Scenario | None = None, *, port: int = 0) -> None:
        super().__init__(scenario, port=port)
        self.log: list[Asked] = []
        self.ledger = _Accounts()
        self._chat = Chat(self.scenario, self.ledger)

    def of(self, goal: str) -> list[Asked]:
        """The requests of conversations with this goal."""
        return [asked for asked in self.log if asked.goal == goal]

    async def _route(self, exchange: Exchange) -> None:
        if exchange.path == "/simulator/log":
            await exchange.respond_json(200, [asdict(asked) for asked in self.log])
            return
        if exchange.body:
            asked = Asked(json.loads(exchange.body)["messages"])
            self.log.append(asked)
            _asked.set(asked)
        await super()._route(exchange)


if __name__ == "__main__":
    sys.exit(main(kind=Logged))
