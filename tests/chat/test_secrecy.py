"""No byte of a key leaves the request that it is for, also when a provider says it back to us."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from skep.model.codec import encode, public
from skep.model.events import ROOT, AttemptStruck
from skep.model.states import State
from tests.chat.asking import chat
from tests.chat.conftest import KEYS, ChatHive, MakePlayedHive
from tests.chat.holding import check_left
from tests.engine.hive import turns
from tests.llm.provider import Exchange, Script, hangs

CANARY = "canary-key"


def echoes(status: int, **headers: str) -> Script:
    async def script(exchange: Exchange) -> None:
        said = f"the key {exchange.key} (Bearer {exchange.key}) is no good, {exchange.key}"
        await exchange.refuse(status, said, x_key=exchange.key, **headers)

    return script


async def in_band(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.text("some words")
    await exchange.event(error={"message": f"overloaded, {exchange.key}", "code": 503})
    await exchange.end()


async def garbage(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.send(b"data: {" + exchange.key.encode() + b"\n\n")
    await exchange.end()


async def wrong_shape(exchange: Exchange) -> None:
    await exchange.head()
    await exchange.event(choices=exchange.key, key=exchange.key)
    await exchange.end()


async def plain(exchange: Exchange) -> None:
    await exchange.head(content_type="application/json")
    await exchange.send(f'{{"error": {{"message": "no: {exchange.key}"}}}}'.encode())
    await exchange.end()


async def cut(exchange: Exchange) -> None:
    await exchange.head(x_key=exchange.key)
    await exchange.text("some words")
    exchange.close()


async def reset(exchange: Exchange) -> None:
    await exchange.head(x_key=exchange.key)
    await exchange.text("some words")
    exchange.reset()


async def no_http(exchange: Exchange) -> None:
    await exchange._send(f"{exchange.key} HTTP/9 {exchange.key}\r\n\r\n".encode())
    exchange.close()


async def bad_header(exchange: Exchange) -> None:
    await exchange._send(f"HTTP/1.1 200 OK\r\n{exchange.key}\x00: {exchange.key}\r\n\r\n".encode())
    exchange.close()


async def redirect(exchange: Exchange) -> None:
    await exchange.refuse(307, f"go to {exchange.key}", location=f"http://127.0.0.1:1/{exchange.key}")


KINDS: dict[str, Script] = {
    **{f"status {status}": echoes(status) for status in (400, 401, 402, 403, 404, 408, 413, 418, 422)},
    **{f"status {status}": echoes(status) for status in (429, 500, 501, 502, 503, 529)},
    "in band": in_band,
    "garbage": garbage,
    "wrong shape": wrong_shape,
    "plain": plain,
    "cut": cut,
    "reset": reset,
    "no http": no_http,
    "bad header": bad_header,
    "redirect": redirect,
    "hangs": hangs,
}


@pytest.mark.parametrize("kind", KINDS)
async def test_whatever_goes_wrong_no_key_is_told(
    make_played_hive: MakePlayedHive, kind: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    caplog.set_level(logging.DEBUG)
    hive, _ = await make_played_hive(KINDS[kind], keys=2)
    await hive.launch(root=chat(ROOT, {}, cwd=hive.workspace))
    for number in range(400):
        if hive.status() is not None:
            break
        if number > 30 and kind == "status 429":
            break
        await hive.pass_time(61)
        await turns(20)
    if hive.status() is None:  # limits are waited for as long as they last
        await hive.interrupt(ROOT)
    await hive.over()
    one = hive.agent(ROOT)
    assert one.state in (State.FAILED, State.INTERRUPTED)
    assert one.state is State.FAILED or kind == "status 429"
    assert one.error
    struck = hive.events(AttemptStruck)
    assert struck, "it never happened"
    assert all(event.key in ("sim-1", "sim-2") for event in struck)
    check_told(hive, tmp_path, caplog)
    check_left(hive)


def check_told(hive: ChatHive, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Everything that is kept or shown."""
    told = [page.decode() for page in hive.registry.pages()]
    told += [encode(record.event).decode() for record in hive.records()]
    told += [str(public(record)) for record in hive.records()]
    told += [repr(record) for record in hive.records()]
    told += ["\n".join(hive.engine.tail(ROOT, 0, 1_000).lines)]
    told += [repr(hive.pool), repr(hive.pool.snapshot()), str(hive.pool.snapshot().document()), repr(hive.models)]
    told += [record.getMessage() + str(record.exc_info) + str(record.args) for record in caplog.records]
    assert CANARY in KEYS[0]
    assert len(told) > 10
    for text in told:
        assert CANARY not in text, text
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".log" for path in files)
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path
