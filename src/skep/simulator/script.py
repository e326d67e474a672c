"""Replies written into the goal: a JSON list of steps after a line `[[sim]]`, one step for each turn.

    look around
    [[sim]]
    [{"call": "list_files", "args": {"path": "."}}, {"say": "found: {last}"}]

What a step may say, and in one step together:

- `say`: text; `{last}` in it is the last tool result, `{turn}` the number of the turn, from 0. `think`: the same
  as thinking.
- `call` and `args`: one tool call; `calls`: a list of such. `args` given as text go out as they stand.
- `delay`: seconds to the first token. `rate`: tokens per second.
- one fault: `hang`, `silent`, `keepalive`, `trickle`, `cut`, `cut_unframed`, `reset`, `status` (with `message`,
  `retry_after`), `in_band_error`, `garbage`, `no_finish`, `fail`; see `FAULTS`.
- `times`: the fault strikes the first so many requests that come to this step, then the step does the rest of what
  it says, and a step that says nothing else is passed over. Without it the fault strikes each time.

After the last step the model says `done`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from skep.simulator.behaviour import Behaviour, Call, Conversation, Fault, FaultKind, Json, Pace, Reply
from skep.simulator.refusals import Refusal

MARK = "[[sim]]"
PAST_THE_END = "done"
MOST_STEPS = 10_000


class ScriptError(Refusal):
    """A script that cannot be played: a 400 that names the step and what is wrong with it."""

    def __init__(self, message: str) -> None:
        super().__init__(400, f"{MARK} {message}", kind="script_error", param="messages", code="bad_script")


@dataclass(frozen=True, slots=True)
class Step:
    """One step as it was written."""

    say: str = ""
    think: str = ""
    calls: tuple[Call, ...] = ()
    fault: Fault | None = None
    times: int | None = None
    pace: Pace | None = None
    answers: bool = True
    """Whether it says anything besides its fault: then it is a turn, else it stands before the next one."""


def has_script(goal: str) -> bool:
    """Tell whether there is a script in this goal."""
    return any(line.strip() == MARK for line in goal.splitlines())


def scripted(otherwise: Behaviour) -> Behaviour:
    """Return the behaviour that plays the script of a goal, and does as `otherwise` for goals without one."""

    def behave(conversation: Conversation) -> Reply:
        return play(conversation) if has_script(conversation.goal) else otherwise(conversation)

    return behave


def play(conversation: Conversation) -> Reply:
    """Return the reply that the script in the goal has for this turn.

    Raises: ScriptError if the script is wrong anywhere, be it in a later step.
    """
    steps = read(conversation.goal)
    turn, struck = 0, 0
    for step in steps:
        if turn < conversation.turn:
            turn += step.answers
            continue
        if step.fault and (step.times is None or conversation.attempt <= struck + step.times):
            return _reply(step, conversation, step.fault)
        if step.answers:
            return _reply(step, conversation, None)
        struck += step.times or 0
    return Reply(text=PAST_THE_END)


def _reply(step: Step, conversation: Conversation, fault: Fault | None) -> Reply:
    def fill(text: str) -> str:
        return text.replace("{turn}", str(conversation.turn)).replace("{last}", conversation.last)

    return Reply(fill(step.say), fill(step.think), step.calls, fault, step.pace)


def read(goal: str) -> tuple[Step, ...]:
    """Read the script in a goal; whatever follows its list is no part of it.

    Raises: ScriptError.
    """
    lines = goal.splitlines(keepends=True)
    first = next((index for index, line in enumerate(lines) if line.strip() == MARK), len(lines)) + 1
    source = "".join(lines[first:]).lstrip()
    try:
        steps, _ = json.JSONDecoder().raw_decode(source)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno} after the mark"
        raise ScriptError(f"is no JSON: {error.msg} ({place})") from None
    except (RecursionError, ValueError) as error:
        raise ScriptError(f"is no JSON: {error}") from None
    if not isinstance(steps, list):
        raise ScriptError("expected a list of steps")
    if len(steps) > MOST_STEPS:
        raise ScriptError(f"has {len(steps)} steps, at most {MOST_STEPS} are played")
    return tuple(_step(f"step {index}", step) for index, step in enumerate(steps))


_CONTENT = frozenset({"say", "think", "call", "calls"})
_KEYS = _CONTENT | {"args", "delay", "rate", "times", "message", "retry_after"}


def _step(where: str, step: object) -> Step:
    if not isinstance(step, dict):
        raise ScriptError(f"{where}: expected an object")
    for key in step:
        if key not in _KEYS and key not in FAULTS:
            raise ScriptError(
                f"{where}: {key!r} is no key of a step; known are {', '.join(sorted(_KEYS | set(FAULTS)))}"
            )
    named = [key for key in FAULTS if key in step]
    if len(named) > 1:
        raise ScriptError(f"{where}: {named[0]} and {named[1]} are two faults, a step has one")
    fault = FAULTS[named[0]](where, step) if named else None
    if "times" in step and fault is None:
        raise ScriptError(f"{where}: times counts how often a fault strikes, and there is none")
    for key in ("message", "retry_after"):
        if key in step and "status" not in step:
            raise ScriptError(f"{where}: {key} belongs to status")
    return Step(
        say=_text(where, step, "say"),
        think=_text(where, step, "think"),
        calls=_calls(where, step),
        fault=fault,
        times=int(_number(where, step, "times", 0, whole=True)) if "times" in step else None,
        pace=_pace(where, step),
        answers=fault is None or bool(_CONTENT & step.keys()) or fault.kind in _WHOLE,
    )


def _calls(where: str, step: Mapping[str, object]) -> tuple[Call, ...]:
    if "args" in step and "call" not in step:
        raise ScriptError(f"{where}: args belongs to call")
    calls = [_call(where, step)] if "call" in step else []
    several = step.get("calls", [])
    if not isinstance(several, list):
        raise ScriptError(f"{where}: calls: expected a list")
    for index, call in enumerate(several):
        inner = f"{where}: calls[{index}]"
        if not isinstance(call, dict) or not {"call"} <= call.keys() <= {"call", "args"}:
            raise ScriptError(f'{inner}: expected an object as {{"call": "read_file", "args": {{…}}}}')
        calls.append(_call(inner, call))
    return tuple(calls)


def _call(where: str, table: Mapping[str, object]) -> Call:
    name, arguments = table["call"], table.get("args", {})
    if not isinstance(name, str) or not name:
        raise ScriptError(f"{where}: call: expected the name of a tool")
    if not isinstance(arguments, dict | str):
        raise ScriptError(f"{where}: args: expected an object")
    return Call(name, cast("Mapping[str, Json] | str", arguments))


def _pace(where: str, step: Mapping[str, object]) -> Pace | None:
    if "delay" not in step and "rate" not in step:
        return None
    return Pace(_number(where, step, "delay", 0.0), _number(where, step, "rate", 0.0))


def _text(where: str, step: Mapping[str, object], key: str) -> str:
    value = step.get(key, "")
    if not isinstance(value, str):
        raise ScriptError(f"{where}: {key}: expected text")
    return value


def _number(where: str, step: Mapping[str, object], key: str, default: float, *, whole: bool = False) -> float:
    value = step.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not 0 <= value < 1e9:
        raise ScriptError(f"{where}: {key}: expected a {'whole ' if whole else ''}number, 0 or more")
    return float(value)


def _flag(kind: FaultKind) -> Callable[[str, Mapping[str, object]], Fault]:
    """`{"hang": true}`."""

    def make(where: str, step: Mapping[str, object]) -> Fault:
        if step[kind.value] is not True:
            raise ScriptError(f"{where}: {kind.value}: expected true")
        return Fault(kind)

    return make


def _after(kind: FaultKind) -> Callable[[str, Mapping[str, object]], Fault]:
    """`{"cut": 20}`: after so many characters; true is 0."""

    def make(where: str, step: Mapping[str, object]) -> Fault:
        if step[kind.value] is True:
            return Fault(kind)
        return Fault(kind, characters=int(_number(where, step, kind.value, 0, whole=True)))

    return make


def _every(kind: FaultKind) -> Callable[[str, Mapping[str, object]], Fault]:
    """`{"trickle": 0.5}`: every so many seconds; true is 1."""

    def make(where: str, step: Mapping[str, object]) -> Fault:
        if step[kind.value] is True:
            return Fault(kind, seconds=1.0)
        return Fault(kind, seconds=_number(where, step, kind.value, 0.0))

    return make


def _says(kind: FaultKind) -> Callable[[str, Mapping[str, object]], Fault]:
    """`{"garbage": "text"}`; true is a text that is made for it."""

    def make(where: str, step: Mapping[str, object]) -> Fault:
        if step[kind.value] is True:
            return Fault(kind)
        return Fault(kind, message=_text(where, step, kind.value))

    return make


def _status(where: str, step: Mapping[str, object]) -> Fault:
    status = int(_number(where, step, "status", 0, whole=True))
    if not 400 <= status <= 599:
        raise ScriptError(f"{where}: status: expected a status of an error, 400 to 599")
    wait = _number(where, step, "retry_after", 0.0) if "retry_after" in step else None
    return Fault(FaultKind.STATUS, status=status, message=_text(where, step, "message"), retry_after=wait)


def _fail(where: str, step: Mapping[str, object]) -> Fault:
    if "times" in step:
        raise ScriptError(f"{where}: fail holds from then on and takes no times")
    return Fault(FaultKind.STATUS, status=400, message=_text(where, step, "fail"))


FAULTS: Mapping[str, Callable[[str, Mapping[str, object]], Fault]] = {
    "hang": _flag(FaultKind.HANG),
    "silent": _after(FaultKind.SILENT),
    "keepalive": _every(FaultKind.KEEPALIVE),
    "trickle": _every(FaultKind.TRICKLE),
    "cut": _after(FaultKind.CUT),
    "cut_unframed": _after(FaultKind.CUT_UNFRAMED),
    "reset": _after(FaultKind.RESET),
    "status": _status,
    "in_band_error": _says(FaultKind.IN_BAND_ERROR),
    "garbage": _says(FaultKind.GARBAGE),
    "no_finish": _flag(FaultKind.NO_FINISH),
    "fail": _fail,
}
"""The key of a step that makes a fault, and how its value is read."""

_WHOLE: Sequence[FaultKind] = (FaultKind.TRICKLE,)
"""Faults that delay an answer and do not spoil it."""
