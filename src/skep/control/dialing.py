"""Reaching the engine of a swarm: its socket, and the hand-shake in which both sides say what they are."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from skep import paths
from skep.clock import Clock
from skep.control import wire
from skep.control.channel import Channel
from skep.control.conversation import Conversation
from skep.control.deadline import within
from skep.control.swarms import engine_pid
from skep.errors import BadInput, Unreachable
from skep.model.events import Json

ANSWER_SECONDS: Final = 5.0
"""How long an engine may take for the hand-shake, and to take in a frame."""

_KNOCKS_EVERY = 0.02


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself in the hand-shake."""

    protocol: int
    version: str
    swarm: str
    name: str
    pid: int
    folder: str


async def dial(folder: Path, *, client: str, read_only: bool, clock: Clock) -> tuple[Conversation, EngineInfo]:
    """Connect to the engine of the swarm in this folder and shake hands.

    Raises Unreachable if no engine answers, OtherProtocol if it does not understand this skep, Refused if it does
    not take this client.
    """
    path = paths.socket_path(folder)
    paths.check_socket_path(path)
    end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel = Channel(end, clock, ANSWER_SECONDS)
    conversation = Conversation(channel)
    hello: dict[str, Json] = {"protocol": wire.PROTOCOL, "client": client, "read_only": read_only}
    try:
        await within(clock, ANSWER_SECONDS, _knock(end, path, clock))
        answer = await within(clock, ANSWER_SECONDS, conversation.shake_hands(hello))
        return conversation, _checked(answer)
    except (OSError, TimeoutError, Unreachable) as error:
        channel.close()
        raise _unreachable(folder, error) from error
    except BadInput as error:
        channel.close()
        raise Unreachable(
            "what answers there is no engine", where=str(path), why=str(error), mend="see who listens there"
        ) from error
    except BaseException:
        channel.close()
        raise


async def _knock(end: socket.socket, path: Path, clock: Clock) -> None:
    """Connect; while more knock than an engine has taken in, that is to be tried again."""
    while True:
        try:
            end.connect(str(path))
        except BlockingIOError:
            await clock.sleep(_KNOCKS_EVERY)
        else:
            return


def _checked(answer: Json) -> EngineInfo:
    said = answer if isinstance(answer, dict) else {}
    wire.check_protocol(said.get("protocol"), wire.PROTOCOL, version=said.get("version"))
    try:
        return TypeAdapter(EngineInfo).validate_python(answer)
    except ValidationError as error:
        raise wire.bad_params(error, "the hand-shake") from error


def _unreachable(folder: Path, error: Exception) -> Unreachable:
    pid = engine_pid(folder)
    why = getattr(error, "why", None) or getattr(error, "strerror", None) or str(error) or None
    if pid is None:
        return Unreachable(
            "no engine runs this swarm",
            where=str(folder),
            why=why,
            mend="skep attach shows what it did, or takes it up again",
        )
    if isinstance(error, TimeoutError):
        why = f"no answer for {ANSWER_SECONDS:g} s"
    return Unreachable(
        f"the engine of this swarm (process {pid}) does not answer",
        where=str(folder),
        why=why,
        mend="try again; if it stays so, end that process",
    )
