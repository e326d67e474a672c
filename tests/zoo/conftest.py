"""An engine on the real clock, with short graces, and a zoo that is empty at the end whatever has failed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count

import pytest

from skep.clock import SystemClock
from skep.warden.client import Warden
from tests.chat.conftest import ChatHive, MakeChatHive
from tests.chat.conftest import chat_stack as chat_stack
from tests.chat.conftest import make_chat_hive as make_chat_hive
from tests.engine.conftest import MakePipe
from tests.engine.conftest import make_hive as make_hive
from tests.engine.conftest import pipe as pipe
from tests.zoo.keeping import Zoo
from tests.zoo.trees import Tree

MakeZoo = Callable[[Sequence[Tree]], Zoo]
MakeKeeper = Callable[..., Awaitable[ChatHive]]

GRACE = 0.4
TERM_GRACE = 0.4


@pytest.fixture
def make_zoo(pipe: MakePipe) -> Iterator[MakeZoo]:
    made: list[Zoo] = []
    numbers = count()

    def make(trees: Sequence[Tree]) -> Zoo:
        made.append(Zoo(trees, pipe(f"said-{next(numbers)}")))
        return made[-1]

    yield make
    left = [one.survivors(one.trees) for one in made]
    for one in made:
        one.release()
    assert not any(left), f"the test is over, and these live: {left}"


@pytest.fixture
def make_keeper(make_chat_hive: MakeChatHive) -> MakeKeeper:
    async def make(*, warden: type[Warden] = Warden) -> ChatHive:
        return await make_chat_hive(grace=GRACE, term_grace=TERM_GRACE, clock=SystemClock, warden=warden)

    return make
