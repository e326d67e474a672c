"""The bytes of a key are in the request, and nowhere else that anybody could look."""

from __future__ import annotations

import logging
import traceback

import pytest

from skep.keys import Key, Secret
from skep.llm.failure import AttemptFailed
from tests.llm.desk import CANARY, Desk, desk, key
from tests.llm.provider import answers, breaks, provider, refuses


def told(error: BaseException) -> str:
    """All that can be made of an error: its text, its parts, and its traceback with the locals of every frame."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join((str(error), repr(error), repr(vars(error)), *shown.format()))


async def fails(at: Desk, using: Key) -> AttemptFailed:
    attempt = at.client.attempt(at.provider, using, b"{}", agent="a1", where="sim", hear=lambda delta: None)
    assert CANARY not in repr(attempt)
    assert CANARY not in repr(vars(attempt))
    with pytest.raises(AttemptFailed) as caught:
        await attempt.run()
    return caught.value


async def echoes(exchange) -> None:
    await exchange.refuse(401, f"Incorrect API key provided: {exchange.headers['authorization']}")


async def echoes_in_the_stream(exchange) -> None:
    await exchange.head()
    await exchange.event(error={"message": f"no {'x' * 290} {exchange.headers['authorization']}"})
    await exchange.end()


@pytest.mark.parametrize("script", [echoes, echoes_in_the_stream, breaks, refuses(500)])
async def test_no_error_tells_the_key_even_if_the_provider_does(script):
    async with provider(script) as sim, desk(sim.url) as at:
        failure = await fails(at, key())
        assert CANARY not in told(failure)
        assert failure.__context__ is None
        assert failure.__cause__ is None


async def test_a_key_that_cannot_stand_in_a_header_is_not_quoted():
    async with provider(answers) as sim, desk(sim.url) as at:
        failure = await fails(at, Key("sim-1", Secret(f"{CANARY}\r\nX-Evil: 1")))
        assert CANARY not in told(failure)
        assert failure.retryable is False
        assert sim.connections <= 1
        assert not sim.exchanges


async def test_no_log_tells_the_key_however_talkative(caplog):
    caplog.set_level(logging.DEBUG)
    async with provider(refuses(503), answers) as sim, desk(sim.url) as at:
        with caplog.at_level(logging.DEBUG):
            await at.complete()
    assert CANARY not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith(("httpx", "httpcore"))]


async def test_a_provider_that_needs_no_key_is_sent_none():
    async with provider(answers) as sim, desk(sim.url) as at:
        attempt = at.client.attempt(
            at.provider, Key("sim", None), b"{}", agent="a1", where="sim", hear=lambda delta: None
        )
        await attempt.run()
        assert "authorization" not in (await sim.arrival()).headers


async def test_a_user_agent_cannot_smuggle_headers():
    async with provider(answers) as sim, desk(sim.url) as at:
        name = "skep/0 (agent: a\r\nX-Evil: 1; swarm: ü)"
        at.client._user_agent = lambda agent: name  # a name that a definition might carry
        await at.complete()
        headers = (await sim.arrival()).headers
        assert headers["user-agent"] == "skep/0 (agent: a?X-Evil: 1; swarm: ?)"
        assert "x-evil" not in headers
