"""Print every figure: ``python -m tests.bench``, or some: ``python -m tests.bench commands journal``."""

from __future__ import annotations

import argparse
import os
import platform

PARTS = ["commands", "stops", "chat", "memory", "room", "clients", "journal", "recovery"]


def main() -> None:
    """Run the parts asked for, one after the other, so that none disturbs another."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument("--quick", action="store_true", help="smaller counts, to see that it works")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    if "commands" in options.parts:
        from tests.bench import commands

        commands.run((100,) if options.quick else (100, 1_000, 5_000))
    if "stops" in options.parts:
        from tests.bench import stops

        stops.run((25,) if options.quick else (50, 200))
    if "chat" in options.parts:
        from tests.bench import chat

        chat.run((10, 100) if options.quick else (10, 200, 1_000))
    if "memory" in options.parts:
        from tests.bench import memory

        memory.run((1, 1_000) if options.quick else (1, 10_000))
    if "room" in options.parts:
        from tests.bench import room

        room.run(quick=options.quick)
    if "clients" in options.parts:
        from tests.bench import clients

        clients.run(quick=options.quick)
    if "journal" in options.parts and not options.quick:
        from tests.bench import journal

        journal.run()
    if "recovery" in options.parts:
        from tests.bench import recovery

        recovery.run(quick=options.quick)


if __name__ == "__main__":
    main()
