"""What comes over a connection that is not what it should be."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from skep.simulator.connection import LARGEST_BODY, LARGEST_HEAD

from .asking import scripted_goal, user


async def spoken(asker, *parts: bytes) -> tuple[int, bytes]:
    """Say this, then return the status of the answer and all that came until the other side closed."""
    address = urlsplit(asker.simulator.base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    for part in parts:
        writer.write(part)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1]), answer


def head(*lines: str, method: str = "POST", path: str = "/v1/chat/completions") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "host: x", *lines, "", ""]).encode()


BODY = json.dumps({"model": "sim", "messages": [user(scripted_goal({"say": "well"}))]}).encode()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/chat/completions", 405), ("POST", "/v1/models", 405), ("GET", "/v2", 404), ("GET", "/", 404)],
)
async def test_what_is_not_there_is_said_in_the_usual_shape(asker, method, path, status):
    root = asker.simulator.base_url.removesuffix("/v1")
    response = await asker.client.request(method, root + path)
    assert response.status_code == status
    assert path in response.json()["error"]["message"]


async def test_what_is_no_http_is_refused_and_closed(asker):
    status, answer = await spoken(asker, b"how do you do\r\n\r\n")
    assert status == 400
    assert b"this is no HTTP" in answer


async def test_a_head_without_an_end_is_refused(asker):
    status, _ = await spoken(asker, head()[:-2], b"x-long: " + b"x" * 2 * LARGEST_HEAD)
    assert status == 431


async def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(asker):
    status, answer = await spoken(asker, head(f"content-length: {LARGEST_BODY + 1}"))
    assert status == 413
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["code"] == "too_large"


async def test_a_body_in_chunks_without_an_end_is_refused(asker):
    block = b"x" * 4 * 1024 * 1024
    chunk = f"{len(block):x}\r\n".encode() + block + b"\r\n"
    status, _ = await spoken(
        asker, head("transfer-encoding: chunked"), *[chunk] * (LARGEST_BODY // len(block) + 1)
    )
    assert status == 413


async def test_a_second_request_may_be_sent_ahead(asker):
    request = head(f"content-length: {len(BODY)}") + BODY
    last = head(f"content-length: {len(BODY)}", "connection: close") + BODY
    _, answer = await spoken(asker, request + last)
    assert answer.count(b"HTTP/1.1 200") == 2


async def test_who_sends_far_too_much_ahead_is_cut_off(asker):
    hang = json.dumps({"model": "sim", "messages": [user(scripted_goal({"hang": True}))]}).encode()
    address = urlsplit(asker.simulator.base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head(f"content-length: {len(hang)}") + hang)
    await asker.simulator.ledger.until(lambda it: it.open == 1)
    writer.write(b"x" * 256 * 1024)
    await asker.simulator.ledger.until(lambda it: it.open == 0 and it.connections == 0)
    writer.close()
    with pytest.raises(ConnectionError):
        await writer.wait_closed()
    assert reader.at_eof() or reader.exception()


async def test_who_waits_to_be_asked_for_the_body_is_asked(asker):
    address = urlsplit(asker.simulator.base_url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head(f"content-length: {len(BODY)}", "expect: 100-continue", "connection: close"))
    assert (await reader.readline()).startswith(b"HTTP/1.1 100")
    writer.write(BODY)
    assert b"HTTP/1.1 200" in await reader.read()
    writer.close()
    await writer.wait_closed()
