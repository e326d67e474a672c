"""The demo as a swarm: planned, run without a person if need be, and held against what must come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from skep.cli.headless import ExitCode, Order, wait
from skep.cli.links import opened
from skep.cli.naming import new_id
from skep.cli.printing import note
from skep.cli.settings import engine_settings
from skep.clock import Clock
from skep.config import Config
from skep.control.verbs import Stop
from skep.model.approvals import Commands
from skep.model.children import Role
from skep.model.events import ROOT
from skep.model.launch import AgentAsk, ChatSpec, Launch, Simulated
from skep.model.states import DriverKind, Mark
from skep.model.swarm import SwarmState
from skep.paths import file_error, swarms_dir
from skep.providers import READY, SIMULATOR, Prices
from skep.simulator import demo
from skep.text import clean_line
from skep.tools.toolbox import ALL

SLOTS = 12
"""Agents at once: what is left of four keys for four requests each when a fifth is kept back."""

WORKSPACE = "workspace"
"""The folder of the shop, in that of the swarm."""

_QUIET = 15.0  # seconds, as all of these at the speed of real models
_IDLE = 120.0
_LEAST_QUIET = 2.0
_PRICES = Prices(input=0.4, output=1.6, cached_input=0.1)
_TOLD = 20
_STUCK = (Mark.QUIET, Mark.STALE)


def plan_demo(seed: int, speed: float, config: Config, env: Mapping[str, str]) -> Launch:
    """The swarm of the demo: one seed gives everybody the same.

    Of the user's own settings nothing counts but which variables hold keys: the demo's programs do not see them.
    """
    swarm = new_id()
    workspace = str(swarms_dir(env) / swarm / WORKSPACE)
    provider = READY[SIMULATOR].model_copy(
        update={"max_concurrency": demo.CONCURRENCY, "prices": {demo.MODEL: _PRICES}}
    )
    quiet = max(_LEAST_QUIET, _QUIET / speed)
    settings = engine_settings(Config(providers=config.providers), {SIMULATOR: provider}).model_copy(
        update={
            "simulated": Simulated(seed=seed, speed=speed),
            "quiet_after": quiet,
            "idle_after": max(2 * quiet, _IDLE / speed),
        }
    )
    spec = ChatSpec(
        model=f"{SIMULATOR}/{demo.MODEL}",
        cwd=workspace,
        role=Role.ORCHESTRATOR,
        tools=ALL,
        commands=Commands.ALLOW,
    )
    root = AgentAsk(id=ROOT, name=demo.CAPTAIN, driver=DriverKind.CHAT, goal=demo.GOAL, chat=spec)
    return Launch(swarm=swarm, name=demo.CAPTAIN, cwd=workspace, max_running=SLOTS, root=root, settings=settings)


def make_shop(place: Path, seed: int) -> None:
    """Write the shop that the agents work on into the swarm's folder. Raises ``BadInput`` or ``NoSpace``."""
    workspace = place / WORKSPACE
    try:
        demo.make_workspace(workspace, seed)
    except OSError as error:
        raise file_error(error, workspace, "cannot write the demo's files") from error


async def rehearse(
    place: Path, clock: Clock, seed: int, *, json: bool, foreground: bool, early: Sequence[int]
) -> ExitCode:
    """Wait for the end of the demo, interrupt the branch that hangs, and compare; 0 if all came as it must."""
    expected = demo.expected(seed)
    standin = Interrupter(expected)
    code = await wait(place, clock, json=json, foreground=foreground, early=early, standin=standin)
    if code is ExitCode.INTERRUPTED:
        return code
    async with opened(place, clock, read_only=True, once=True) as link:
        with link.registry.read() as state:
            found = differences(state, expected)
    for line in found[:_TOLD]:
        note(f"not as it must be: {line}")
    if len(found) > _TOLD:
        note(f"… and {len(found) - _TOLD} more")
    if not found:
        note(f"all {len(expected)} agents came to the end that they must")
    return ExitCode.FAILED if found else ExitCode.DONE


class Interrupter:
    """Does what the operator of the demo has to: interrupts the branch that hangs once nothing else goes on."""

    def __init__(self, expected: Mapping[str, demo.Outcome]) -> None:
        hanging = {name for name, outcome in expected.items() if outcome.state == "interrupted"}
        self._tops = {name for name in hanging if expected[name].parent not in hanging}
        self._asked: set[str] = set()

    def __call__(self, state: SwarmState) -> Order | None:
        """The interrupt, as soon as it is due; each branch once."""
        for agent in state.agents.values():
            if agent.name in self._tops and agent.id not in self._asked and _is_stuck(state, agent.id):
                self._asked.add(agent.id)
                words = f"{clean_line(agent.name)} hangs, and nothing else is left: its branch is interrupted"
                return Order(words, Stop(agent=agent.id, branch=True, how="interrupt"))
        return None


def _is_stuck(state: SwarmState, top: str) -> bool:
    """Whether only this branch is left, and whatever has a slot in it shows no progress."""
    branch = {one.id for one in state.subtree(top)}
    above = {one.id for one in state.ancestors(top)}
    live = [one for one in state.agents.values() if not one.ended]
    working = [one for one in live if one.slot]
    return (
        bool(working)
        and all(one.id in branch or one.id in above for one in live)
        and all(one.id in branch and one.mark in _STUCK for one in working)
        and not any(one.id in state.line for one in live)
    )


def differences(state: SwarmState, expected: Mapping[str, demo.Outcome]) -> list[str]:
    """What is not as it must be, a line for each agent: by name, with its parent, its goal and its state."""
    agents = {agent.name: agent for agent in state.agents.values()}
    lines = []
    for name, must in expected.items():
        agent = agents.get(name)
        if agent is None:
            lines.append(f"{name} is missing")
            continue
        parent = state.agents[agent.parent].name if agent.parent is not None else None
        found = demo.Outcome(parent, agent.goal, agent.state.value)
        wrong = [
            f"{field} {_shown(was)} instead of {_shown(due)}"
            for field, was, due in zip(found._fields, found, must, strict=True)
            if was != due
        ]
        if wrong:
            lines.append(f"{name}: {', '.join(wrong)}" + (f" ({_shown(agent.error)})" if agent.error else ""))
    lines += [f"{_shown(name)} should not be there" for name in agents if name not in expected]
    if len(agents) < len(state.agents):
        lines.append(f"{len(state.agents) - len(agents)} agents bear the name of another")
    return lines


def _shown(text: str | None) -> str:
    return clean_line(text, limit=60) if text else "nothing"
