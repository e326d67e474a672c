"""What those do who delegate: the captain to the teams, the leads of the teams to their leaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from skep.simulator.behaviour import Call, Fault, FaultKind, Reply
from skep.simulator.demo.plan import CAPTAIN, HANGING, Persona, Trade
from skep.simulator.demo.reading import Child
from skep.simulator.demo.scene import Scene, Step, bullets, delegate, look, read, search, several, write
from skep.simulator.demo.shop import MARK
from skep.simulator.demo.strays import KEEP_ALIVE


class Team(NamedTuple):
    """How a lead goes about it."""

    first: str
    """What it says before it looks around."""
    call: Call
    think: str
    headline: Callable[[Sequence[Child]], str]
    """What it makes of the children that are done."""


def _number(child: Child) -> int:
    found = re.search(r": (\d+) ", child.headline)
    return int(found[1]) if found else 0


def _saying(word: str, children: Sequence[Child]) -> int:
    return sum(word in child.headline for child in children)


_TEAMS: Mapping[str, Team] = {
    "reviews": Team(
        "One module of each service, then.",
        look("services"),
        "Ten services and ten reviewers. None has to wait for another, so all of them at once.",
        lambda done: f"{several(len(done), 'module')} reviewed, {_saying('must change', done)} must change",
    ),
    "tests": Team(
        "Which services are there to test?",
        look("services"),
        "The tests are quick. What fails now may be mended while we look, so each run counts for its moment only.",
        lambda done: f"{several(len(done), 'service')} tested, {_saying('failures', done)} with failures",
    ),
    "mending": Team(
        "I look at what is known to be wrong.",
        read("CHANGELOG.md"),
        "One agent for each broken module: two in the same file would overwrite each other.",
        lambda done: f"{_saying('mended', done)} of {several(len(done), 'module')} mended",
    ),
    "debt": Team(
        "How much of it is there at all?",
        search(MARK, "services"),
        "Counting comes first. Which services get a plan I can only say when the counts are back.",
        lambda done: (
            f"{sum(map(_number, done))} notes counted, {several(_saying('plan written', done), 'plan')} made"
        ),
    ),
    "docs": Team(
        "What do the docs have today?",
        look("docs"),
        "Nobody waits for the pages. They can be written in the background while I write what leads to them.",
        lambda done: f"{several(len(done), 'page')} written",
    ),
    "audit": Team(
        "Before we look for faults: what have we promised ourselves?",
        read("docs/style.md"),
        "One question for each agent, and no fixes today: whoever mends what he finds stops looking.",
        lambda done: f"{several(len(done), 'question')} answered, {several(sum(map(_number, done)), 'hit')}",
    ),
    "load": Team(
        "What do we have to test with?",
        look("tools"),
        "One of these runs long. That is as it should be: it is the one that customers feel.",
        lambda done: f"{_saying('held', done)} of {several(len(done), 'service')} held",
    ),
    "import": Team(
        "What did the old shop leave us?",
        look("legacy"),
        "One table for each agent. They know nothing of each other, as the tables hardly do.",
        lambda done: f"{several(len(done), 'table')} tried",
    ),
}


def _team(scene: Scene) -> Team:
    return _TEAMS[scene.persona.name]


def _look(scene: Scene) -> Reply:
    team = _team(scene)
    return scene.act(team.first, team.call, think=team.think)


def _delegate(scene: Scene) -> Reply:
    return _hand_on(scene, scene.plan.children(scene.persona.name))


def _hand_on(scene: Scene, personas: Sequence[Persona], *, background: bool = False) -> Reply:
    seen = len([line for line in scene.last.splitlines() if line.strip()])
    return scene.act(
        f"{several(seen, 'line')} tell me enough: this divides into {several(len(personas), 'part')}.",
        delegate(personas, background=background),
    )


def _report(scene: Scene) -> Reply:
    """Answer with what the children came to; the headline first, what went wrong after it."""
    children = scene.delegated()
    if not children:
        return scene.answer(f"Nothing came of it.\n\nThis is what I was told: {scene.last[:300]}")
    done = [child for child in children if child.status == "done"]
    others = [child for child in children if child.status != "done"]
    wrong = "".join(f"; {child.name} {child.status}" for child in others)
    lines = [*(_got_as_far(child) for child in others), *(child.headline for child in done)]
    return scene.answer(
        f"{_team(scene).headline(done)}{wrong}.\n\n{bullets(lines)}",
        think=f"{len(done)} of {len(children)} are done. {'The rest comes first.' if others else 'All is there.'}",
    )


def _got_as_far(child: Child) -> str:
    until = f" Until then it had said: {child.summary.strip()[:160]} …" if child.summary.strip() else ""
    return f"{child.name} {child.status}: {child.headline.rstrip('.')}.{until}"


# Two steps: the counts decide what is said of the plans.


def _delegate_counts(scene: Scene) -> Reply:
    return _hand_on(scene, [p for p in scene.plan.children(scene.persona.name) if p.trade is Trade.COUNT])


def _delegate_plans(scene: Scene) -> Reply:
    worst = [p for p in scene.plan.children(scene.persona.name) if p.trade is Trade.PLAN]
    counts = {child.headline.partition(":")[0]: _number(child) for child in scene.delegated()}
    said = ", ".join(f"{p.of.name} ({counts.get(p.of.name, '?')})" for p in worst)
    return scene.act(
        f"{sum(counts.values())} notes in all. A plan for the worst three: {said}.",
        delegate(worst),
        think="The rest can wait until somebody touches the code anyway.",
    )


# In the background: the pages are written while the lead goes on.


def _delegate_background(scene: Scene) -> Reply:
    return _hand_on(scene, scene.plan.children(scene.persona.name), background=True)


def _write_index(scene: Scene) -> Reply:
    names = [persona.of.name for persona in scene.plan.children(scene.persona.name)]
    page = "# Services\n\n" + bullets(f"[{name}](services/{name}.md)" for name in names) + "\n"
    return scene.act("They are at work. Meanwhile the page that leads to theirs.", write("docs/index.md", page))


def _report_or_wait(scene: Scene) -> Reply:
    if scene.delegated():
        return _report(scene)
    return scene.answer("The index stands, the pages are on their way. I report once they are written.")


# The branch that hangs: should its leaves ever come back by themselves, their lead does not.


def _hang(scene: Scene) -> Reply:
    return scene.act(
        "None of the tables came through by itself, so I compare the",
        fault=Fault(FaultKind.KEEPALIVE, characters=60, seconds=KEEP_ALIVE),
    )


# The captain: look, delegate all teams at once, write the report from what they answer.


def _captain_look(scene: Scene) -> Reply:
    return scene.act(
        "A release starts with a look at what there is.",
        look("."),
        read("README.md"),
        think="The goal names docs/release.md. I want to know the shop before I read what to do with it.",
    )


def _captain_read(scene: Scene) -> Reply:
    services = scene.last.count("- `services/")
    return scene.act(f"{several(services, 'service')}. Now the points that we follow.", read("docs/release.md"))


def _captain_delegate(scene: Scene) -> Reply:
    points = len(re.findall(r"^\d+\. ", scene.last, re.MULTILINE))
    teams = scene.plan.children(CAPTAIN)
    return scene.act(
        f"{several(points, 'point')}; the last one is mine. For the others {len(teams)} teams, all at once.",
        delegate(teams),
        think="Tests and mending share a point but not a pace: two teams. The report comes when all are back.",
    )


def _captain_write(scene: Scene) -> Reply:
    teams = scene.delegated()
    rows = [f"| {team.name} | {team.status} | {team.headline.replace('|', '/')} |" for team in teams]
    left = [f"{team.name}: {team.status}, {team.headline}" for team in teams if not _is_clean(team)]
    parts = [
        "# Release 4.2",
        "\n".join(["| team | state | result |", "| --- | --- | --- |", *rows]),
        f"## Left to do\n\n{bullets(left) or 'Nothing.'}",
        *(f"## {team.name}\n\n{team.summary.strip()}" for team in teams if _is_worth_a_part(team)),
    ]
    return scene.act(
        f"{several(len(teams), 'team')} came back, {len(left)} with something left to do. That is the report.",
        write("RELEASE.md", "\n\n".join(parts) + "\n"),
        think="What was not finished stands in the report as well, and before what went well.",
    )


def _captain_end(scene: Scene) -> Reply:
    teams = scene.delegated()
    left = [team for team in teams if not _is_clean(team)]
    if not teams:
        return scene.answer(f"No team could be sent.\n\n{scene.last[:300]}")
    return scene.answer(
        f"RELEASE.md is written: {len(teams) - len(left)} of {len(teams)} points without rest.\n\n"
        f"{bullets(f'{team.name} ({team.status}): {team.headline}' for team in left)}"
    )


def _is_worth_a_part(team: Child) -> bool:
    """Return whether the release's report holds the whole answer of a team."""
    return team.name in ("reviews", "mending") or not _is_clean(team)


def _is_clean(team: Child) -> bool:
    return team.status == "done" and " failed" not in team.headline


_USUAL: tuple[Step, ...] = (_look, _delegate, _report)
_OTHERS: Mapping[str, tuple[Step, ...]] = {
    "debt": (_look, _delegate_counts, _delegate_plans, _report),
    "docs": (_look, _delegate_background, _write_index, _report_or_wait),
    HANGING: (_look, _delegate, _hang),
}
CAPTAINS: tuple[Step, ...] = (_captain_look, _captain_read, _captain_delegate, _captain_write, _captain_end)


def lead(name: str) -> tuple[Step, ...]:
    """Return the turns of the lead of a team."""
    return _OTHERS.get(name, _USUAL)
