"""A turn over a real connection: answers, refusals, other keys, and when to give up."""

from __future__ import annotations

import asyncio
import socket

import pytest

from skep.keys import KeyState, OutcomeKind
from skep.llm.failure import AttemptFailed
from skep.llm.messages import Message, Usage
from skep.model.states import WaitReason
from tests.llm.desk import Desk, desk
from tests.llm.provider import answers, breaks, provider, refuses, sends, stalls


def kinds(at: Desk) -> list[OutcomeKind]:
    return [failure.outcome.kind for failure in at.ear.failures]


async def gives_up(at: Desk) -> AttemptFailed:
    """The failure of a turn, with every pause between its requests slept through at once."""
    turn = asyncio.create_task(at.complete())
    while not turn.done():
        failed = asyncio.create_task(at.ear.failed.wait())
        await asyncio.wait({turn, failed}, return_when=asyncio.FIRST_COMPLETED)
        failed.cancel()
        at.ear.failed.clear()
        while not turn.done() and at.in_flight == 0:
            at.clock.advance(20)
            await asyncio.sleep(0)
    with pytest.raises(AttemptFailed) as caught:
        await turn
    return caught.value


async def test_a_turn_streams_and_comes_back_whole():
    async with provider(answers) as sim, desk(sim.url) as at:
        turn = await at.complete()
        assert turn.message == Message("assistant", "Hello")
        assert (turn.usage, turn.finish, turn.attempts) == (Usage(12, 3), "stop", 1)
        assert [delta.text for delta in at.ear.deltas] == ["Hel", "lo"]
        assert at.ear.keys == [turn.key]
        view = next(view for view in at.pool.snapshot().keys if view.label == turn.key)
        assert (view.successes, view.tokens_minute, view.cost) == (1, 15, 18)
        assert view.first_token is not None


async def test_a_request_says_who_asks_and_carries_the_key_and_the_model():
    async with provider(answers) as sim, desk(sim.url, keys=1) as at:
        await at.complete()
        request = await sim.arrival()
        assert request.headers["user-agent"] == "skep/0 (agent: a1; swarm: s)"
        assert request.key == "sk-canary-7c1e9f-1"
        assert request.document["model"] == "small"


async def test_the_next_turn_goes_over_the_same_connection():
    async with provider(answers) as sim, desk(sim.url) as at:
        for _ in range(3):
            await at.complete()
        assert sim.connections == 1


async def test_a_connection_that_the_provider_has_closed_meanwhile_is_not_used_again():
    async def answers_and_closes(exchange):
        await answers(exchange)
        exchange.close()

    async with provider(answers_and_closes) as sim, desk(sim.url) as at:
        for _ in range(3):
            assert (await at.complete()).attempts == 1
        assert sim.connections == 3


async def test_idle_connections_close_when_told_to():
    async with provider(answers) as sim, desk(sim.url) as at:
        await at.complete()
        request = await sim.arrival()
        at.client.close_idle()
        assert request.is_closed


async def test_a_429_sends_the_turn_to_the_other_key_and_leaves_the_first_alone():
    async with provider(refuses(429, retry_after="7"), answers) as sim, desk(sim.url) as at:
        turn = await at.complete()
        assert turn.attempts == 2
        assert kinds(at) == [OutcomeKind.RATE_LIMITED]
        assert at.ear.failures[0].outcome.retry_after == 7
        first, second = at.ear.keys
        assert first != second == turn.key
        states = {view.label: view.state for view in at.pool.snapshot().keys}
        assert states == {first: KeyState.COOLING, second: KeyState.OK}


async def test_with_every_key_cooling_the_agent_waits_for_the_first_that_is_fit_again():
    scripts = refuses(429, retry_after="7"), refuses(429, retry_after="9"), answers
    async with provider(*scripts) as sim, desk(sim.url) as at:
        turn = asyncio.create_task(at.complete())
        await at.stool.waits_now.wait()
        first, second = at.ear.keys
        assert at.stool.waits == [(WaitReason.KEY, f"{first} cools 0:07")]
        await at.sleeps()
        at.clock.advance(7)
        done = await turn
        assert at.ear.keys == [first, second, first]
        assert done.attempts == 3


async def test_turning_away_does_not_count_however_often():
    storm = [refuses(429, retry_after="1")] * 9
    async with provider(*storm, answers) as sim, desk(sim.url, keys=1) as at:
        turn = asyncio.create_task(at.complete())
        while not turn.done():
            await asyncio.sleep(0)
            if at.in_flight == 0:
                at.clock.advance(1)
        assert (await turn).attempts == 10


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529, 408, 409, 425])
async def test_a_fault_of_the_server_moves_the_turn_to_another_key_at_once(status):
    async with provider(refuses(status), answers) as sim, desk(sim.url) as at:
        turn = await at.complete()
        assert turn.attempts == 2
        assert len(set(at.ear.keys)) == 2
        assert kinds(at) == [OutcomeKind.SERVER]


async def test_a_turn_gives_up_after_four_requests_that_reached_a_model():
    async with provider(refuses(503, "all down")) as sim, desk(sim.url) as at:
        failure = await gives_up(at)
        assert len(at.ear.keys) == 4
        assert (failure.status, failure.why, failure.retryable) == (503, "all down", True)
        assert failure.what == "the provider answered 503 Service Unavailable"
        assert failure.where == f"sim/small ({at.ear.keys[-1]})"


async def test_the_wait_that_a_server_asks_for_is_the_least_there_is():
    async with provider(refuses(503, retry_after="60"), answers) as sim, desk(sim.url, keys=1) as at:
        turn = asyncio.create_task(at.complete())
        await at.ear.failed.wait()
        await at.sleeps()
        at.clock.advance(59)
        await asyncio.sleep(0)
        assert at.clock.sleepers == 1
        at.clock.advance(1)
        assert (await turn).attempts == 2


async def test_a_key_that_is_not_taken_is_left_for_another():
    async with provider(refuses(401), answers) as sim, desk(sim.url) as at:
        turn = await at.complete()
        assert kinds(at) == [OutcomeKind.UNAUTHORIZED]
        assert turn.key != at.ear.keys[0]


async def test_with_no_key_that_is_taken_there_is_nothing_to_wait_for():
    async with provider(refuses(401, "bad key")) as sim, desk(sim.url) as at:
        with pytest.raises(AttemptFailed, match="bad key") as caught:
            await at.complete()
        assert len(at.ear.keys) == 2
        assert caught.value.mend == "look at the key: the provider does not take it"


@pytest.mark.parametrize("status", [301, 400, 402, 403, 404, 413, 422, 501])
async def test_a_request_that_is_at_fault_is_not_sent_again(status):
    async with provider(refuses(status, "no such thing", location="/elsewhere")) as sim, desk(sim.url) as at:
        with pytest.raises(AttemptFailed) as caught:
            await at.complete()
        assert (caught.value.status, caught.value.why, caught.value.retryable) == (status, "no such thing", False)
        assert len(at.ear.keys) == 1
        assert all(view.state is KeyState.OK for view in at.pool.snapshot().keys)


async def test_the_words_of_a_provider_are_cleaned_and_cut():
    async with provider(refuses(400, "\x1b[31mred\x1b[0m\n" + "long " * 200)) as sim, desk(sim.url) as at:
        with pytest.raises(AttemptFailed) as caught:
            await at.complete()
        why = caught.value.why or ""
        assert "\x1b" not in why
        assert "\n" not in why
        assert len(why) == 300


async def test_an_error_page_that_is_no_json_is_an_error_all_the_same():
    page = sends(b"<html>" + b"x" * 200_000)

    async def shows(exchange):
        await exchange.head(400, content_type="text/html")
        await exchange.send(b"<html>" + b"x" * 200_000)
        await exchange.end()

    for script in (page, shows):
        async with provider(script) as sim, desk(sim.url, keys=1) as at:
            assert (await gives_up(at)).why in (None, "it ended before the answer did")


async def test_a_refused_connection_is_tried_again_and_then_given_up():
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{plug.getsockname()[1]}/v1"
        async with desk(url) as at:
            failure = await gives_up(at)
            assert kinds(at) == [OutcomeKind.CONNECTION] * 4
            assert (failure.what, failure.why) == ("no connection to the provider", "Connection refused")
            assert failure.reached is False
            assert url.removeprefix("http://").removesuffix("/v1") in str(failure.where), (
                "it says where nobody was"
            )


async def test_a_stream_that_is_reset_is_struck_and_begun_anew():
    async with provider(breaks, answers) as sim, desk(sim.url) as at:
        turn = await at.complete()
        assert turn.message.content == "Hello"
        assert at.ear.partials == ["Hel"]
        assert (at.ear.failures[0].what, at.ear.failures[0].reached) == ("the answer broke off", True)


@pytest.mark.parametrize("framed", [True, False])
async def test_a_stream_that_ends_too_soon_is_no_answer(framed):
    async def ends_early(exchange):
        await exchange.head(framed=framed)
        await exchange.text("Hel")
        await exchange.event(choices=[{"delta": {"content": "lo"}, "finish_reason": None if framed else "stop"}])
        await exchange.end()

    async with provider(ends_early, answers) as sim, desk(sim.url) as at:
        assert (await at.complete()).attempts == 2
        assert (kinds(at), at.ear.partials) == ([OutcomeKind.CONNECTION], ["Hello"])


async def test_chunks_that_stop_before_their_end_are_no_answer_even_after_the_finish_reason():
    async def drops(exchange):
        await exchange.head()
        await exchange.event(choices=[{"delta": {"content": "Hello"}, "finish_reason": "stop"}])
        exchange.close()

    async with provider(drops, answers) as sim, desk(sim.url) as at:
        assert (await at.complete()).attempts == 2


async def test_a_connection_lost_after_the_end_of_the_answer_harms_nothing():
    async def drops(exchange):
        await exchange.head()
        await exchange.event(choices=[{"delta": {"content": "Hello"}, "finish_reason": "stop"}])
        await exchange.send(b"data: [DONE]\n\n")
        exchange.close()

    async with provider(drops) as sim, desk(sim.url) as at:
        assert (await at.complete()).attempts == 1


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (429, OutcomeKind.RATE_LIMITED),
        ("overloaded", OutcomeKind.SERVER),
        ("odd", OutcomeKind.SERVER),
        (401, OutcomeKind.UNAUTHORIZED),
    ],
)
async def test_an_error_inside_of_a_stream_counts_like_its_status(code, kind):
    async def fails(exchange):
        await exchange.head()
        await exchange.text("Hel")
        await exchange.event(error={"message": "sorry", "code": code})
        await exchange.end()

    async with provider(fails, answers) as sim, desk(sim.url) as at:
        assert (await at.complete()).attempts == 2
        assert (kinds(at), at.ear.failures[0].why, at.ear.partials) == ([kind], "sorry", ["Hel"])


async def test_an_answer_that_did_not_come_as_a_stream_says_so():
    whole = sends(b'{"choices": [{"message": {"content": "Hi"}}]}', content_type="application/json")
    fault = sends(b'{"error": {"message": "too much", "code": 429}}', content_type="application/json")
    async with provider(fault, whole, answers) as sim, desk(sim.url, keys=3) as at:
        await at.complete()
        assert [failure.why for failure in at.ear.failures] == ["too much", "it did not come as a stream"]


async def test_a_waiter_that_is_cancelled_leaves_no_lease_and_no_place_in_the_line():
    async with provider(stalls) as sim, desk(sim.url, keys=1, max_concurrency=1) as at:
        holder = asyncio.create_task(at.complete())
        await sim.arrival()
        waiter = asyncio.create_task(at.complete())
        await at.stool.waits_now.wait()
        waiter.cancel()
        await asyncio.wait({waiter})
        assert waiter.cancelled()
        assert at.pool.snapshot().waiters == 0
        holder.cancel()
        await asyncio.wait({holder})


async def test_a_lease_is_given_back_if_the_way_back_from_the_wait_is_barred():
    async with provider(stalls) as sim, desk(sim.url, keys=1, max_concurrency=1) as at:
        holder = asyncio.create_task(at.complete())
        await sim.arrival()

        class Barred:
            async def __aenter__(self):
                at.stool.waits_now.set()

            async def __aexit__(self, *trouble):
                raise RuntimeError("no slot for you")

        at.stool.waiting = lambda reason, detail: Barred()
        waiter = asyncio.create_task(at.complete())
        await at.stool.waits_now.wait()
        holder.cancel()
        with pytest.raises(RuntimeError, match="no slot"):
            await waiter
        assert at.in_flight == 0
