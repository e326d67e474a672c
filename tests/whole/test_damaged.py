"""The room on a damaged journal: what is left of the swarm, and a banner that does not go away."""

from __future__ import annotations

from tests.cli.spoiled import DIED, LOST, lose_the_last_events, swarm
from tests.whole.places import Place
from tests.whole.terminals import Terminal


async def test_what_is_left_can_be_looked_at_and_the_banner_says_what_is_not(place: Place) -> None:
    folder = swarm(place.state, DIED)
    lose_the_last_events(folder)
    before = (folder / "journal.db").read_bytes()
    async with Terminal.of(place, "attach", "--read-only", COLUMNS="160") as room:
        await room.shows("its journal is damaged")
        await room.shows(LOST)
        await room.shows("src/1.py")
        room.type("q")
        assert await room.ends() == 0
    assert (folder / "journal.db").read_bytes() == before


async def test_a_room_that_would_act_is_not_opened_until_the_loss_is_accepted(place: Place) -> None:
    lose_the_last_events(swarm(place.state, DIED))
    async with Terminal.of(place, "attach") as refused:
        await refused.shows("--accept-loss")
        assert await refused.ends() == 2
    async with Terminal.of(place, "attach", "--accept-loss") as room:
        await room.shows("enter takes it up again")
        room.type("\r")
        await room.shows("q leave")
        room.type("q")
        await room.ends()
    assert (await place.json("tree"))["damage"] is None
