"""The program: ``skep``, and ``python -m skep``."""

from __future__ import annotations

import sys


def main() -> None:
    """Load the command line and run it; Ctrl-C ends it quietly, also while it is being loaded."""
    try:
        from skep.cli.app import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
