"""``skep ls`` says the same of an ended swarm with the note of its engine and without."""

from __future__ import annotations

import json

from skep.control.swarms import DESCRIPTION, find
from skep.journal.database import DATABASE
from tests.whole.places import Place


async def test_the_note_of_an_engine_says_what_its_journal_says(place: Place) -> None:
    fail = place.script("fail", "#!/bin/sh\ncase $1 in *bad*) exit 3 ;; esac\n")
    swarm = await place.launch("-c", f"{fail} {{item}}", items=["one", "two", "bad"])
    await place.until_over(swarm)
    noted = find(place.folder(swarm)).outcome()
    assert noted is not None
    with_it = await place.json("ls")
    [line] = with_it["swarms"]
    assert (line["state"], line["states"]) == (noted.status, noted.states) == ("failed", {"done": 2, "failed": 1})

    description = place.folder(swarm) / DESCRIPTION
    body = json.loads(description.read_text())
    description.write_text(json.dumps({name: value for name, value in body.items() if name != "outcome"}))
    assert await place.json("ls") == with_it

    description.write_text(json.dumps(body))
    database = place.folder(swarm) / DATABASE
    database.write_bytes(database.read_bytes()[:-8192])
    done = await place.skep("ls", "--json")
    [line] = json.loads(done.out)["swarms"]
    assert line["state"] == "damaged"
    assert "warning" in done.err
