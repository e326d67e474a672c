"""The folders that a new swarm needs: checked, made last of all, and taken away again if the start fails."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from skep.control.swarms import describe
from skep.errors import Refused, SkepError, Unreachable
from skep.model.launch import Launch
from skep.paths import (
    check_socket_path,
    check_writable,
    file_error,
    private_dir,
    refuse_network_filesystem,
    socket_path,
    swarms_dir,
)


@contextlib.contextmanager
def made_for(launch: Launch, log_dir: Path | None, env: Mapping[str, str], now: float) -> Iterator[Path]:
    """The new swarm's folder, and that of its logs; gone again if what is done with it raises.

    ``now`` is the moment of its creation in epoch seconds.

    Raises ``BadInput`` or ``NoSpace`` if a folder cannot be made or written, or its socket's path is too long.
    """
    swarms = swarms_dir(env)
    folder = swarms / launch.swarm
    check_socket_path(socket_path(folder))
    refuse_network_filesystem(folder)
    if log_dir is not None:
        _make_log_dir(log_dir)
    private_dir(swarms)
    check_writable(swarms)
    if folder.exists():
        raise Refused(f"there is a swarm {launch.swarm} already", where=str(folder), mend="run it again")
    private_dir(folder)
    try:
        describe(folder, launch.swarm, launch.name, now, launch.cwd)
        if log_dir is not None:
            _remove_old_logs(launch)
        yield folder
    except Unreachable:
        raise  # the engine's last words are in there
    except SkepError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _make_log_dir(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_error(error, folder, "cannot make the folder of --log-dir") from error
    check_writable(folder)


def _remove_old_logs(launch: Launch) -> None:
    for agent in launch.agents:
        if agent.log is not None:
            # Output is added to a log; what an earlier run left there would look like this one's.
            _remove(Path(agent.log))


def _remove(log: Path) -> None:
    try:
        log.unlink(missing_ok=True)
    except OSError as error:
        raise file_error(error, log, "cannot replace the log") from error
