"""Clients that no engine should suffer from: so many of each kind, each back at once when it is cut off."""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import TypeAlias

from skep.control.wire import MAX_FRAME, PROTOCOL

FLOODED = "a1"
"""The agent that writes as fast as it can."""

_CHUNK = 256 * 1024
_PAUSE = 0.02
"""Seconds between the end of one of them and its next beginning."""


class Peer:
    """A raw connection that counts what it does."""

    def __init__(self, end: socket.socket, counts: Counter[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self.end = end
        self._counts = counts
        self._held = b""
        self._number = 0

    async def say(self, data: bytes) -> None:
        """Send these bytes."""
        await self._loop.sock_sendall(self.end, data)

    async def call(self, method: str, params: dict[str, object]) -> None:
        """Ask; the answer is not waited for."""
        self._number += 1
        self._counts["calls"] += 1
        await self.say(frame(method, params, self._number))

    async def take(self, most: int = _CHUNK) -> bytes:
        """What comes. Raises ConnectionError once the engine has hung up."""
        data = await self._loop.sock_recv(self.end, most)
        if not data:
            raise ConnectionResetError
        self._counts["bytes"] += len(data)
        return data

    async def answer(self) -> None:
        """Read to the next answer."""
        mark = b'{"jsonrpc":"2.0","id":%d,' % self._number
        while (at := self._held.find(mark)) < 0 or b"\n" not in self._held[at:]:
            self._held = self._held[max(0, at if at >= 0 else len(self._held) - len(mark)) :] + await self.take()
        self._held = self._held[at:].partition(b"\n")[2]
        self._counts["answers"] += 1

    async def hello(self, *, attach: bool = True) -> None:
        """Come in as a client does."""
        await self.call("hello", {"protocol": PROTOCOL, "client": "crowd", "read_only": True})
        await self.answer()
        if attach:
            await self.call("attach", {"after_seq": 0})


def frame(method: str, params: dict[str, object], number: int) -> bytes:
    """A call as it goes over the socket."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


Behaviour: TypeAlias = Callable[[Peer], Awaitable[None]]


async def half_open(peer: Peer) -> None:
    """Connects and says nothing."""
    await peer.take()


async def deaf(peer: Peer) -> None:
    """Attaches, follows the flood, and reads nothing."""
    await peer.hello()
    await peer.call("follow", {"agent": FLOODED})
    while True:
        await asyncio.sleep(1)
        await peer.say(frame("follow", {"agent": FLOODED}, 99))


async def trickling(peer: Peer) -> None:
    """The same, but it reads one byte a second."""
    await peer.hello()
    await peer.call("follow", {"agent": FLOODED})
    while True:
        await peer.take(1)
        await asyncio.sleep(1)


async def torn(peer: Peer) -> None:
    """Dies in the middle of a frame."""
    await peer.hello()
    await peer.say(frame("call", {"request": {"verb": "pause"}}, 7)[:-9])


async def garbage(peer: Peer) -> None:
    """Sends what is no frame, as much of it as is taken."""
    await peer.hello(attach=False)
    while True:
        await peer.say(b"\x00\xff{]" * 16_384)


async def brackets(peer: Peer) -> None:
    """Sends frames that are right and costly to read, one after another."""
    await peer.hello(attach=False)
    around = len(frame("tail", {"agent": []}, 7))
    costly = frame("tail", {"agent": [[]] * ((MAX_FRAME - around - 16) // 4)}, 7)
    while True:
        await peer.say(costly)


async def unread(peer: Peer) -> None:
    """Asks one thing after another and reads no answer."""
    await peer.hello(attach=False)
    while True:
        await peer.call("tail", {"agent": FLOODED, "first": -2_000, "limit": 2_000})


async def greedy(peer: Peer) -> None:
    """Asks eight costly things at a time and reads all answers, without a pause."""
    await peer.hello(attach=False)
    reading = asyncio.create_task(_read(peer))
    try:
        while not reading.done():
            await peer.call("tree", {})
            await peer.call("events", {"after": 0, "limit": 5_000})
            await peer.call("tail", {"agent": FLOODED, "first": -2_000, "limit": 2_000})
            await peer.call("call", {"request": {"verb": "preview", "agent": "root", "branch": True}})
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def following(peer: Peer) -> None:
    """Attaches, follows the flood, and reads all of it."""
    await peer.hello()
    await peer.call("follow", {"agent": FLOODED})
    await _read(peer)


async def _read(peer: Peer) -> None:
    while True:
        await peer.take()


KINDS: dict[str, Behaviour] = {
    "half-open": half_open,
    "deaf": deaf,
    "trickling": trickling,
    "torn": torn,
    "garbage": garbage,
    "brackets": brackets,
    "unread": unread,
    "greedy": greedy,
    "following": following,
}


async def _be(path: Path, behave: Behaviour, counts: Counter[str]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as end:
            end.setblocking(False)
            try:
                await loop.sock_connect(end, str(path))
                counts["connections"] += 1
                await behave(Peer(end, counts))
            except OSError:
                counts["cut"] += 1
        await asyncio.sleep(_PAUSE)


async def _crowd(path: Path, kinds: dict[str, int]) -> None:
    counts = {kind: Counter[str]() for kind in kinds}
    tasks = [
        asyncio.create_task(_be(path, KINDS[kind], counts[kind]))
        for kind, count in kinds.items()
        for _ in range(count)
    ]
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(counts), flush=True)
        for task in tasks:
            if task.done():
                await task
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    """Be them until standard input ends; each line of it asks for the counts so far."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket", type=Path)
    parser.add_argument("kinds", nargs="+", metavar="KIND:COUNT")
    asked = parser.parse_args()
    kinds = {kind: int(count) for kind, _, count in (text.partition(":") for text in asked.kinds)}
    asyncio.run(_crowd(asked.socket, kinds))


if __name__ == "__main__":
    main()
