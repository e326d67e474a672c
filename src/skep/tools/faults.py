"""The error of a call to a tool; of its own module, because the searching process needs nothing else."""

from __future__ import annotations

from skep.errors import SkepError


class ToolFault(SkepError):
    """A call that cannot be carried out. The model reads it and may try again; ``where`` names the field."""
