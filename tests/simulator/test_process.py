"""The simulator as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import httpx
import pytest

from .asking import scripted_goal, user

PATIENCE = 20


@contextmanager
def simulator(*options: str, given: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start one; it is gone in the end, whatever happens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "skep.simulator", "--port", "0", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _of(process.stdin).write(given)
        _of(process.stdin).flush()
        said = json.loads(_of(process.stdout).readline())
        assert said["pid"] == process.pid
        yield process, said["base_url"]
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def _of(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def ask(base_url: str, key: str = "") -> httpx.Response:
    document = {"model": "sim", "messages": [user(scripted_goal({"say": "hello"}))]}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with httpx.Client(trust_env=False, verify=False, timeout=PATIENCE) as client:
        return client.post(f"{base_url}/chat/completions", json=document, headers=headers)


def test_it_takes_its_keys_from_standard_input_and_lives_as_long_as_that_is_open():
    options = ("--keys-from-stdin", "--lifeline", "--storm", "2:1:60", "--requests-per-minute", "9")
    with simulator(*options, given="sk-one\nsk-two\n\n") as (process, base_url):
        first = ask(base_url, "sk-one")
        assert first.json()["choices"][0]["message"]["content"] == "hello"
        assert first.headers["x-ratelimit-limit-requests"] == "9"
        assert ask(base_url, "sk-two").status_code == 429
        assert ask(base_url, "sk-three").status_code == 401
        out, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, errors) == (0, "", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(number):
    with simulator() as (process, base_url):
        assert ask(base_url).status_code == 200
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE)
        assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize(
    ("options", "given", "words"),
    [
        (["--keys-from-stdin"], "\n", "there was no key"),
        (["--keys-from-stdin", "--storm", "2:1:1"], "one\n\n", "there is no key 2"),
        (["--storm", "nonsense"], "", "'nonsense' is not like 2:10:30"),
        (["--speed", "0"], "", "speed"),
        (["--rate", "nan"], "", "rate"),
        (["--port", "70000"], "", "is no port"),
        (["--keys-from-stdin"], "x" * 5000 + "\n\n", "key 1 is longer"),
    ],
    ids=["no key", "a storm on nothing", "no storm", "no speed", "no rate", "no port", "a long key"],
)
def test_options_that_make_no_sense_are_refused(options, given, words):
    command = [sys.executable, "-m", "skep.simulator", "--port", "0", *options]
    ended = subprocess.run(command, input=given, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert "xxxx" not in ended.stderr
