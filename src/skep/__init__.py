"""skep: a control room for agent swarms, and the engine under it."""

__version__ = "0.1.0"
