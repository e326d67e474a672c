"""The reports of children become one JSON text for their parent's model, however many they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from skep.model.children import ChildReport, ToolTrace, group_status
from skep.model.events import Json
from skep.tools.capping import RESULT_LIMIT


@dataclass(frozen=True, slots=True)
class _Room:
    """How much of each report is told."""

    text: int
    """Characters of a summary, and of an error."""
    items: int
    """Tool calls, and files of each kind."""
    whole: bool = True
    """Whether fields without a value are told too."""


_ROOMS = (_Room(8_000, 100), _Room(4_000, 40), _Room(1_500, 10), _Room(500, 3), _Room(120, 0, whole=False))
"""From generous to tight: the first is taken in which all fit."""


def result_text(reports: Sequence[ChildReport]) -> str:
    """One entry for each child, in the order asked; ``status`` is the worst of them. At most 64 KiB.

    A long summary is cut to head and tail and says where its whole is; what else is missing is counted as
    ``left_out``. Of so many children that not even short entries fit, those in the middle are ``omitted``.
    """
    status = str(group_status(tuple(reports)))
    entries: list[Json] = []
    for room in _ROOMS:
        entries = [_entry(report, room) for report in reports]
        text = _text(status, entries)
        if len(text.encode()) <= RESULT_LIMIT:
            return text
    kept = len(entries)
    while len(text.encode()) > RESULT_LIMIT:
        kept = kept * 3 // 4
        head, tail = entries[: kept - kept // 2], entries[len(entries) - kept // 2 :]
        text = _text(status, [*head, {"omitted": len(entries) - len(head) - len(tail)}, *tail])
    return text


def children_in_lines(text: str) -> str:
    """What :func:`result_text` made, for people: one line for each child. Any other text is given back."""
    try:
        entries = json.loads(text)["results"]
        return "\n".join(_line(entry) for entry in entries)
    except (ValueError, TypeError, KeyError, AttributeError):
        return text


def _line(entry: dict[str, Json]) -> str:
    if "omitted" in entry:
        return f"… {entry['omitted']} more"
    said = str(entry.get("summary") or entry.get("error") or "").strip().partition("\n")[0]
    return f"{entry['status']}  {entry.get('name') or entry['session']}: {said}"


def _text(status: str, entries: list[Json]) -> str:
    body = {"status": status, "results": entries}
    # What cannot be written in UTF-8 (half a surrogate pair) becomes a question mark.
    return json.dumps(body, ensure_ascii=False).encode(errors="replace").decode()


def _entry(report: ChildReport, room: _Room) -> Json:
    entry: dict[str, Json] = {
        "name": report.name or None,
        "status": str(report.status),
        "summary": _cut(report.summary, room.text, report.full),
        "error": _cut(report.error, room.text, None) if report.error is not None else None,
        "turns": report.turns,
        "tokens_in": report.tokens_in,
        "tokens_out": report.tokens_out,
        "cost_usd": report.cost / 1_000_000 if report.cost is not None else None,
        "seconds": round(report.seconds, 1),
        "model": report.model,
        "key": report.key,
        "exit_reason": report.exit_reason,
        "session": report.session,
    }
    left_out: dict[str, Json] = {}
    lists: dict[str, list[Json]] = {
        "tools": [_call(call) for call in report.trace],
        "files_read": list(report.files_read),
        "files_written": list(report.files_written),
    }
    for name, items in lists.items():
        entry[name] = items[max(0, len(items) - room.items) :]  # the newest say most
        if len(items) > room.items:
            left_out[name] = len(items) - room.items
    if left_out:
        entry["left_out"] = left_out
    if room.whole:
        return entry
    return {name: value for name, value in entry.items() if value and name not in ("model", "key")}


def _call(call: ToolTrace) -> Json:
    return {"name": call.name, "ok": call.ok, "chars": call.chars}


def _cut(text: str, most: int, full: str | None) -> str:
    if len(text) <= most:
        return text
    tail = most // 3
    where = f"; the whole is in {full}" if full else ""
    return f"{text[: most - tail]}\n[… {len(text) - most:,} characters are cut here{where} …]\n{text[-tail:]}"
