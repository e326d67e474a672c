"""The ways in which an answer goes wrong: one function for each kind, and the table that names them all.

To add one: a member of `FaultKind`, a function here with its line in `PLAYERS`, and a key of a step in `script`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from skep.simulator.behaviour import Fault, FaultKind
from skep.simulator.delivery import Delivery
from skep.simulator.ledger import Outcome
from skep.simulator.limits import retry_after
from skep.simulator.openai import DONE, KEEP_ALIVE
from skep.simulator.refusals import Refusal, error_body

Player = Callable[[Delivery, Fault], Awaitable[Outcome]]

_SHORTEST = 0.001
"""Seconds between two comments at least: a simulator that only floods cannot serve anybody else."""


async def play(delivery: Delivery, fault: Fault) -> Outcome:
    """Let a delivery go wrong.

    Raises: Refusal where an HTTP error is what is to come instead.
    """
    return await PLAYERS[fault.kind](delivery, fault)


async def _status(delivery: Delivery, fault: Fault) -> Outcome:
    await delivery.pacer.sleep(delivery.pace.first_token)
    wait = retry_after(fault.retry_after) if fault.retry_after is not None else {}
    code = "rate_limit_exceeded" if fault.status == 429 else None
    raise Refusal(fault.status, fault.message or f"simulated {fault.status}", code=code, headers=wait)


async def _hang(delivery: Delivery, fault: Fault) -> Outcome:
    await delivery.exchange.forever()
    return Outcome.FAILED


async def _silent(delivery: Delivery, fault: Fault) -> Outcome:
    await delivery.begin()
    await delivery.pour(fault.characters)
    await delivery.exchange.forever()
    return Outcome.FAILED


async def _keepalive(delivery: Delivery, fault: Fault) -> Outcome:
    await delivery.begin()
    await delivery.pour(fault.characters)
    while True:
        await delivery.exchange.write(KEEP_ALIVE if delivery.stream else b"\n")
        await delivery.pacer.sleep(max(_SHORTEST, fault.seconds))


async def _trickle(delivery: Delivery, fault: Fault) -> Outcome:
    delivery.pace = replace(delivery.pace, rate=1 / fault.seconds if fault.seconds > 0 else 0.0)
    await delivery.whole()
    return Outcome.COMPLETED


async def _cut(delivery: Delivery, fault: Fault) -> Outcome:
    await _half_an_event(delivery, fault)
    delivery.exchange.close()
    return Outcome.FAILED


async def _cut_unframed(delivery: Delivery, fault: Fault) -> Outcome:
    await _half_an_event(delivery, fault, framed=False)
    delivery.exchange.close()
    return Outcome.FAILED


async def _reset(delivery: Delivery, fault: Fault) -> Outcome:
    await _half_an_event(delivery, fault)
    delivery.exchange.reset()
    return Outcome.FAILED


async def _half_an_event(delivery: Delivery, fault: Fault, *, framed: bool = True) -> None:
    await delivery.begin(framed=framed)
    await delivery.pour(fault.characters)
    upcoming = delivery.upcoming()
    await delivery.exchange.write(upcoming[: len(upcoming) // 2])


async def _in_band_error(delivery: Delivery, fault: Fault) -> Outcome:
    await delivery.begin()
    await delivery.pour()
    error = error_body(fault.message or "simulated failure in the stream", "server_error")
    await delivery.exchange.finish(b"data: " + error + b"\n\n" + DONE if delivery.stream else error)
    return Outcome.FAILED


async def _garbage(delivery: Delivery, fault: Fault) -> Outcome:
    await delivery.begin()
    await delivery.pour(fault.characters)
    line = (fault.message or '{"choices": [{"delta": ').encode("utf-8", "replace")
    await delivery.exchange.write(b"data: " + line + b"\n\n" if delivery.stream else line)
    await delivery.pour()
    await delivery.exchange.finish(delivery.completion.finishing() + DONE if delivery.stream else b"")
    return Outcome.FAILED


async def _no_finish(delivery: Delivery, fault: Fault) -> Outcome:
    await delivery.begin()
    await delivery.pour()
    await delivery.exchange.finish(DONE if delivery.stream else b"{}")
    return Outcome.FAILED


PLAYERS: Mapping[FaultKind, Player] = {
    FaultKind.STATUS: _status,
    FaultKind.HANG: _hang,
    FaultKind.SILENT: _silent,
    FaultKind.KEEPALIVE: _keepalive,
    FaultKind.TRICKLE: _trickle,
    FaultKind.CUT: _cut,
    FaultKind.CUT_UNFRAMED: _cut_unframed,
    FaultKind.RESET: _reset,
    FaultKind.IN_BAND_ERROR: _in_band_error,
    FaultKind.GARBAGE: _garbage,
    FaultKind.NO_FINISH: _no_finish,
}
