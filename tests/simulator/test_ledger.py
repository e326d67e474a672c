"""The other side of the account: what was handed out, and who left when."""

from __future__ import annotations

import asyncio
import json
import time

from skep.simulator import Scenario, SimulatedKey, Simulator

from .asking import Asker, scripted_goal

KEYS = ["sk-one", "sk-two"]


async def test_the_ledger_counts_what_the_client_saw_key_by_key(serve):
    asker = await serve(Scenario(keys=[SimulatedKey(key) for key in KEYS]))
    ledger = asker.simulator.ledger
    steps = [
        {"say": "hello there"},
        {"call": "read_file", "args": {"path": "x"}},
        {"say": "cut", "cut": 0},
        {"status": 503},
        {"say": "x", "no_finish": True},
        {"say": "x", "in_band_error": "x"},
        {"say": "trickled", "trickle": 0},
    ]
    jobs = [(key, step, stream) for key in KEYS for step in steps for stream in (True, False)]
    answers = await asyncio.gather(*[asker.ask(scripted_goal(step), key=key, stream=s) for key, step, s in jobs])
    for label, key in zip(("key-1", "key-2"), KEYS, strict=True):
        usages = [
            answer.usage or (answer.body or {}).get("usage")
            for answer, job in zip(answers, jobs, strict=True)
            if job[0] == key
        ]
        seen = [usage for usage in usages if usage]
        account = ledger.keys[label]
        assert account.completed == len(seen) == 6
        assert account.tokens_in == sum(usage["prompt_tokens"] for usage in seen)
        assert account.tokens_out == sum(usage["completion_tokens"] for usage in seen)
        ends = account.completed + account.rate_limited + account.refused + account.failed + account.abandoned
        assert account.requests == ends == len(steps) * 2
        assert account.open == 0
    assert ledger.tokens_out == ledger.keys["key-1"].tokens_out * 2


async def test_a_client_that_leaves_in_the_middle_is_seen_at_once_and_not_billed(serve):
    asker = await serve(Scenario(keys=[SimulatedKey(KEYS[0])]))
    ledger = asker.simulator.ledger
    request = asker.request(scripted_goal({"say": "x" * 400, "rate": 1}), key=KEYS[0])
    response = await asker.client.send(request, stream=True)
    await anext(response.aiter_bytes())
    assert (ledger.open, ledger.connections) == (1, 1)
    before = time.time()
    await response.aclose()
    await ledger.until(lambda it: it.connections == 0 and it.open == 0)
    closing = ledger.closings[-1]
    assert (closing.key, closing.answering) == ("key-1", True)
    assert before <= closing.at <= time.time()
    assert (ledger.completed, ledger.tokens_out, ledger.keys["key-1"].abandoned) == (0, 0, 1)


async def test_a_connection_that_is_closed_between_requests_is_seen_too(asker):
    await asker.ask(scripted_goal({"say": "x"}), key=KEYS[0])
    await asker.client.aclose()
    await asker.simulator.ledger.until(lambda it: it.connections == 0)
    assert [(each.key, each.answering) for each in asker.simulator.ledger.closings] == [("key-1", False)]


async def test_the_ledger_is_served_and_forgets_on_demand(asker):
    root = asker.simulator.base_url.removesuffix("/v1")
    goal = scripted_goal({"status": 500, "times": 1}, {"say": "abcd"})
    await asker.ask(goal)
    await asker.ask(goal)
    served = (await asker.client.get(f"{root}/simulator/ledger")).json()
    assert served == asker.simulator.ledger.document()
    assert (served["completed"], served["tokens_out"], served["open"], served["connections"]) == (1, 1, 0, 1)
    assert (await asker.client.post(f"{root}/simulator/reset")).status_code == 200
    ledger = asker.simulator.ledger
    assert (ledger.completed, ledger.keys["no-key"].requests, ledger.connections) == (0, 0, 1)
    assert (await asker.ask(goal)).status == 500


async def test_the_end_of_a_simulator_ends_every_answer(serve):
    client = (await serve()).client
    async with Simulator() as simulator:
        asker = Asker(simulator, client)
        held = [asyncio.create_task(asker.ask(scripted_goal({"hang": True}))) for _ in range(3)]
        await simulator.ledger.until(lambda it: it.open == 3)
    ends = await asyncio.gather(*held, return_exceptions=True)
    assert all(isinstance(end, Exception) for end in ends)
    assert (simulator.ledger.open, simulator.ledger.connections) == (0, 0)
    assert not simulator.ledger.closings


async def test_an_answer_counts_as_handed_out_when_its_last_byte_has_left_and_holds_up_nobody(asker):
    ledger = asker.simulator.ledger
    text = "x" * 12_000_000
    response = await asker.client.send(asker.request(scripted_goal({"say": text}), stream=False), stream=True)
    assert (await asker.ask(scripted_goal({"say": "served meanwhile"}))).text == "served meanwhile"
    assert (ledger.completed, ledger.open) == (1, 1)
    body = json.loads(await response.aread())
    assert body["choices"][0]["message"]["content"] == text
    await ledger.until(lambda it: it.open == 0)
    assert ledger.completed == 2
    assert ledger.tokens_out == 4 + body["usage"]["completion_tokens"]
