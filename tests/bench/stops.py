"""How long a tree of processes lives on after each rung of the ladder, when many are stopped at once."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from skep.clock import SystemClock
from skep.model.launch import EngineSettings
from skep.model.states import StopStep, StopVerb
from tests.bench.table import percentile, table
from tests.engine.hive import Hive, Pipe, patient
from tests.zoo.keeping import Taken, Zoo, take_down
from tests.zoo.trees import zoo

SEED = 7
GRACE = 0.5
LIMIT = 120.0
RUNGS = {StopStep.SOFT: "INT", StopStep.CANCEL: "TERM", StopStep.KILL: "KILL and sweep"}


def run(counts: Sequence[int]) -> None:
    """Print the figures for so many trees, half of them interrupted and half killed, all at once."""
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="skep-") as scratch:
            processes, taken = asyncio.run(_measure(count, Path(scratch)))
        for step, signal in RUNGS.items():
            took = [one.took * 1e3 for one in taken if one.step is step]
            if took:
                p50, p99 = percentile(took, 50), percentile(took, 99)
                rows.append((signal, f"{count:,}", f"{processes:,}", f"{len(took):,}", f"{p50:.0f}", f"{p99:.0f}"))
        over = [one.over * 1e3 for one in taken]
        p50, p99 = percentile(over, 50), percentile(over, 99)
        rows.append(
            ("  after all graces", f"{count:,}", f"{processes:,}", f"{len(over):,}", f"{p50:.0f}", f"{p99:.0f}")
        )
    table(
        "A zoo of process trees (deaf, detached, stopped, scrubbed, forking, flooding) stopped at once; graces of "
        f"{GRACE:g} s; milliseconds from the rung on which a tree ended to its verified end. Aim: p99 after all "
        "graces at most 1,000; less than nothing is before they were over.",
        ("ended by", "trees", "processes", "of them", "p50", "p99"),
        rows,
    )


async def _measure(count: int, scratch: Path) -> tuple[int, list[Taken]]:
    """Processes at the beginning, and how each tree was taken down."""
    fifo = Pipe(scratch / "said")
    kept = Zoo(zoo(SEED, count), fifo)
    settings = EngineSettings(grace=GRACE, term_grace=GRACE)
    hive = Hive(scratch / "swarm", settings=settings, clock=SystemClock)
    try:
        await hive.launch(*map(kept.ask, kept.trees), patient("keeper"), slots=count + 1)
        await kept.complete()
        verbs = {name: StopVerb.KILL if n % 2 else StopVerb.INTERRUPT for n, name in enumerate(kept.trees)}
        taken = await take_down(hive, kept, verbs.__getitem__, limit=LIMIT)
        return sum(tree.size for tree in kept.trees.values()), taken
    finally:
        await hive.close()
        kept.release()
        fifo.close()
