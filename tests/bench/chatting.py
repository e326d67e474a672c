"""One process that talks to a simulator, measured from inside: an engine of chat agents, or bare httpx.

``python -m tests.bench.chatting (skep|bare) (work|hang) COUNT BASE_URL``; prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import httpx

from skep.clock import SystemClock
from skep.drivers.chat import Models
from skep.engine.engine import Engine
from skep.engine.ledger import Ledger
from skep.hosts.local import LocalHost
from skep.keys import Key, Pool, Secret
from skep.llm.client import ModelClient
from skep.model.events import ROOT
from skep.model.launch import AgentAsk, ChatSpec, EngineSettings, Launch
from skep.model.permits import Permits
from skep.model.states import DriverKind, StopVerb
from skep.providers import Provider
from skep.warden.client import Warden

TURNS = 4
"""Model calls of an agent that works: three that ask for a tool, and the answer."""
TOOL = {"call": "list_files", "args": {}}
WORDS = "a short line of words from the model " * 3
WORK = [*({"say": WORDS, **TOOL} for _ in range(TURNS - 1)), {"say": WORDS}]
SILENT = [{"say": WORDS, "silent": 40}]
TRICKLING = [{"say": WORDS * 20, "trickle": 0.2}]


async def skep(kind: str, count: int, base_url: str) -> dict[str, float]:
    """A swarm of so many agents at once, with its journal; for ``hang`` it is stopped when all of them stream."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="skep-") as scratch, tempfile.TemporaryDirectory() as workspace:
        folder = Path(scratch)
        provider = Provider(base_url=base_url, label="sim")
        pool = Pool("simulator", base_url, [Key("sim-1", Secret("k" * 20), "k")], clock)
        client = ModelClient(user_agent=lambda agent: "skep/bench", clock=clock)
        await client.warm_up()
        models = Models(client, {"simulator": provider}, {"simulator": pool})
        settings = EngineSettings(providers={"simulator": provider}, grace=5)

        async def no_warden() -> Warden:
            raise AssertionError("no program is run here")

        def make_host(tasks: asyncio.TaskGroup, permits: Permits) -> LocalHost:
            return LocalHost(tasks, permits, clock, settings, no_warden, models=models)

        ledger = Ledger(folder, clock)
        engine = Engine(ledger, clock, settings, make_host)
        goals = [_goal(kind, number) for number in range(count)]
        asks = [
            AgentAsk(
                id=f"a{n}",
                name=f"a{n}",
                driver=DriverKind.CHAT,
                goal=goal,
                chat=ChatSpec(model="simulator/any", cwd=str(workspace), tools=("list_files",)),
            )
            for n, goal in enumerate(goals)
        ]
        launch = Launch(
            swarm="bench", name="bench", cwd=scratch, max_running=count, agents=tuple(asks), settings=settings
        )
        told: dict[str, float] = {}
        begun, cpu = time.time(), time.process_time()
        running = asyncio.create_task(engine.run())
        await engine.launch(launch)
        if kind == "hang":
            await _all_stream(base_url, count)
            told |= {"private": _private(), "stopped_at": time.time()}
            await engine.stop(ROOT, branch=True, verb=StopVerb.INTERRUPT, who="bench")
        await running
        told |= {"begun_at": begun, "wall": time.time() - begun, "cpu": time.process_time() - cpu}
        await client.aclose()
        ledger.close()
    return told


async def bare(kind: str, count: int, base_url: str) -> dict[str, float]:
    """The same requests with nothing but httpx; what comes back is split into lines and parsed."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    tools = [{"type": "function", "function": {"name": "list_files", "parameters": {"type": "object"}}}]
    told: dict[str, float] = {}
    async with httpx.AsyncClient(limits=limits, timeout=None) as client:
        begun, cpu = time.time(), time.process_time()
        working = [
            asyncio.create_task(_converse(client, base_url, _goal(kind, number), tools)) for number in range(count)
        ]
        if kind == "hang":
            await _all_stream(base_url, count)
            told |= {"private": _private(), "stopped_at": time.time()}
            for task in working:
                task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        told |= {"begun_at": begun, "wall": time.time() - begun, "cpu": time.process_time() - cpu}
    return told


async def _converse(client: httpx.AsyncClient, base_url: str, goal: str, tools: list[object]) -> None:
    system = "You are an agent. " * 30
    messages: list[dict[str, object]] = [
        {"role": "system", "content": system},
        {"role": "user", "content": goal},
    ]
    while True:
        text, calls = "", {}
        body = {"model": "any", "messages": messages, "tools": tools, "stream": True}
        body["stream_options"] = {"include_usage": True}
        headers = {"Authorization": "Bearer " + "k" * 20}
        async with client.stream("POST", f"{base_url}/chat/completions", json=body, headers=headers) as response:
            async for line in response.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                for choice in json.loads(line[6:]).get("choices", ()):
                    delta = choice["delta"]
                    text += delta.get("content") or ""
                    for call in delta.get("tool_calls") or ():
                        calls.setdefault(call["index"], call)
        if not calls:
            return
        made = [
            {"id": c["id"], "type": "function", "function": {"name": "list_files", "arguments": "{}"}}
            for c in calls.values()
        ]
        messages.append({"role": "assistant", "content": text, "tool_calls": made})
        messages.extend({"role": "tool", "tool_call_id": c["id"], "content": "."} for c in calls.values())


def _goal(kind: str, number: int) -> str:
    hangs = TRICKLING if number % 2 else SILENT
    return f"goal {number}\n[[sim]]\n{json.dumps(WORK if kind == 'work' else hangs)}"


async def _all_stream(base_url: str, count: int) -> None:
    """Until the simulator answers them all at once, and a moment longer, for its first words to arrive."""
    async with httpx.AsyncClient() as client:
        while True:
            document = (await client.get(base_url.removesuffix("/v1") + "/simulator/ledger")).json()
            if document["open"] >= count:
                break
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)


def _private() -> float:
    rollup = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Private_"))


def main() -> None:
    """Run one of them."""
    who, kind, count, base_url = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ["SKEP_STATE_DIR"] = tempfile.gettempdir()
    print(json.dumps(asyncio.run((skep if who == "skep" else bare)(kind, int(count), base_url))))


if __name__ == "__main__":
    main()
