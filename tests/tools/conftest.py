"""One agent in an empty workspace, and a place outside of it that nobody may reach."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from skep.tools.base import ToolResult
from tests.tools.seat import Seat

Use = Callable[..., Awaitable[ToolResult]]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("the secret\n")
    return folder


@pytest.fixture
def seat(workspace: Path) -> Seat:
    return Seat(workspace)


@pytest.fixture
def use(seat: Seat) -> Use:
    async def call(tool: str, **args: object) -> ToolResult:
        return await seat.call(tool, json.dumps(args))

    return call
