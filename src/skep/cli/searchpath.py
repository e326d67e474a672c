"""Where another Python that is started from here finds the modules that this one has found."""

from __future__ import annotations

import os
from collections.abc import Mapping


def search_path(env: Mapping[str, str]) -> dict[str, str]:
    """The variable for a Python that runs in ``/``: a relative search path would mean another folder there."""
    searched = env.get("PYTHONPATH")
    if not searched:
        return {}
    return {"PYTHONPATH": os.pathsep.join(os.path.abspath(part) for part in searched.split(os.pathsep))}
