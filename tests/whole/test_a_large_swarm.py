"""Thousands of items are as quick and as orderly as a few. It runs first, for it takes longest."""

from __future__ import annotations

import json

import pytest

from tests.whole.places import Place


@pytest.mark.xdist_group("a large swarm")
async def test_five_thousand_items_are_all_done_and_told_in_their_order(place: Place) -> None:
    items = [f"item-{number}" for number in range(5_000)]
    words = ("run", "--each-line", "-", "-c", "true {item}", "--json")
    done = await place.skep(*words, stdin="\n".join(items), limit=240)
    document = json.loads(done.out)
    assert document["status"] == "done"
    assert document["totals"]["states"] == {"done": 5_000}
    assert [agent["name"] for agent in document["agents"]] == items
    assert {agent["exit_code"] for agent in document["agents"]} == {0}
