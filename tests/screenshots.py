"""Make ``screenshots/``: the real room over a recorded swarm, and over the demo as it runs.

``python -m tests.screenshots``; it takes about a minute, most of it the demo's.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from skep.clock import SystemClock
from skep.config import RoomConfig
from skep.control.client import SocketLink
from skep.control.verbs import Stop
from skep.model.states import State
from skep.model.swarm import SwarmState
from skep.room.app import RoomApp
from skep.simulator.demo import HANGING
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
TOLD = 1.5
"""Seconds within which a room has its keys and its tail: both are told once a second."""
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


@dataclass(frozen=True)
class Scene:
    """A picture of the demo: taken once so many agents are done, with the cursor on this one."""

    name: str
    columns: int
    rows: int
    done: int
    agent: str
    keys: Sequence[str] = ()
    theme: str = "skep-dark"


SCENES = (
    Scene("demo-160x48", 160, 48, 20, "load-search"),
    Scene("demo-120x36", 120, 36, 18, "docs-cart"),
    Scene("demo-80x24", 80, 24, 20, "docs-cart"),
    Scene("demo-keys-80x24", 80, 24, 22, "docs-cart", keys=("3",)),
    Scene("demo-light-160x48", 160, 48, 30, "load-search", theme="skep-light"),
    Scene("demo-hanging-160x48", 160, 48, 66, HANGING),
    Scene("demo-stop-120x36", 120, 36, 66, HANGING, keys=("X",)),
)


async def play_the_demo() -> None:
    """Run the demo, take its pictures on the way, and end it."""
    with tempfile.TemporaryDirectory(prefix="skep-") as scratch:
        env = os.environ | {"SKEP_STATE_DIR": f"{scratch}/state", "SKEP_CONFIG_DIR": f"{scratch}/config"}
        folder = Path(scratch, "state", "swarms", _launch_demo(env))
        link = await SocketLink.connect(folder, client="screenshots", clock=SystemClock())
        for one in SCENES:
            await link.until(_done(one.done))
            print(await photograph(one, link))
        await link.call(Stop(agent="root", branch=True, how="kill"))
        await link.until(lambda state: state.status is not None)
        await link.close()


def _launch_demo(env: dict[str, str]) -> str:
    launch = [sys.executable, "-m", "skep", "demo", "--detach", "--seed", "5", "--speed", "3"]
    return subprocess.run(launch, env=env, check=True, capture_output=True, text=True).stdout.strip()


def _done(count: int) -> Callable[[SwarmState], bool]:
    return lambda state: sum(agent.state is State.DONE for agent in state.agents.values()) >= count


async def photograph(one: Scene, link: SocketLink) -> Path:
    """One picture of a swarm that runs."""
    room = RoomApp(link, SystemClock(), config=RoomConfig(theme=one.theme))
    async with room.run_test(size=(one.columns, one.rows)) as pilot:
        await pilot.press("slash", *one.agent, "enter", "G", "escape")
        await pilot.pause(TOLD)
        await pilot.press(*one.keys)
        await pilot.pause(TOLD)
        return _write(one.name, room.export_screenshot(title="skep demo"))


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
    return _write(shot.name, picture)


def _write(name: str, picture: str) -> Path:
    path = FOLDER / f"{name}.svg"
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
    await play_the_demo()


if __name__ == "__main__":
    asyncio.run(main())
