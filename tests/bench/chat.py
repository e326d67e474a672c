"""What a chat agent costs, beside bare httpx that makes the same requests in the same run."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.bench.chatting import TURNS
from tests.bench.table import percentile, table


def run(counts: Sequence[int]) -> None:
    """Print the figures for swarms of so many agents, all of them at once."""
    rows = []
    closing = []
    with _simulator() as base_url:
        for count in counts:
            floor, _ = _measured("bare", "work", count, base_url)
            ours, ledger = _measured("skep", "work", count, base_url)
            first = ledger["first_request_at"] - ours["begun_at"]
            rows.append(
                (
                    f"{count:,}",
                    f"{floor['cpu'] / count * 1e3:.2f}",
                    f"{ours['cpu'] / count * 1e3:.2f}",
                    f"{ours['cpu'] / floor['cpu']:.2f}",
                    f"{floor['wall'] / count * 1e3:.2f}",
                    f"{ours['wall'] / count * 1e3:.2f}",
                    f"{first * 1e3:.0f}",
                )
            )
        lone = {who: _measured(who, "hang", 1, base_url)[0]["private"] for who in ("bare", "skep")}
        for count in counts:
            floor, floor_ledger = _measured("bare", "hang", count, base_url)
            ours, ledger = _measured("skep", "hang", count, base_url)
            closing.append(
                (
                    f"{count:,}",
                    *(
                        f"{(told['private'] - lone[who]) / max(1, count - 1) / 1024:.1f}"
                        for who, told in (("bare", floor), ("skep", ours))
                    ),
                    *(_after(floor, floor_ledger, percent) for percent in (50, 99)),
                    *(_after(ours, ledger, percent) for percent in (50, 99)),
                    f"{ledger['open']}",
                )
            )
    table(
        f"Chat agents of {TURNS} turns each, all at once, journal on; milliseconds per agent. Aim: CPU at most "
        "3 x bare httpx, first request within 100 ms.",
        ("agents", "httpx CPU", "skep CPU", "ratio", "httpx wall", "skep wall", "first request, ms"),
        rows,
    )
    table(
        "The same number of streams, half of them silent and half trickling: private memory per agent, KiB, "
        "and milliseconds from the stop of all of them until the server saw a connection close. Aim: less than "
        "100 KiB over httpx, p99 below 50 ms at 200 agents.",
        (
            "agents",
            "httpx KiB",
            "skep KiB",
            "httpx p50",
            "httpx p99",
            "skep p50",
            "skep p99",
            "still open",
        ),
        closing,
    )


def _after(told: dict[str, float], ledger: dict[str, object], percent: float) -> str:
    closings = ledger["closings"]
    assert isinstance(closings, list)
    waits = [one["at"] - told["stopped_at"] for one in closings if one["answering"]]
    return f"{percentile(waits, percent) * 1e3:.0f}"


def _measured(who: str, kind: str, count: int, base_url: str) -> tuple[dict[str, float], dict[str, object]]:
    admin = base_url.removesuffix("/v1") + "/simulator"
    urllib.request.urlopen(urllib.request.Request(f"{admin}/reset", method="POST")).close()
    command = [sys.executable, "-m", "tests.bench.chatting", who, kind, str(count), base_url]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    with urllib.request.urlopen(f"{admin}/ledger") as answer:
        return json.loads(done.stdout), json.load(answer)


@contextmanager
def _simulator() -> Iterator[str]:
    command = [sys.executable, "-m", "skep.simulator", "--port", "0", "--lifeline"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield str(json.loads(process.stdout.readline())["base_url"])
        process.stdin.close()
