"""A plain client for the tests: it sends a request and takes the answer apart, and hides nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from skep.simulator import Simulator

TOOL = {
    "type": "function",
    "function": {
        "name": "read_file",
        "description": "Read a file.",
        "parameters": {
            "type": "object",
            "properties": {"path": {"type": "string", "description": "of the file"}},
            "required": ["path"],
        },
    },
}


def scripted_goal(*steps: dict[str, Any], words: str = "do it") -> str:
    return f"{words}\n[[sim]]\n{json.dumps(steps)}"


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def called(*identities: str, name: str = "read_file") -> dict[str, Any]:
    calls = [
        {"id": each, "type": "function", "function": {"name": name, "arguments": "{}"}} for each in identities
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(identity: str, content: str = "content") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": identity, "content": content}


@dataclass
class Answer:
    """An answer as far as it came."""

    status: int
    headers: httpx.Headers
    events: list[Any] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    body: Any = None
    broken: httpx.TransportError | None = None

    @property
    def done(self) -> bool:
        return "data: [DONE]" in self.lines

    @property
    def text(self) -> str:
        return "".join(each.get("content") or "" for each in self._deltas())

    @property
    def thinking(self) -> str:
        return "".join(each.get("reasoning_content") or "" for each in self._deltas())

    @property
    def calls(self) -> list[tuple[str, str]]:
        calls: dict[int, list[str]] = {}
        for delta in self._deltas():
            for part in delta.get("tool_calls", ()):
                call = calls.setdefault(part["index"], ["", ""])
                call[0] += part["function"].get("name", "")
                call[1] += part["function"]["arguments"]
        return [(name, arguments) for _, (name, arguments) in sorted(calls.items())]

    @property
    def finish(self) -> list[str]:
        reasons = [choice["finish_reason"] for event in self.events for choice in event.get("choices", ())]
        return [reason for reason in reasons if reason]

    @property
    def usage(self) -> Any:
        found = [event["usage"] for event in self.events if event.get("usage")]
        return found[-1] if found else None

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.body["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error

    def _deltas(self) -> list[Any]:
        return [choice["delta"] for event in self.events for choice in event.get("choices", ())]


class Asker:
    """Asks one simulator."""

    def __init__(self, simulator: Simulator, client: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.client = client

    def request(
        self, asked: str | Sequence[Any], *, key: str | None = None, stream: bool = True, **more: Any
    ) -> httpx.Request:
        messages = [user(asked)] if isinstance(asked, str) else list(asked)
        document: dict[str, Any] = {"model": "sim", "messages": messages, "stream": stream}
        if stream:
            document["stream_options"] = {"include_usage": True}
        document = {name: value for name, value in (document | more).items() if value is not None}
        headers = {"authorization": f"Bearer {key}"} if key else {}
        url = f"{self.simulator.base_url}/chat/completions"
        return self.client.build_request("POST", url, content=json.dumps(document), headers=headers)

    async def ask(
        self, asked: str | Sequence[Any], *, key: str | None = None, stream: bool = True, **more: Any
    ) -> Answer:
        response = await self.client.send(self.request(asked, key=key, stream=stream, **more), stream=True)
        answer = Answer(response.status_code, response.headers)
        raw = b""
        try:
            async for part in response.aiter_bytes():
                raw += part
        except httpx.TransportError as error:
            answer.broken = error
        finally:
            await response.aclose()
        if response.headers.get("content-type") == "text/event-stream":
            self._take_apart(answer, raw.decode())
        elif raw and answer.broken is None:
            answer.body = json.loads(raw)
        return answer

    @staticmethod
    def _take_apart(answer: Answer, raw: str) -> None:
        answer.lines = [line for line in raw.split("\n") if line]
        for line in answer.lines:
            if line.startswith("data: {") and line.endswith("}"):
                answer.events.append(json.loads(line.removeprefix("data: ")))
