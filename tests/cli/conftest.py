from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.shells import Shell


@pytest.fixture
def shell() -> Iterator[Shell]:
    # Not pytest's own folder: its name is too long for the path of a socket.
    home = Path(tempfile.mkdtemp(prefix="skep-"))
    state, config, project = home / "s", home / "c", home / "p"
    for folder in (state, config, project):
        folder.mkdir(mode=0o700)
    env = {key: value for key, value in os.environ.items() if not key.startswith("SKEP_")}
    source = str(Path(__file__).parents[2] / "src")
    env |= {
        "SKEP_STATE_DIR": str(state),
        "SKEP_CONFIG_DIR": str(config),
        "HOME": str(home),
        "PYTHONPATH": os.pathsep.join(filter(None, (source, env.get("PYTHONPATH")))),
    }
    made = Shell(state, project, env)
    yield made
    for pid in made.engines():
        os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # of another process that started it
            os.waitpid(pid, 0)
    shutil.rmtree(home, ignore_errors=True)
