"""Answers that go wrong in every way there is."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from skep.simulator import Conversation, Fault, FaultKind, Reply, Scenario
from skep.simulator.faults import PLAYERS

from .asking import scripted_goal, user

TEXT = "one two three four five"


def test_every_kind_of_fault_can_be_played():
    assert set(PLAYERS) == set(FaultKind)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "service_unavailable"),
        (529, "overloaded_error"),
    ],
)
async def test_an_error_instead_of_an_answer(asker, status, kind, stream):
    answer = await asker.ask(scripted_goal({"status": status, "message": "so it is"}), stream=stream)
    assert answer.status == status
    assert (answer.error["type"], answer.error["message"]) == (kind, "so it is")
    assert "retry-after" not in answer.headers


async def test_a_wait_is_asked_for_in_whole_seconds_and_in_exact_milliseconds(asker):
    answer = await asker.ask(scripted_goal({"status": 429, "retry_after": 1.25}))
    assert answer.status == 429
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("2", "1250")


async def test_a_fault_strikes_so_many_times_and_then_the_next_step_answers(asker):
    goal = scripted_goal({"status": 503, "times": 2}, {"status": 429, "times": 1}, {"say": "at last"})
    assert [(await asker.ask(goal)).status for _ in range(5)] == [503, 503, 429, 200, 200]
    assert (await asker.ask(goal)).text == "at last"


async def test_a_step_with_a_fault_and_an_answer_gives_the_answer_afterwards_and_is_one_turn(asker):
    goal = scripted_goal({"say": TEXT, "cut": 8, "times": 1}, {"say": "second"})
    assert (await asker.ask(goal)).broken
    assert (await asker.ask(goal)).text == TEXT
    later = [user(goal), {"role": "assistant", "content": TEXT}, user("go on")]
    assert (await asker.ask(later)).text == "second"


async def test_a_failure_holds_from_then_on(asker):
    goal = scripted_goal({"fail": "no such luck"}, {"say": "never"})
    for _ in range(3):
        answer = await asker.ask(goal)
        assert (answer.status, answer.error["message"]) == (400, "no such luck")


@pytest.mark.parametrize("kind", ["cut", "reset"])
async def test_a_connection_that_ends_within_an_event_is_noticed_by_the_client(asker, kind):
    answer = await asker.ask(scripted_goal({"say": TEXT, kind: 8}))
    expected = httpx.RemoteProtocolError if kind == "cut" else httpx.ReadError
    assert isinstance(answer.broken, expected)
    assert not answer.done
    assert asker.simulator.ledger.keys["no-key"].failed == 1


async def test_a_cut_comes_after_so_many_characters_and_within_the_next_event(asker):
    answer = await asker.ask(scripted_goal({"say": TEXT, "cut": 8}))
    assert answer.text == TEXT[:8]
    assert answer.lines[-1].startswith("data: {")
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.lines[-1].removeprefix("data: "))


async def test_a_cut_without_framing_looks_like_a_clean_end(asker):
    answer = await asker.ask(scripted_goal({"say": TEXT, "cut_unframed": 12}))
    assert answer.broken is None
    assert answer.headers["connection"] == "close"
    assert answer.text == TEXT[:12]
    assert not answer.finish
    assert not answer.done


async def test_a_cut_document_is_noticed_too(asker):
    answer = await asker.ask(scripted_goal({"say": TEXT, "cut": 0}), stream=False)
    assert answer.broken


async def test_an_error_within_the_stream_stands_where_the_end_should(asker):
    answer = await asker.ask(scripted_goal({"say": TEXT, "in_band_error": "overloaded"}))
    assert (answer.status, answer.text) == (200, TEXT)
    assert answer.events[-1]["error"]["message"] == "overloaded"
    assert not answer.finish
    assert answer.usage is None


async def test_a_line_that_is_no_json_stands_in_the_stream(asker):
    answer = await asker.ask(scripted_goal({"say": TEXT, "garbage": "{oops"}))
    assert "data: {oops" in answer.lines
    assert (answer.text, answer.finish, answer.done, answer.usage) == (TEXT, ["stop"], True, None)


async def test_a_stream_may_end_without_a_reason(asker):
    answer = await asker.ask(scripted_goal({"say": TEXT, "no_finish": True}))
    assert (answer.text, answer.finish, answer.done, answer.usage) == (TEXT, [], True, None)


async def test_a_trickle_is_slow_and_whole(asker):
    answer = await asker.ask(scripted_goal({"say": "12345678", "trickle": 0.001}))
    assert (answer.text, answer.done) == ("12345678", True)
    assert asker.simulator.ledger.completed == 1


async def test_a_hang_sends_not_even_headers_until_the_client_leaves(asker):
    ledger = asker.simulator.ledger
    request = asyncio.create_task(asker.ask(scripted_goal({"hang": True})))
    await ledger.until(lambda it: it.open == 1)
    assert not request.done()
    request.cancel()
    await ledger.until(lambda it: it.open == 0 and it.connections == 0)
    assert ledger.keys["no-key"].abandoned == 1


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        ({"silent": True}, b'"content":""'),
        ({"silent": 8}, json.dumps(TEXT[4:8]).encode()),
        ({"keepalive": 0.001}, b": keep-alive\n\n: keep-alive\n\n"),
    ],
    ids=["silent at once", "silent after some text", "comments only"],
)
async def test_headers_come_and_then_nothing_that_helps_until_the_client_leaves(asker, fault, last):
    ledger = asker.simulator.ledger
    response = await asker.client.send(asker.request(scripted_goal({"say": TEXT, **fault})), stream=True)
    assert response.status_code == 200
    seen = b""
    async for part in response.aiter_bytes():
        seen += part
        if last in seen:
            break
    assert b'"finish_reason":"stop"' not in seen
    assert ledger.open == 1
    await response.aclose()
    await ledger.until(lambda it: it.open == 0 and it.connections == 0)
    assert ledger.keys["no-key"].abandoned == 1
    assert ledger.closings[-1].answering


async def test_a_behaviour_may_say_what_goes_wrong(serve):
    def behave(conversation: Conversation) -> Reply:
        return Reply(text=TEXT, fault=Fault(FaultKind.CUT, characters=4) if conversation.attempt == 1 else None)

    asker = await serve(Scenario(behaviour=behave))
    assert (await asker.ask("a goal")).broken
    assert (await asker.ask("a goal")).text == TEXT
