"""The room: its rows, its keys, its pictures."""
