"""A secret shows its bytes to nobody but who asks for them by name."""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import logging
import pickle
import pprint

import pytest
from rich.console import Console
from rich.pretty import pretty_repr
from rich.traceback import Traceback

from skep.keys import Key, Secret

CANARY = "sk-canary-4f9d1c77"


@pytest.fixture
def secret() -> Secret:
    return Secret(CANARY)


@pytest.mark.parametrize(
    "shown",
    [
        repr,
        str,
        ascii,
        pprint.pformat,
        pretty_repr,
        lambda secret: f"{secret}",
        lambda secret: f"{secret!r:>40}",
        lambda secret: f"{secret:>40}",
        lambda secret: f"{secret:d}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031
        lambda secret: repr({secret: [secret]}),
        lambda secret: repr(Key("sim-1", secret, secret.fingerprint())),
        lambda secret: repr(dataclasses.asdict(Key("sim-1", secret, secret.fingerprint()))),
        lambda secret: repr([getattr(secret, name) for name in Secret.__slots__]),
        lambda secret: repr(object.__getstate__(secret)) if hasattr(object, "__getstate__") else "",
        lambda secret: json.dumps({"key": secret}, default=str),
        lambda secret: secret.fingerprint(),
        lambda secret: repr(hash(secret)),
    ],
)
def test_nothing_shows_its_bytes(secret, shown):
    text = shown(secret)
    assert CANARY not in text
    assert "canary" not in text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrap", [lambda secret: secret, lambda secret: Key("sim-1", secret)])
def test_it_is_never_pickled(secret, wrap, protocol):
    with pytest.raises(TypeError, match="not written"):
        pickle.dumps(wrap(secret), protocol)


def test_it_is_no_json(secret):
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_a_copy_is_the_same_object_and_not_a_second_place_with_its_bytes(secret):
    assert copy.copy(secret) is secret
    assert copy.deepcopy({"a": [secret]})["a"][0] is secret
    assert dataclasses.replace(Key("sim-1", secret), label="sim-2").secret is secret


def test_a_traceback_with_all_variables_does_not_show_it(secret):
    def fail(mine: Secret, key: Key) -> None:
        raise RuntimeError(f"with {mine} and {key}")

    shown = io.StringIO()
    try:
        fail(secret, Key("sim-1", secret, secret.fingerprint()))
    except RuntimeError as error:
        traceback = Traceback.from_exception(RuntimeError, error, error.__traceback__, show_locals=True)
        Console(file=shown, width=200).print(traceback)
    assert "mine" in shown.getvalue()
    assert CANARY not in shown.getvalue()


def test_a_log_record_does_not_show_it(secret, caplog):
    with caplog.at_level(logging.INFO):
        logging.getLogger("keys").info("key %s %r", secret, secret)
    assert len(caplog.records) == 1
    assert CANARY not in caplog.text


def test_only_reveal_gives_it_away(secret):
    assert secret.reveal() == CANARY


def test_equal_secrets_are_equal_and_hash_alike(secret):
    assert secret == Secret(CANARY)
    assert len({secret, Secret(CANARY), Secret("another")}) == 2
    assert secret != Secret(CANARY[:-1])
    assert secret != CANARY
    assert secret.fingerprint() == Secret(CANARY).fingerprint() != Secret("another").fingerprint()


def test_bytes_that_are_no_unicode_do_no_harm():
    assert Secret("key-\udcff") == Secret("key-\udcff") != Secret("key-\udcfe")
