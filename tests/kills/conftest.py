from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.whole.places import Place


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with Place.of_its_own() as made:
        yield made
