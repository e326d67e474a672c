"""What a guard is told to run, and its form on the wire: byte strings, so that names need not be UTF-8."""

from __future__ import annotations

# Neither an argument, a path nor a variable can hold a NUL, which makes it the separator that needs no escape.


_BARE = b"!"


class Order:
    """One command: its arguments, its folder (an absolute path) and its environment.

    That is what it adds to the base environment, or if it is ``bare``, the whole of it.
    """

    __slots__ = ("argv", "bare", "cwd", "env")

    def __init__(self, argv: list[bytes], cwd: bytes, env: dict[bytes, bytes], *, bare: bool = False) -> None:
        self.argv = argv
        self.cwd = cwd
        self.env = env
        self.bare = bare

    def pack(self) -> bytes:
        """Bytes for a RUN frame."""
        head = b"%d%b" % (len(self.argv), _BARE if self.bare else b"")
        return b"\0".join([head, self.cwd, *self.argv, *pairs(self.env)])

    @classmethod
    def unpack(cls, payload: bytes) -> Order:
        """The inverse of `pack`."""
        head, cwd, *rest = payload.split(b"\0")
        size = int(head.removesuffix(_BARE))
        return cls(rest[:size], cwd, mapping(rest[size:]), bare=head.endswith(_BARE))


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
