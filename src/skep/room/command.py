"""The ``:`` prompt: the CLI's words for what can be done from inside the room."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from skep.config import parse_duration
from skep.errors import Ambiguous, BadInput, NotFound
from skep.model.events import ROOT
from skep.model.swarm import SwarmState
from skep.text import clean_line

HERE = "."
"""Addresses the agent under the cursor."""


@dataclass(frozen=True, slots=True)
class Command:
    """A parsed line. ``address`` is empty for the whole swarm; ``text`` is what ``find`` looks for."""

    verb: str
    address: str = ""
    branch: bool = False
    reason: str = ""
    seconds: float | None = None
    text: str = ""
    turns: bool = False
    model: str = ""
    account: str = ""


@dataclass(slots=True)
class _Words:
    """What stood on the line, taken apart."""

    plain: list[str] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Grammar:
    form: str
    valued: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    most: int = 1


_GRAMMAR: dict[str, _Grammar] = {
    "pause": _Grammar(
        "pause [AGENT] [--turns] [--model M] [--account A] [--reason R] [--for 10m]",
        valued=("--reason", "--for", "--model", "--account"),
        bare=("--turns",),
    ),
    "unpause": _Grammar(
        "unpause [AGENT] [--turns] [--model M] [--account A]", valued=("--model", "--account"), bare=("--turns",)
    ),
    "resume": _Grammar("resume [AGENT]"),
    "interrupt": _Grammar("interrupt [AGENT] [--branch]", bare=("--branch",)),
    "kill": _Grammar("kill [AGENT] [--branch]", bare=("--branch",)),
    "find": _Grammar("find TEXT", most=0),
    "tail": _Grammar("tail [AGENT]"),
    "freeze": _Grammar("freeze", most=0),
    "help": _Grammar("help", most=0),
    "quit": _Grammar("quit", most=0),
}

VERBS: tuple[str, ...] = tuple(_GRAMMAR)
"""The verbs of the prompt."""

FORMS: tuple[str, ...] = tuple(grammar.form for grammar in _GRAMMAR.values())
"""How each of them is written, for the help."""


def parse(line: str) -> Command | None:
    """The command of a line; None for a blank one.

    Raises:
        BadInput: no such verb, an option that it does not have, or quotes that do not close.
    """
    verb, _, rest = line.strip().partition(" ")
    if not verb:
        return None
    if verb not in _GRAMMAR:
        near = [known for known in VERBS if known.startswith(verb)]
        if len(near) != 1:
            raise BadInput(f"no command {clean_line(verb, limit=40)}", mend="one of " + " ".join(VERBS))
        verb = near[0]
    if verb == "find":
        return Command(verb, text=rest.strip())
    grammar = _GRAMMAR[verb]
    words = _split(rest, grammar)
    if len(words.plain) > grammar.most:
        raise BadInput(
            f"{verb} does not know {clean_line(words.plain[grammar.most], limit=40)}", mend=grammar.form
        )
    duration = words.flags.get("--for")
    return Command(
        verb,
        address=words.plain[0] if words.plain else "",
        branch="--branch" in words.flags,
        reason=words.flags.get("--reason", ""),
        seconds=parse_duration(duration) if duration is not None else None,
        turns="--turns" in words.flags,
        model=words.flags.get("--model", ""),
        account=words.flags.get("--account", ""),
    )


def _split(rest: str, grammar: _Grammar) -> _Words:
    try:
        tokens = iter(shlex.split(rest))
    except ValueError as error:
        raise BadInput("a quote is not closed", why=str(error), mend=grammar.form) from error
    words = _Words()
    for token in tokens:
        name, equals, value = token.partition("=")
        if name in grammar.valued:
            words.flags[name] = value if equals else _value(tokens, name, grammar)
        elif token in grammar.bare:
            words.flags[token] = ""
        elif token.startswith("-") and token != "-":
            raise BadInput(f"no option {clean_line(token, limit=40)}", mend=grammar.form)
        else:
            words.plain.append(token)
    return words


def _value(tokens: Iterator[str], name: str, grammar: _Grammar) -> str:
    value = next(tokens, None)
    if value is None:
        raise BadInput(f"{name} wants a value", mend=grammar.form)
    return value


def resolve(state: SwarmState, address: str, here: str | None) -> str:
    """The agent of an address: empty or the swarm's name is the root, ``.`` the cursor's, else an id or a name.

    ``SWARM/AGENT`` is understood as in the shell; a unique beginning is enough.

    Raises:
        NotFound: nobody is called so.
        Ambiguous: several are.
    """
    if address == HERE:
        if here is None:
            raise NotFound("the cursor is on no agent")
        return here
    created = state.created
    swarms = {created.name, created.swarm} if created is not None else set()
    swarm, slash, agent = address.partition("/")
    if slash and any(name.startswith(swarm) for name in swarms):
        address = agent
    if not address or address in swarms or address == ROOT:
        return ROOT
    if address in state.agents:
        return address
    return _named(state, address)


def _named(state: SwarmState, address: str) -> str:
    tests: Sequence[Callable[[str, str], bool]] = (
        lambda id, name: name == address,
        lambda id, name: id.startswith(address) or name.startswith(address),
    )
    for test in tests:
        found = [agent.id for agent in state.agents.values() if test(agent.id, agent.name)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(clean_line(state.agents[id].name, limit=40) for id in found[:3])
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            raise Ambiguous(
                f"{clean_line(address, limit=40)} may be {names}{more}", mend="write more of it, or its id"
            )
    raise NotFound(f"no agent is called {clean_line(address, limit=40)}", mend="a unique beginning is enough")
