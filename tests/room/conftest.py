from __future__ import annotations

from tests.engine.conftest import hive, make_hive

__all__ = ["hive", "make_hive"]
