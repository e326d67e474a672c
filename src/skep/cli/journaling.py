"""The journal of a swarm, one event a line."""

from __future__ import annotations

import asyncio
import json as json_text
import sys
import time
from collections.abc import AsyncIterator

from skep.cli.addresses import whole_swarm
from skep.cli.links import AnyLink, engine_died, opened
from skep.cli.printing import document, say
from skep.clock import SystemClock
from skep.control.swarms import SwarmFolder
from skep.errors import Unreachable
from skep.model.codec import public
from skep.model.events import Record, SwarmEnded
from skep.text import clean_line

_PAGE = 1_000
_SHOWN_TEXT = 200
_LEADING = ("seq", "time", "kind", "agent")


def print_events(swarm: str | None, after: int, *, json: bool, follow: bool) -> None:
    """Print the events after this number; with ``follow`` also those to come, until the swarm has ended."""
    asyncio.run(_print_events(whole_swarm(swarm), after, json, follow))


async def _print_events(swarm: SwarmFolder, after: int, json: bool, follow: bool) -> None:
    async with opened(swarm.folder, SystemClock(), read_only=True, once=not follow) as link:
        records = link.events(after) if follow else _so_far(link, after)
        try:
            async for record in records:
                if json:
                    document(public(record))
                else:
                    say(_line(record))
                if follow:
                    sys.stdout.flush()
                    if isinstance(record.event, SwarmEnded):
                        return
        except Unreachable as error:
            raise engine_died(swarm.id) from error
        damage = link.state.damage
        if damage is not None:
            raise damage.error  # after all that is sound, so that it ends with what is not there, and with exit 2


async def _so_far(link: AnyLink, after: int) -> AsyncIterator[Record]:
    last = link.registry.seq
    while after < last and (records := await link.records(after, _PAGE)):
        for record in records:
            yield record
        after = records[-1].seq


def _line(record: Record) -> str:
    """``12  10:41:07  agent_ended  a3  state=failed exit_code=1``."""
    body = public(record)
    moment = time.strftime("%H:%M:%S", time.localtime(record.time))
    rest = " ".join(
        f"{key}={value if isinstance(value, str) else json_text.dumps(value, ensure_ascii=False)}"
        for key, value in body.items()
        if key not in _LEADING and value not in (None, "", [], {})
    )
    start = f"{record.seq:>6}  {moment}  {record.event.kind:<15}  {body['agent'] or '':<6}"
    return f"{start}  {clean_line(rest, limit=_SHOWN_TEXT)}".rstrip()
