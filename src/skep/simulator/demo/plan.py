"""Who works in the demo: the captain, the teams and their leaves, what each is asked for and how each must end."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from skep.simulator.demo.kinds import Kind
from skep.simulator.demo.shop import MARK, Service, services
from skep.simulator.demo.workspace import LEGACY

CAPTAIN = "release-4.2"
"""The name that the root agent should have; it is not delegated, so whoever starts it names it."""

GOAL = "Get the shop ready for release 4.2: a team for each point of docs/release.md, then write RELEASE.md."
"""The goal of the root agent."""

HANGING = "import"
"""The team whose leaves never end; an operator has to interrupt its branch."""

DOOMED = "audit-exploit"
"""The leaf that is refused by its model."""


class Trade(StrEnum):
    """What an agent does for a living; each has its own way to answer."""

    CAPTAIN = "captain"
    LEAD = "lead"
    REVIEW = "reviews"
    TEST = "tests"
    MEND = "mending"
    DOCUMENT = "docs"
    COUNT = "debt"
    PLAN = "plans"
    AUDIT = "audit"
    EXPLOIT = "exploit"
    LOAD = "load"
    IMPORT = HANGING


class Outcome(NamedTuple):
    """What must have become of an agent when the demo is over."""

    parent: str | None
    """The name of its parent; None for the root."""
    goal: str
    state: str
    """`done`, `failed` or `interrupted`."""


@dataclass(frozen=True, slots=True)
class Persona:
    """One agent of the demo."""

    name: str
    parent: str | None
    goal: str
    trade: Trade
    state: str = "done"
    service: Service | None = None
    kind: Kind | None = None
    topic: str = ""
    """What else it is about: a table of the old shop, a question of the audit."""

    @property
    def of(self) -> Service:
        """The service that it works on; ValueError if it works on none."""
        if self.service is None:
            raise ValueError(f"{self.name} works on no service")
        return self.service

    @property
    def module(self) -> Kind:
        """The module that it works on; ValueError if it works on none."""
        if self.kind is None:
            raise ValueError(f"{self.name} works on no module")
        return self.kind


class Question(NamedTuple):
    """What the audit looks for."""

    topic: str
    pattern: str
    glob: str
    words: str


AUDIT = (
    Question("secrets", r"secret|password", "*.toml", "secrets that stand in the config"),
    Question("plain-http", r"http://", "*.toml", "addresses that are called without TLS"),
    Question("compares", r"return .* == given", "*.py", "signatures that are compared with =="),
    Question("inputs", r"isinstance\(|re\.compile", "*.py", "checks of what comes from outside"),
    Question("errors", r"^class \w+\(Exception\)|raise ", "*.py", "errors that name what went wrong"),
)

TEAMS: Mapping[str, str] = {
    "reviews": "Point 1: have one module of every service reviewed, and say what must change before 4.2.",
    "tests": "Point 2: have the tests of every service run, and name what fails.",
    "mending": "Point 2: have the modules that fail their tests mended, each by one agent.",
    "debt": f"Point 3: have the {MARK} notes counted in every service, then a plan made for the worst three.",
    "docs": "Point 4: have a page in docs/services written for every service; nobody waits for it.",
    "audit": "Point 5: have secrets, plain http and weak checks looked for.",
    "load": "Point 6: have a load test run on the services that customers wait for.",
    "import": "Point 7: have the import of the old shop's tables in legacy/ tried.",
}
"""The teams and their goals, in the order in which they are delegated."""

LONG = "search"
"""The service whose load test runs long."""

_LOADED = (LONG, "checkout", "catalog", "cart", "payments")
WORST = 3
"""Services that get a plan for their notes."""


class Plan:
    """All agents of a demo."""

    def __init__(self, seed: int, personas: Iterable[Persona]) -> None:
        self.seed = seed
        self.personas = tuple(personas)
        """Parents before their children, siblings in the order in which they are delegated."""
        self._by_goal = {persona.goal: persona for persona in self.personas}

    def find(self, goal: str) -> Persona | None:
        """Return who is asked for a goal, which may have other lines after it."""
        return self._by_goal.get(goal.strip().partition("\n")[0].strip())

    def children(self, name: str) -> tuple[Persona, ...]:
        """Return those whom an agent delegates to."""
        return tuple(persona for persona in self.personas if persona.parent == name)


def plan(seed: int) -> Plan:
    """Return the agents of the demo; the same for the same seed."""
    shop = services(seed)
    dice = random.Random(f"plan {seed}")
    teams = [
        Persona(name, CAPTAIN, goal, Trade.LEAD, state="interrupted" if name == HANGING else "done")
        for name, goal in TEAMS.items()
    ]
    leaves = [
        *_reviews(shop, dice),
        *(
            _leaf(Trade.TEST, f"tests-{s.name}", f"Run the tests of {s.folder} and name what fails.", s)
            for s in shop
        ),
        *_mends(shop),
        *_debts(shop),
        *(
            _leaf(Trade.DOCUMENT, f"docs-{s.name}", f"Write docs/services/{s.name}.md: what each module does.", s)
            for s in shop
        ),
        *_audits(shop),
        *_loads(shop),
        *_imports(),
    ]
    return Plan(seed, (Persona(CAPTAIN, None, GOAL, Trade.CAPTAIN), *teams, *leaves))


def expected(seed: int) -> dict[str, Outcome]:
    """Return what must become of every agent, by name, once the hanging branch was interrupted."""
    return {p.name: Outcome(p.parent, p.goal, p.state) for p in plan(seed).personas}


def _leaf(
    trade: Trade, name: str, goal: str, service: Service | None, kind: Kind | None = None, topic: str = ""
) -> Persona:
    teams = {Trade.PLAN: "debt", Trade.EXPLOIT: "audit"}
    state = {Trade.EXPLOIT: "failed", Trade.IMPORT: "interrupted"}.get(trade, "done")
    return Persona(name, teams.get(trade, trade.value), goal, trade, state, service, kind, topic)


def _reviews(shop: tuple[Service, ...], dice: random.Random) -> Iterator[Persona]:
    for service in shop:
        kind = dice.choice(service.kinds)
        goal = f"Review {service.path(kind)}: is it right, is it clear, do its tests reach it?"
        yield _leaf(Trade.REVIEW, f"rev-{service.name}-{kind.stem}", goal, service, kind)


def _mends(shop: tuple[Service, ...]) -> Iterator[Persona]:
    for service in shop:
        if service.broken is not None:
            goal = f"Mend {service.path(service.broken)} so that its tests pass; change nothing else."
            yield _leaf(Trade.MEND, f"mend-{service.name}-{service.broken.stem}", goal, service, service.broken)


def _debts(shop: tuple[Service, ...]) -> Iterator[Persona]:
    for service in shop:
        goal = f"Count the {MARK} notes in {service.folder} and say which one weighs most."
        yield _leaf(Trade.COUNT, f"debt-{service.name}", goal, service)
    for service in sorted(shop, key=lambda service: (-len(service.notes), service.name))[:WORST]:
        goal = f"Make a plan for the {MARK} notes of {service.folder} in docs/plans/{service.name}.md."
        yield _leaf(Trade.PLAN, f"plan-{service.name}", goal, service)


def _audits(shop: tuple[Service, ...]) -> Iterator[Persona]:
    for question in AUDIT:
        goal = f"Look for {question.words} and note them in docs/audit/{question.topic}.md."
        yield _leaf(Trade.AUDIT, f"audit-{question.topic}", goal, None, topic=question.topic)
    payments = next(service for service in shop if service.name == "payments")
    goal = f"Show whether a signature of {payments.folder} can be guessed: write a proof of concept."
    yield _leaf(Trade.EXPLOIT, DOOMED, goal, payments)


def _loads(shop: tuple[Service, ...]) -> Iterator[Persona]:
    for name in _LOADED:
        service = next(service for service in shop if service.name == name)
        yield _leaf(Trade.LOAD, f"load-{name}", f"Run the load test on {service.folder}: does it hold?", service)


def _imports() -> Iterator[Persona]:
    for table in LEGACY:
        goal = f"Try the import of legacy/{table}.csv and report the rows that do not fit."
        yield _leaf(Trade.IMPORT, f"import-{table}", goal, None, topic=table)
