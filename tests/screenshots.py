"""Make ``screenshots/`` from the real room over a recorded swarm: ``python -m tests.screenshots``."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skep.config import RoomConfig
from skep.room.app import RoomApp
from tests.room.scenes import SceneLink, scene, scene_clock

FOLDER = Path(__file__).parent.parent / "screenshots"
FONT = "DejaVu Sans Mono, Menlo, Consolas, monospace"
FONT_FACE = re.compile(r"\s*@font-face \{.*?\n\s*\}\n", re.DOTALL)

TAILS = {
    "unit-pdf": (
        "============================= test session starts ==============================",
        "platform linux, python 3.11.7, pytest 8.4.2",
        "collected 126 items",
        "",
        "tests/unit-pdf/test_fonts.py ............................                [ 22%]",
        "tests/unit-pdf/test_layout.py .....................................      [ 51%]",
        "tests/unit-pdf/test_pages.py ....................                        [ 67%]",
        "tests/unit-pdf/test_total.py ......F....                                 [ 76%]",
    ),
}
TO_UNIT_PDF = ("j",) * 5


@dataclass(frozen=True)
class Shot:
    """One picture: its name, the size of the terminal, how many agents, and the keys pressed before it."""

    name: str
    columns: int
    rows: int
    agents: int = 40
    keys: Sequence[str] = ()
    theme: str = "skep-dark"


SHOTS = (
    Shot("room-160x48", 160, 48, keys=TO_UNIT_PDF),
    Shot("room-120x36", 120, 36, keys=TO_UNIT_PDF),
    Shot("room-80x24", 80, 24),
    Shot("room-light-160x48", 160, 48, keys=TO_UNIT_PDF, theme="skep-light"),
    Shot("stop-120x36", 120, 36, keys=("X",)),
    Shot("find-120x36", 120, 36, keys=("/", "s", ":", "f", "a", "i", "l", "e", "d", "enter")),
    Shot("help-120x36", 120, 36, keys=("question_mark",)),
    Shot("ten-thousand-160x48", 160, 48, agents=10_000),
)


async def take(shot: Shot) -> Path:
    """Drive the room to the picture and write it; returns the file."""
    clock = scene_clock()
    link = SceneLink(scene(shot.agents), TAILS, clock=clock)
    room = RoomApp(link, clock, config=RoomConfig(theme=shot.theme))
    async with room.run_test(size=(shot.columns, shot.rows)) as pilot:
        await pilot.pause()
        await pilot.press(*shot.keys)
        # Output is asked for once the cursor has rested for a tick: ticks of our own, not as the machine has time.
        for _ in range(3):
            room.tick()
            await pilot.pause()
        picture = room.export_screenshot(title="skep")
    path = FOLDER / f"{shot.name}.svg"
    # Fonts that nobody fetches: the picture looks the same off line.
    picture = FONT_FACE.sub("\n", picture).replace("Fira Code", FONT)
    path.write_text(picture)
    return path


async def main() -> None:
    """Make every picture anew."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.svg"):
        old.unlink()
    for shot in SHOTS:
        print(await take(shot))


if __name__ == "__main__":
    asyncio.run(main())
