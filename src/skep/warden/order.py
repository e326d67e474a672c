"""What a guard is told to run, and its form on the wire: byte strings, so that names need not be UTF-8."""

from __future__ import annotations

# Neither an argument, a path nor a variable can hold a NUL, which makes it the separator that needs no escape.


class Order:
    """One command: its arguments, its folder (an absolute path) and what it adds to the base environment."""

    __slots__ = ("argv", "cwd", "env")

    def __init__(self, argv: list[bytes], cwd: bytes, env: dict[bytes, bytes]) -> None:
        self.argv = argv
        self.cwd = cwd
        self.env = env

    def pack(self) -> bytes:
        """Bytes for a RUN frame."""
        return b"\0".join([b"%d" % len(self.argv), self.cwd, *self.argv, *pairs(self.env)])

    @classmethod
    def unpack(cls, payload: bytes) -> Order:
        """The inverse of `pack`."""
        count, cwd, *rest = payload.split(b"\0")
        size = int(count)
        return cls(rest[:size], cwd, mapping(rest[size:]))


def pack_environment(env: dict[bytes, bytes]) -> bytes:
    """Bytes for a BASE frame."""
    return b"\0".join(pairs(env))


def unpack_environment(payload: bytes) -> dict[bytes, bytes]:
    """The inverse of `pack_environment`."""
    return mapping(payload.split(b"\0")) if payload else {}


def pairs(env: dict[bytes, bytes]) -> list[bytes]:
    """``NAME=value`` for each variable."""
    return [name + b"=" + value for name, value in env.items()]


def mapping(lines: list[bytes]) -> dict[bytes, bytes]:
    """Variables by name, from lines ``NAME=value``."""
    variables = {}
    for line in lines:
        name, _, value = line.partition(b"=")
        variables[name] = value
    return variables
