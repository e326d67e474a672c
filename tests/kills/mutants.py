"""Engines with one fault each: a check that such an engine passes would be no check."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from skep.drivers.base import Driver
from skep.drivers.chat import ChatDriver
from skep.drivers.chat.calls import ToolCalls
from skep.drivers.output import Output
from skep.engine.gate import RECOVERY
from skep.engine.ledger import Decision
from skep.llm.messages import Message, ToolCall
from skep.model.events import LatchOpened
from skep.model.permits import Assignment
from skep.model.swarm import SwarmState
from tests.kills.fuse import FUSE, FUSED, FusedEngine, FusedHost, FusedJournal, FusedLedger


class HangsOnceArmed(FusedJournal):
    """No mutant but a slow disk: what comes from then on is never written."""

    def _settle(self, work: Any) -> None:
        if FUSE.is_armed:
            threading.Event().wait()
        super()._settle(work)


class AcknowledgesFirst(HangsOnceArmed):
    """Says that rows are durable before they are."""

    def _settle(self, work: Any) -> None:
        if isinstance(work, tuple | list):
            self._acknowledge(work[-1].seq)
        super()._settle(work)


class AcknowledgesFirstLedger(FusedLedger):
    journal = AcknowledgesFirst


class EffectsFirst(FusedLedger):
    """Carries effects out while what they follow from is still on its way to the disk."""

    journal = HangsOnceArmed

    def _commit(self, state: SwarmState, decision: Decision) -> None:
        effects, decision.effects = decision.effects, []
        super()._commit(state, decision)
        for effect in effects:
            self._due.put_nowait(effect)


class SlowDisk(FusedLedger):
    """The honest one on the disk of those two."""

    journal = HangsOnceArmed


class CarriesOutAgain(ToolCalls):
    """Makes every open call again, also those that change something."""

    async def settle(self, calls: Sequence[ToolCall], turn: int) -> list[Message]:
        return await self.carry_out(calls, turn)


class RunsUnknownCallsAgain(FusedHost):
    def _driver_for(self, assignment: Assignment) -> tuple[Driver, Output]:
        driver, output = super()._driver_for(assignment)
        if isinstance(driver, ChatDriver):
            driver._calls.__class__ = CarriesOutAgain
        return driver, output


class ForgetsLatches(FusedEngine):
    """Takes a swarm over and holds nothing of what was held."""

    async def recover(self, *, go: bool = False) -> None:
        await super().recover(go=go)
        with self.ledger.decide() as decision:
            for latch in list(decision.state.latches.values()):
                if latch.who != RECOVERY:
                    decision.emit(LatchOpened(latch.scope, latch.strength, "nobody"))
        await self.ledger.settle(decision.seq)


PARTS = {
    "ours": FUSED,
    "slow disk": replace(FUSED, ledger=SlowDisk),
    "acknowledges first": replace(FUSED, ledger=AcknowledgesFirstLedger),
    "effects first": replace(FUSED, ledger=EffectsFirst),
    "runs unknown calls again": replace(FUSED, host=RunsUnknownCallsAgain),
    "forgets latches": replace(FUSED, engine=ForgetsLatches),
}
