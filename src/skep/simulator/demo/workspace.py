"""Writes the small project that the demo's agents read, search, test and mend: a web shop of ten services."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from skep.simulator.demo.shop import Service, services

LOAD_TEST = "tools/load_test.py"
"""The program of the load tests, below the workspace."""

LEGACY = {
    "customers": ("id", "name", "mail", "since"),
    "orders": ("id", "customer", "total", "day"),
    "products": ("id", "title", "price", "stock"),
    "stock": ("product", "warehouse", "pieces", "counted"),
    "vouchers": ("code", "customer", "value", "until"),
}
"""Tables of the old shop and their columns; each is a CSV file in `legacy/`."""


def make_workspace(folder: Path, seed: int) -> None:
    """Write the shop into a folder, which is made if need be; the same seed writes the same files."""
    for path, text in files(seed):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def files(seed: int) -> Iterator[tuple[str, str]]:
    """Yield all files of the shop: where each lies below the workspace, and its text."""
    shop = services(seed)
    yield "README.md", _README.format(rows="\n".join(f"- `{s.folder}`: {s.purpose}" for s in shop))
    yield "CHANGELOG.md", _CHANGELOG
    yield "docs/release.md", _CHECKLIST
    yield "docs/architecture.md", _ARCHITECTURE
    yield "docs/style.md", _STYLE
    yield "docs/runbook.md", _RUNBOOK.format(rows="\n".join(f"| {s.name} | {_owner(s)} |" for s in shop))
    yield "config/shop.toml", _config(shop)
    yield LOAD_TEST, _LOAD_TEST
    for service in shop:
        yield from _service(service)
    for table, columns in LEGACY.items():
        yield f"legacy/{table}.csv", _table(seed, table, columns)


def _service(service: Service) -> Iterator[tuple[str, str]]:
    modules = "\n".join(f"- `{kind.stem}`: {kind.purpose}" for kind in service.kinds)
    yield f"{service.folder}/README.md", f"# {service.name}\n\n{service.purpose.capitalize()}.\n\n{modules}\n"
    yield f"{service.folder}/OWNERS", f"{_owner(service)}\n"
    yield f"{service.folder}/{service.name}/__init__.py", f'"""{service.purpose.capitalize()}."""\n'
    yield f"{service.folder}/tests/__init__.py", ""
    for kind in service.kinds:
        yield service.path(kind), service.source(kind)
        yield service.test_path(kind), service.tests(kind)


def _owner(service: Service) -> str:
    return f"team-{service.thing}"


def _config(shop: tuple[Service, ...]) -> str:
    tables = [
        f'[{service.name}]\nurl = "{"http" if place % 4 == 1 else "https"}://{service.name}.shop.example/v2"\n'
        f"timeout = {2 + place % 3}\nretries = {place % 2 + 1}\n"
        for place, service in enumerate(shop)
    ]
    return "\n".join(['secret = "change-me-before-release"\ndebug = true\n', *tables])


def _table(seed: int, table: str, columns: tuple[str, ...]) -> str:
    dice = random.Random(f"legacy {table} {seed}")
    rows = [",".join(columns)]
    for number in range(1, 41):
        cells = [f"{number:04d}", *(_cell(dice, column) for column in columns[1:])]
        rows.append(",".join(cells))
    return "\n".join(rows) + "\n"


def _cell(dice: random.Random, column: str) -> str:
    if dice.random() < 0.06:
        return ""
    day = f"20{dice.randint(11, 24)}-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}"
    made = {
        "name": dice.choice(["Ana Lopes", "Bo Lind", "Cora Weiss", "Dan Okoro", "Eva Novak", "Finn Maher"]),
        "mail": f"{dice.choice(['ana', 'bo', 'cora', 'dan', 'eva'])}{dice.randint(1, 99)}@example.org",
        "title": dice.choice(["Green tea", "Oak tray", "Wool socks", "Desk lamp", "Rye flour"]),
        "warehouse": dice.choice(["north", "south", "harbour"]),
    }
    if column in made:
        return made[column]
    return day if column in {"since", "day", "counted", "until"} else str(dice.randint(1, 19999))


_README = """# The shop

A web shop of ten services in plain Python; nothing to install.

{rows}

Tests of a service: `cd services/cart && python3 -B -m unittest -q`. How we release: `docs/release.md`.
"""

_CHANGELOG = """# Changes

## 4.2 (not released)

- Rebates count from their minimum on.
- Pages start at 1 everywhere.
- The old shop's data can be imported (`legacy/`).

## 4.1

- Every service has limits of its own.
"""

_CHECKLIST = """# Before a release

1. Every service was reviewed, one module at least.
2. All tests pass; what fails is mended or named.
3. Notes left in the code are counted, and the worst have a plan.
4. The docs of each service say what its modules do.
5. Secrets, plain http and weak checks are looked for.
6. Search and checkout hold a load test of their own.
7. The import of the old shop's data was tried.
8. RELEASE.md says what was done and what is left.
"""

_ARCHITECTURE = """# How it hangs together

Customers come in by catalog and search, fill a cart, and leave by checkout, which asks payments and orders.
Inventory and shipping follow an order to the door; notify tells the customer. Accounts stands beside them all.

No service reads the data of another: they call each other's public functions.
"""

_STYLE = """# How we write

Functions are small, names are whole words, each public one has a sentence that says what it returns. Time and
chance are handed in, never taken. A fault is named where it is found.
"""

_RUNBOOK = """# When it burns

| service | ask |
| --- | --- |
{rows}

First look at the limits, then at the cache, then at the last change.
"""

_LOAD_TEST = '''"""Loads a service's modules anew, over and over, and prints how it goes.

    python3 -B tools/load_test.py SERVICE --seconds 20 --rounds 10
"""

import argparse
import importlib
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the load test that the command line asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("service")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    home = Path(__file__).parents[1] / "services" / asked.service
    sys.path.insert(0, str(home))
    names = sorted(path.stem for path in (home / asked.service).glob("[a-z]*.py"))
    print(f"load test of {asked.service}: {len(names)} modules, {asked.rounds} rounds", flush=True)
    loads, worst = 0, 0.0
    for number in range(1, asked.rounds + 1):
        time.sleep(asked.seconds / asked.rounds)
        began = time.perf_counter()
        for name in names:
            importlib.reload(importlib.import_module(f"{asked.service}.{name}"))
            loads += 1
        worst = max(worst, time.perf_counter() - began)
        print(f"round {number:2d} of {asked.rounds}: {loads} loads, no error", flush=True)
    print(f"held: {loads} loads, 0 errors, worst round {worst * 1000:.0f} ms")


if __name__ == "__main__":
    main()
'''
