"""The control room: a terminal program that shows a registry and sends verbs; it never sees the engine."""
