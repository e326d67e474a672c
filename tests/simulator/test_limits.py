"""Keys and their limits: who is let in, who is told to wait, and how long."""

from __future__ import annotations

import asyncio

import pytest

from skep.simulator import KeyLimits, Pace, Scenario, SimulatedKey, Storm
from skep.simulator.limits import Gate, go_duration
from skep.simulator.refusals import Refusal

from .asking import scripted_goal

FIRST, SECOND = "sk-first-secret", "sk-second-secret"
OK = scripted_goal({"say": "abcdefgh"})


def refused(gate: Gate, now: float, tokens_in: int = 1) -> Refusal:
    with pytest.raises(Refusal) as caught:
        gate.enter(now, tokens_in)
    assert caught.value.status == 429
    return caught.value


def test_a_minute_slides_and_the_wait_is_until_the_oldest_request_leaves_it():
    gate = Gate(KeyLimits(requests_per_minute=2))
    gate.enter(100.0, 1)
    gate.enter(110.5, 1)
    refusal = refused(gate, 130.0)
    assert (refusal.headers["retry-after"], refusal.headers["retry-after-ms"]) == ("30", "30000")
    assert refusal.headers["x-ratelimit-remaining-requests"] == "0"
    assert refusal.headers["x-ratelimit-reset-requests"] == "40.5s"
    gate.enter(160.0, 1)
    assert refused(gate, 160.0).headers["retry-after-ms"] == "10500"


def test_tokens_of_the_answer_count_when_it_has_ended():
    gate = Gate(KeyLimits(tokens_per_minute=100))
    gate.enter(0.0, 40)
    gate.leave(10.0, 50)
    refusal = refused(gate, 20.0, 20)
    assert refusal.kind == "tokens"
    assert refusal.headers["retry-after"] == "40"
    assert gate.headers(20.0)["x-ratelimit-remaining-tokens"] == "10"
    gate.enter(20.0, 10)


def test_a_prompt_that_never_fits_waits_a_whole_minute():
    assert refused(Gate(KeyLimits(tokens_per_minute=10)), 5.0, 11).headers["retry-after"] == "60"


def test_speed_shortens_the_minute_and_the_storms():
    gate = Gate(KeyLimits(requests_per_minute=1, storms=[Storm(2, 30)]), speed=10)
    gate.enter(0.0, 1)
    assert refused(gate, 1.0).headers["retry-after-ms"] == "3000"
    assert refused(gate, 4.5).headers["retry-after-ms"] == "1500"
    gate.enter(6.0, 1)


def test_a_storm_begins_with_a_request_and_lasts_for_its_seconds():
    gate = Gate(KeyLimits(storms=[Storm(3, 10), Storm(6, 5, tells=False)]))
    gate.enter(0.0, 1)
    gate.enter(0.0, 1)
    assert refused(gate, 1.0).headers["retry-after"] == "10"
    assert refused(gate, 10.9).headers["retry-after"] == "1"
    gate.enter(11.0, 1)
    assert "retry-after" not in refused(gate, 12.0).headers
    gate.enter(17.0, 1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0121, "13ms"), (1, "1s"), (1.5, "1.5s"), (59.9999, "60s"), (60, "1m0s"), (360.2, "6m1s")],
)
def test_durations_are_written_as_go_does(seconds, text):
    assert go_duration(seconds) == text


async def test_a_key_that_is_not_listed_is_refused_and_never_repeated(serve):
    asker = await serve(Scenario(keys=[SimulatedKey(FIRST)]))
    for key in ("sk-wrong", None):
        answer = await asker.ask(OK, key=key)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert "sk-wrong" not in answer.error["message"]
    assert (await asker.ask(OK, key=FIRST)).status == 200
    assert asker.simulator.ledger.unauthorized == 2
    assert (await asker.client.get(f"{asker.simulator.base_url}/models")).status_code == 401


async def test_keys_go_by_their_place_in_the_list_and_their_bytes_are_nowhere(serve):
    scenario = Scenario(keys=[SimulatedKey(FIRST), SimulatedKey(SECOND)])
    asker = await serve(scenario)
    await asker.ask(OK, key=SECOND)
    ledger = asker.simulator.ledger
    assert [(label, account.requests) for label, account in ledger.keys.items()] == [("key-1", 0), ("key-2", 1)]
    assert "secret" not in f"{ledger!r} {ledger.document()} {scenario!r} {asker.simulator!r}"


async def test_without_a_list_every_key_is_taken_and_numbered_as_it_comes(asker):
    for key in (SECOND, FIRST, SECOND, None):
        await asker.ask(OK, key=key)
    counts = {label: account.requests for label, account in asker.simulator.ledger.keys.items()}
    assert counts == {"key-1": 2, "key-2": 1, "no-key": 1}


async def test_answers_tell_what_is_left_of_the_limits(serve):
    limits = KeyLimits(requests_per_minute=60, tokens_per_minute=1000)
    asker = await serve(Scenario(keys=[SimulatedKey(FIRST, limits), SimulatedKey(SECOND)]))
    first = await asker.ask(OK, key=FIRST)
    again = await asker.ask(OK, key=FIRST)
    assert first.headers["x-ratelimit-limit-requests"] == "60"
    assert first.headers["x-ratelimit-remaining-requests"] == "59"
    assert again.headers["x-ratelimit-remaining-requests"] == "58"
    used = 2 * first.usage["prompt_tokens"] + first.usage["completion_tokens"]
    assert again.headers["x-ratelimit-remaining-tokens"] == str(1000 - used)
    other = await asker.ask(OK, key=SECOND)
    assert not [name for name in other.headers if name.startswith("x-ratelimit")]


async def test_more_requests_at_once_than_the_cap_are_refused_and_other_keys_are_not(serve):
    limits = KeyLimits(concurrency=2)
    asker = await serve(Scenario(keys=[SimulatedKey(FIRST, limits), SimulatedKey(SECOND, limits)]))
    ledger = asker.simulator.ledger
    hang = scripted_goal({"hang": True})
    held = [asyncio.create_task(asker.ask(hang, key=FIRST)) for _ in range(2)]
    await ledger.until(lambda it: it.keys["key-1"].open == 2)
    answer = await asker.ask(OK, key=FIRST)
    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")
    assert answer.headers["retry-after"] == "1"
    assert (await asker.ask(OK, key=SECOND)).status == 200
    held[0].cancel()
    await ledger.until(lambda it: it.keys["key-1"].open == 1)
    assert (await asker.ask(OK, key=FIRST)).status == 200
    held[1].cancel()
    await asyncio.gather(*held, return_exceptions=True)
    assert ledger.keys["key-1"].rate_limited == 1


async def test_a_storm_refuses_one_key_and_no_other(serve):
    stormy = KeyLimits(storms=[Storm(2, 3600)])
    asker = await serve(Scenario(keys=[SimulatedKey(FIRST, stormy), SimulatedKey(SECOND)]))
    statuses = [(await asker.ask(OK, key=key)).status for key in (FIRST, FIRST, SECOND, FIRST, SECOND)]
    assert statuses == [200, 429, 200, 429, 200]
    assert asker.simulator.ledger.keys["key-1"].rate_limited == 2


@pytest.mark.parametrize(
    "scenario",
    [
        {"speed": 0},
        {"speed": float("nan")},
        {"pace": Pace(rate=-1)},
        {"keys": [SimulatedKey("x"), SimulatedKey("x")]},
    ],
)
def test_a_scenario_that_cannot_be_is_refused(scenario):
    with pytest.raises(ValueError, match="scenario"):
        Scenario(**scenario)
