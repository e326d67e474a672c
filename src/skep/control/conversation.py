"""One connection as a client sees it: questions that are answered, and news that are handed on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from skep.control import wire
from skep.control.channel import Channel
from skep.control.wire import Answer, Call
from skep.errors import SkepError, Unreachable
from skep.model.events import Json

_HELLO: Final = 0


class Unanswered(Unreachable):
    """The link broke between a question and its answer: whether it was carried out is not known."""


class Conversation:
    """Asks an engine over a channel. :meth:`listen` must run for :meth:`ask` to be answered."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._number = _HELLO
        self._open: dict[int, asyncio.Future[Json]] = {}
        self._over: SkepError | None = None

    async def shake_hands(self, hello: dict[str, Json]) -> Json:
        """Say hello and return the answer; before anything else. Raises what the engine answers."""
        # An engine that is full says so and hangs up at once: its word may still be there to be read.
        with suppress(Unreachable):
            await self._channel.write(wire.call_frame("hello", hello, _HELLO))
        while True:
            message = wire.read_frame(await self._channel.read())
            if isinstance(message, Answer):
                if message.error is not None:
                    raise message.error
                return message.result

    async def ask(self, method: str, params: dict[str, Json]) -> Json:
        """Call and wait for the answer.

        Raises the engine's error, Unreachable if the link is broken, Unanswered if it breaks meanwhile.
        """
        if self._over is not None:
            raise self._over
        self._number += 1
        number = self._number
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._open[number] = answer
        try:
            await self._channel.write(wire.call_frame(method, params, number))
            return await answer
        finally:
            self._open.pop(number, None)

    async def tell(self, method: str, params: dict[str, Json]) -> None:
        """Call without an answer."""
        await self._channel.write(wire.call_frame(method, params))

    async def listen(self, hear: Callable[[str, dict[str, Json]], None]) -> None:
        """Hand on news and answers until the link breaks; then raises why."""
        try:
            while True:
                message = wire.read_frame(await self._channel.read())
                if isinstance(message, Call):
                    hear(message.method, message.params)
                elif message.id is not None:
                    self._settle(message.id, message)
                elif message.error is not None:
                    raise message.error
        except SkepError as error:
            self._over = error
            raise

    def close(self) -> None:
        """Give up: whoever still waits for an answer gets Unanswered."""
        if not isinstance(self._over, Unreachable):
            self._over = Unreachable("the link to the engine broke", why=str(self._over) if self._over else None)
        for answer in self._open.values():
            if not answer.done():
                answer.set_exception(
                    Unanswered(
                        "the link to the engine broke before its answer came",
                        why="whether it was done is not known",
                        mend="look how things are before you ask again",
                    )
                )
        self._channel.close()

    def _settle(self, number: int, message: Answer) -> None:
        answer = self._open.get(number)
        if answer is None or answer.done():
            return
        if message.error is not None:
            answer.set_exception(message.error)
        else:
            answer.set_result(message.result)
