"""Registry, gate, line and stops against a model that counts by hand, over generated histories."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from skep.errors import IllegalTransition
from skep.model.swarm import SwarmState
from tests.model import mutants
from tests.model.histories import Histories

STEPS = 40_000
PARTS = 4
"""So many parts can run beside each other."""


def _run(machine: type[Histories], examples: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            database=None,
            print_blob=False,
            report_multiple_bugs=False,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


def _steps(at_least: int) -> int:
    """Run histories until they have taken so many steps; how many it were."""
    machine = type("ManyHistories", (Histories,), {})
    while machine.steps < at_least:
        _run(machine, 20)
    return machine.steps


@pytest.mark.parametrize("part", range(PARTS))
def test_in_forty_thousand_steps_any_history_is_as_counted_by_hand(part: int):
    assert _steps(STEPS // PARTS) >= STEPS // PARTS == 10_000


@pytest.mark.full
@pytest.mark.parametrize("part", range(10 * PARTS))
def test_in_four_hundred_thousand_steps_any_history_is_as_counted_by_hand(part: int):
    assert _steps(STEPS // PARTS) >= STEPS // PARTS == 10_000


@pytest.mark.parametrize("mutant", mutants.RULES)
def test_the_comparison_catches(mutant: type[SwarmState]):
    machine = type(f"Histories{mutant.__name__}", (Histories,), {"make": mutant})
    with pytest.raises((AssertionError, IllegalTransition, pytest.fail.Exception)):
        _run(machine, 2_000, [Phase.generate])
