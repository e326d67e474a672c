"""Swarms at a fixed moment, folded from real events: what the room's tests and pictures look at."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from skep.clock import VirtualClock
from skep.control.link import LinkState
from skep.control.preview import folders_of, preview, shown
from skep.control.verbs import (
    Answer,
    Done,
    Hurry,
    Keys,
    KeysShown,
    Pause,
    Preview,
    Reply,
    Request,
    Resume,
    Stop,
    TakeBack,
    Uncommitted,
    Unpause,
)
from skep.errors import NotFound, Refused
from skep.model import permits
from skep.model.agent import Agent
from skep.model.events import (
    ROOT,
    AgentEnded,
    AgentMarked,
    AgentQueued,
    AgentStopping,
    AgentWaiting,
    ApprovalAnswered,
    BranchReopened,
    BranchShut,
    Event,
    LatchClosed,
    LatchOpened,
    Record,
    SwarmEnded,
)
from skep.model.logs import TailChunk
from skep.model.registry import Registry
from skep.model.states import DriverKind, Mark, State, StopStep, StopVerb, Strength, WaitReason
from skep.model.swarm import SwarmState
from tests.room.story import SCENE_NOW as SCENE_NOW
from tests.room.story import Story as Story
from tests.room.story import scene_clock as scene_clock

BILLING = "/home/ana/billing"
FILES = permits.Uncommitted(
    (
        permits.Worktree(
            BILLING,
            (BILLING,),
            4,
            ("src/tax/rates.py", "src/tax/vat.py", "src/total.py", "NOTES"),
        ),
    )
)
"""What the host finds in the folder of all scenes."""


def scene(agents: int) -> Registry:
    """A swarm of 3, 40 or any larger number of agents (the root not counted)."""
    if agents == 3:
        return _three()
    if agents == 40:
        return _forty()
    return _many(agents)


def finished() -> Registry:
    """A small swarm that is over: two done, one failed."""
    story = Story("nightly", 3, age=7_440.0)
    for agent, ago in (("build", 7_400.0), ("test", 7_300.0), ("lint", 7_200.0)):
        story.queued(agent)
        story.running(agent, ago)
    story.ended("build", 6_000.0, result="wheel built", lines=120, size=9_400)
    story.ended("test", 20.0, result="214 passed", lines=4_120, size=310_000)
    story.ended(
        "lint", 7_000.0, State.FAILED, code=1, error="exit 1", result="E501 line too long", lines=3, size=180
    )
    story.ended(ROOT, 0.0, State.FAILED, code=None)
    story.tell(0.0, SwarmEnded("failed"))
    return story.registry()


def _three() -> Registry:
    story = Story("hello", 1, age=95.0)
    for agent in ("alpha", "beta", "gamma"):
        story.queued(agent, command=f"make {agent}")
    story.running("alpha", 95.0)
    story.ended("alpha", 38.0, result="built alpha", lines=212, size=18_400)
    story.running("beta", 38.0, "[ 61%] linking", 130, 9_100)
    return story.registry()


def _forty() -> Registry:
    story = Story()
    _unit(story)
    _integration(story)
    _lint(story)
    _docs(story)
    _packages(story)
    return story.registry()


def _unit(story: Story) -> None:
    story.group("unit")
    for agent in ("unit-core", "unit-money", "unit-tax", "unit-pdf", "unit-ledger"):
        story.queued(agent, "unit")
    story.queued("unit-flaky", "unit", retries=2)
    for agent in ("unit-export", "unit-archive", "unit-emails", "unit-search", "unit-audit"):
        story.queued(agent, "unit")
    story.running("unit-core", 2_500.0)
    story.ended("unit-core", 2_248.0, result="61 passed in 4m11s", lines=81, size=6_100)
    story.running("unit-money", 2_500.0)
    story.ended("unit-money", 2_091.0, result="412 passed in 6m48s", lines=440, size=48_100)
    story.running("unit-tax", 900.0)
    story.ended(
        "unit-tax",
        240.0,
        State.FAILED,
        code=1,
        error="exit 1",
        result="2 failed, 209 passed",
        lines=1_312,
        size=170_000,
    )
    story.running("unit-flaky", 700.0)
    story.tell(31.0, AgentWaiting("unit-flaky", WaitReason.SLOT, "try 2 of 3 after exit 1"))
    story.running("unit-pdf", 133.0, "tests/unit-pdf/test_total.py ......F.... [ 76%]", 96, 12_400)
    story.running("unit-ledger", 4.0)


def _integration(story: Story) -> None:
    story.group("integration")
    for agent in ("api", "hooks", "mail", "billing-run", "imports", "exports", "load", "soak"):
        story.queued(f"int-{agent}", "integration", command=f"npm run test:{agent}")
    story.running("int-api", 1_260.0, "waiting for port 8081", 14, 900)
    story.tell(200.0, AgentMarked("int-api", Mark.STALE, "no output"))
    story.running("int-hooks", 451.0, "migrating 0041_add_tax_id", 210, 20_100)
    story.tell(12.0, AgentMarked("int-hooks", Mark.QUIET, "no output"))
    story.running("int-mail", 600.0, "delivered 812 of 4,000", 812, 64_000)
    story.tell(4.0, BranchShut("int-mail", False, StopVerb.INTERRUPT, "you"))
    story.tell(4.0, AgentStopping("int-mail", StopStep.SOFT, StopVerb.INTERRUPT, "you"))
    story.running("int-billing-run", 2_400.0)
    story.tell(603.0, AgentStopping("int-billing-run", StopStep.CANCEL, StopVerb.TIMEOUT, "", "timed out"))
    story.ended(
        "int-billing-run",
        600.0,
        State.TIMED_OUT,
        code=None,
        signal=15,
        error="timed out after 30m",
        lines=90,
        size=7_000,
    )
    story.running("int-imports", 1_500.0)
    story.ended(
        "int-imports", 1_100.0, State.FAILED, code=None, signal=11, error="ended by SEGV", lines=7, size=412
    )


def _lint(story: Story) -> None:
    story.group("lint")
    for agent in ("ruff", "mypy", "eslint", "sql", "docs", "shell"):
        story.queued(f"lint-{agent}", "lint", command=f"make lint-{agent}")
    for step, agent in enumerate(("ruff", "mypy", "eslint", "sql")):
        story.running(f"lint-{agent}", 2_500.0 - step * 40)
        story.ended(f"lint-{agent}", 2_470.0 - step * 40, result="no issues", lines=2 + step, size=90 + step)
    story.started("lint-docs", 1.0)


def _docs(story: Story) -> None:
    story.group("docs")
    for agent in ("api", "faq", "guide", "setup", "images", "links"):
        story.queued(f"doc-{agent}", "docs", command=f"make doc-{agent}")
    story.running("doc-faq", 800.0)
    story.ended("doc-faq", 482.0, result="wrote docs/faq.md", lines=44, size=2_100)
    story.running("doc-api", 322.0, "rendering 22 of 61 pages", 22, 1_800)
    story.tell(240.0, LatchClosed("docs", Strength.SPAWNS, "rate limits", "you"))


def _packages(story: Story) -> None:
    story.group("packages")
    long = "package-a-wheel-with-every-optional-dependency-for-manylinux-aarch64"
    story.queued("pkg-wheel", "packages", name=long, command="python -m build --wheel")
    for agent in ("sdist", "image", "sign"):
        story.queued(f"pkg-{agent}", "packages", command=f"make {agent}")
    story.running("pkg-wheel", 95.0, "copying src/billing/tax/rates.py", 3_204, 201_000)
    story.running("pkg-sdist", 1_900.0)
    story.ended("pkg-sdist", 1_870.0, result="billing-4.2.tar.gz", lines=31, size=2_204)
    story.running("pkg-image", 1_800.0)
    story.tell(1_700.0, AgentStopping("pkg-image", StopStep.SOFT, StopVerb.INTERRUPT, "you"))
    story.ended("pkg-image", 1_690.0, State.INTERRUPTED, code=None, signal=15, lines=200, size=14_000)
    story.running("pkg-sign", 1_600.0)
    story.ended("pkg-sign", 1_500.0, State.LOST, code=None, error="the engine died while it ran")


def _many(agents: int) -> Registry:
    """Branches of at most 100, the first half over, some running, some suspicious, the rest in line."""
    story = Story("sweep", 200)
    branches = max(agents // 100, 1)
    leaves = agents - branches
    names = [f"branch-{number:03d}" for number in range(branches)]
    for name in names:
        story.group(name)
    commands = [f"item-{number:05d}" for number in range(leaves)]
    for number, agent in enumerate(commands):
        story.queued(agent, names[number % branches], command=f"convert {agent}.tif")
    over = leaves // 2
    for number, agent in enumerate(commands[:over]):
        # Waves of at most 200, so that nobody runs without a slot.
        begin = 2_500.0 - (number // 200) * 40.0
        story.running(agent, begin)
        if number % 97 == 13:
            story.ended(
                agent, begin - 30, State.FAILED, code=2, error="exit 2", result="cannot decode", lines=9, size=700
            )
        else:
            story.ended(agent, begin - 30, result="written", lines=40, size=3_300)
    for number, agent in enumerate(commands[over : over + min(200, leaves // 4)]):
        story.running(agent, 90.0 - number % 80, f"tile {number} of 512", number, number * 80)
        if number % 40 == 7:
            story.tell(3.0, AgentMarked(agent, Mark.STALE, "no output"))
    return story.registry()


class SceneLink:
    """A link to a scene: verbs are recorded and folded, so that the room sees what it asked for."""

    def __init__(
        self,
        registry: Registry,
        tails: Mapping[str, Sequence[str]] | None = None,
        *,
        clock: VirtualClock | None = None,
        live: bool = True,
        read_only: bool = False,
        keys: KeysShown | None = None,
    ) -> None:
        self.registry = registry
        self.keys = keys if keys is not None else KeysShown()
        self.folder = Path("/nonexistent/swarms/s-7f3a")
        self.clock = clock if clock is not None else scene_clock()
        self.calls: list[Request] = []
        self.followed: list[str | None] = []
        self.closed = False
        self.files = FILES
        self.looked = asyncio.Event()
        """Cleared while the host looks at the folders."""
        self.looked.set()
        self.picture = LinkState(connected=True, live=live, read_only=read_only)
        self._tails = {agent: list(lines) for agent, lines in (tails or {}).items()}
        self._output: list[tuple[str, TailChunk]] = []

    @property
    def state(self) -> LinkState:
        return self.picture

    async def call(self, request: Request) -> Reply:
        self.calls.append(request)
        if isinstance(request, Keys) and self.picture.live:
            return self.keys
        if not self.picture.live or self.picture.read_only:
            raise Refused("nothing can be changed here", mend="attach without --read-only")
        if isinstance(request, Preview):
            return preview(self.registry, request, self.clock.time())
        if isinstance(request, Uncommitted):
            await self.looked.wait()
            with self.registry.read() as state:
                return shown(self.files, folders_of(state, request))
        with self.registry.read() as state:
            agents, events = _effects(state, request, self.clock.time())
            first = state.seq + 1
        self.registry.fold(Record(seq, self.clock.time(), event) for seq, event in enumerate(events, first))
        return Done(seq=self.registry.seq if events else 0, count=len(agents), agents=agents)

    async def tail(self, agent: str, first: int = -500, limit: int = 500) -> TailChunk:
        lines = self._tails.get(agent, [])
        start = max(len(lines) + first, 0) if first < 0 else first
        return TailChunk(start, tuple(lines[start : start + limit]), total=len(lines))

    def follow(self, agent: str | None) -> None:
        self.followed.append(agent)

    def take_output(self) -> list[tuple[str, TailChunk]]:
        taken, self._output = self._output, []
        return taken

    def write(self, agent: str, lines: Iterable[str], *, dropped: int = 0) -> None:
        """The agent writes; ``dropped`` lines before these never arrive."""
        kept = self._tails.setdefault(agent, [])
        kept.extend("" for _ in range(dropped))
        first = len(kept)
        kept.extend(lines)
        self._output.append((agent, TailChunk(first, tuple(kept[first:]), total=len(kept))))

    async def close(self) -> None:
        self.closed = True


def _agent(state: SwarmState, agent: str) -> Agent:
    found = state.agents.get(agent)
    if found is None:
        raise NotFound(f"there is no agent {agent}")
    return found


def _reach(state: SwarmState, agent: Agent, *, branch: bool) -> list[Agent]:
    """The live agents that a stop takes with it."""
    return [one for one in (state.subtree(agent.id) if branch else (agent,)) if not one.ended]


def _effects(state: SwarmState, request: Request, now: float) -> tuple[list[str], list[Event]]:
    """The agents that a verb touches, and the events that its first effect would be."""
    if isinstance(request, Pause):
        until = now + request.seconds if request.seconds is not None else None
        closed = LatchClosed(request.scope, request.strength, request.reason, "you", until)
        return _held_by(state, request.scope), [closed]
    if isinstance(request, Unpause):
        known = (request.scope, request.strength) in state.latches
        opened = LatchOpened(request.scope, request.strength, "you")
        return _held_by(state, request.scope), [opened] if known else []
    if isinstance(request, TakeBack):
        shut = state.shuts.get(request.agent)
        if shut is None or shut.until is None:
            raise Refused("there is nothing to take back", where=request.agent)
        return [request.agent], [BranchReopened(request.agent, "you")]
    if isinstance(request, Hurry):
        reach = [
            one
            for one in _reach(state, _agent(state, request.agent), branch=request.branch)
            if one.state is State.STOPPING
        ]
        return [one.id for one in reach], [_down(one, StopStep.KILL if request.kill else None) for one in reach]
    if isinstance(request, Stop):
        return _stop(state, request, now)
    if isinstance(request, Answer):
        asked = _agent(state, request.agent).question
        if asked is None or asked["hash"] != request.hash:
            raise Refused(f"{request.agent} asks something else now", mend="read it again")
        return [request.agent], [ApprovalAnswered(request.agent, request.hash, request.allow, "you")]
    if isinstance(request, Resume):
        old = _agent(state, request.agent)
        new = f"{old.id}-2"
        return [new], [AgentQueued(new, ROOT, f"{old.name} 2", old.driver, old.goal, old.spec, resumes=old.id)]
    raise Refused(f"a scene knows no such verb: {type(request).__name__}")


def _stop(state: SwarmState, request: Stop, now: float) -> tuple[list[str], list[Event]]:
    verb = StopVerb(request.how)
    reach = _reach(state, _agent(state, request.agent), branch=request.branch)
    agents = [one.id for one in reach]
    until = now + request.window if request.window else None
    events: list[Event] = [BranchShut(request.agent, request.branch, verb, "you", until)]
    if not request.window:
        step = StopStep.CANCEL if verb is StopVerb.KILL else StopStep.SOFT
        events += [
            AgentEnded(one.id, verb.end) if one.state is State.QUEUED else AgentStopping(one.id, step, verb, "you")
            for one in reach
            if one.driver is DriverKind.COMMAND and one.state is not State.STOPPING
        ]
    return agents, events


def _down(agent: Agent, step: StopStep | None) -> AgentStopping:
    assert agent.stop_step is not None
    assert agent.stop_verb is not None
    to = step if step is not None else StopStep(min(agent.stop_step + 1, StopStep.VERIFY))
    return AgentStopping(agent.id, to, agent.stop_verb, "you")


def _held_by(state: SwarmState, scope: str) -> list[str]:
    return [agent.id for agent in state.reach(scope) if agent.id in state.line]
