"""What those do who never get to an end: one is refused by its model, the others wait for an answer in vain."""

from __future__ import annotations

from skep.simulator.behaviour import Fault, FaultKind, Reply
from skep.simulator.demo.reading import matches
from skep.simulator.demo.scene import Scene, read, search, write

REFUSED = "this request was declined under the content policy: instructions for forging signatures"
"""What the model of the doomed leaf answers in its third turn."""

KEEP_ALIVE = 10.0
"""Seconds between the signs of life of a stream that has stopped: the connection stays, no token comes."""

_NEVER = "orders"
"""The table whose leaf does not get a single token."""

_LATE = "products"
"""The table whose leaf still writes a page before its stream stops."""


def _exploit_search(scene: Scene) -> Reply:
    return scene.act(
        "The place where signatures are compared is where it would start.",
        search("== given", scene.persona.of.folder),
    )


def _exploit_read(scene: Scene) -> Reply:
    found = matches(scene.last)
    path = found[0].path if found else f"{scene.persona.of.folder}/README.md"
    return scene.act(
        f"{path} compares with ==, so the time of an answer depends on how many characters are right. "
        "That much is certain: whoever can measure well enough can guess a signature piece by piece. "
        "I read the function before I write the proof.",
        read(path),
        think="The signature is hexadecimal: sixteen guesses for each place.",
    )


def _exploit_refused(scene: Scene) -> Reply:
    return scene.act("", fault=Fault(FaultKind.STATUS, status=400, message=REFUSED))


def _import_read(scene: Scene) -> Reply:
    if scene.persona.topic == _NEVER:
        return scene.act("", fault=Fault(FaultKind.HANG))
    table = scene.persona.topic
    return scene.act(
        f"First the table as the old shop left it: legacy/{table}.csv.",
        read(f"legacy/{table}.csv"),
        think="Empty cells are what an import stumbles over, so I count those first.",
    )


def _import_write(scene: Scene) -> Reply:
    if scene.persona.topic != _LATE:
        return _import_stop(scene)
    rows, empty = _rows(scene)
    return scene.act(
        f"{empty} of {rows} rows have an empty cell. I note that before I go on.",
        write(
            f"docs/import/{scene.persona.topic}.md",
            f"# {scene.persona.topic}\n\n{empty} of {rows} rows do not fit.\n",
        ),
    )


def _import_stop(scene: Scene) -> Reply:
    rows, empty = _rows(scene)
    return scene.act(
        f"The table has {rows} rows, {empty} of them with an empty cell. I go through them one by one: the "
        "first lacks what the new schema asks for, and whether it can be made up depends on",
        think="Row by row, then; the old shop had no rules at all, so nothing can be taken for granted here.",
        fault=Fault(FaultKind.KEEPALIVE, characters=scene.dice.randint(90, 220), seconds=KEEP_ALIVE),
    )


def _rows(scene: Scene) -> tuple[int, int]:
    """Return how many rows the table has, and how many of them have an empty cell."""
    rows = [line for line in scene.earlier("read_file").splitlines()[1:] if "," in line]
    return len(rows), sum("" in row.split(",") for row in rows)


EXPLOIT = (_exploit_search, _exploit_read, _exploit_refused)
IMPORT = (_import_read, _import_write, _import_stop)
