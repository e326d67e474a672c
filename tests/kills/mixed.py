"""A mixed swarm whose every execution leaves a trace: commands that stay, work and fail, agents that delegate."""

from __future__ import annotations

from pathlib import Path

from skep.control.verbs import Pause
from skep.model.approvals import Commands
from skep.model.children import Role
from skep.model.events import Json
from skep.model.launch import AgentAsk, ChatSpec, CommandSpec, EngineSettings, Launch
from skep.model.states import DriverKind, Strength
from skep.providers import Prices, Provider
from tests.chat.asking import call, delegate, goal, task

WORK = """#!/bin/sh
echo "$1 ${SKEP_AGENT#*/}" >> traces
echo "$1" > bell
case $2 in
    gate) dd if=gate bs=1 count=1 2> /dev/null ;;
    deaf) trap '' INT TERM; while :; do sleep 600; done ;;
    away) env -i setsid sh -c 'sleep 600 & exec sleep 600' & exec sleep 600 ;;
    stay) exec sleep 600 ;;
    fail) exit 1 ;;
esac
echo "$1 is done"
"""

STAYS, LEADS, ASKS, JOBS, MORE = 20, 8, 2, 24, 4
SLOTS = 40
CAP = 5
"""Requests at once on each of three keys: twelve chat agents run, the others wait for one of them."""

PRICES = Prices(input=2.0, output=8.0)
ACCOUNT, OTHER_ACCOUNT = "account:local/local-3", "account:local/local-2"
HOLDS = (
    Pause(scope="late", reason="lunch"),
    Pause(scope="later", reason="until tea", seconds=3600),
    Pause(scope="model:local/other", strength=Strength.TURNS, reason="too dear"),
    Pause(scope=ACCOUNT, strength=Strength.TURNS, reason="for others"),
)
"""What is held before anybody is let in, a hold of each scope."""


def holds_of(launch: Launch) -> list[Pause]:
    """Those, and one over what only a later life shall let in."""
    later = (ask.id for ask in launch.agents if ask.id.startswith("stay") and ask.id != "stay1")
    return [*HOLDS, *(Pause(scope=group, reason="for a later life") for group in later)]


_HOWS = ("stay", "deaf", "stay", "away")


def launch(swarm: str, project: Path, base_url: str, *, lives: int = 1, stays: int = STAYS) -> Launch:
    """The swarm; for each life after the first there is another group of commands that stay."""
    made = _Making(project)
    for life in range(1, lives + 1):
        made.group(f"stay{life}")
        for n in range(stays):
            made.command(f"s{life}.{n}", f"stay{life}", _HOWS[n % len(_HOWS)])
    for name in ("chat", "jobs", "more", "late", "later"):
        made.group(name)
    for n in range(LEADS):
        made.lead(n)
    for n in range(ASKS):
        asks = [{"say": "May I?", **_work(f"ask{n}.{part}")} for part in (1, 2)]
        made.chat(f"ask{n}", *asks, {"say": f"ask{n} is done"}, commands=Commands.ASK)
    made.chat(
        "hold", {"calls": [_call("list_files"), _work("hold.1", "stay"), _work("hold.2")]}, {"say": "hold is done"}
    )
    made.chat("talk", _work("talk.1"), {"say": "one word after the other", "silent": 8})
    for n in range(JOBS):
        made.command(f"job{n}", "jobs", "fail" if n % 8 == 7 else "", retries=int(n % 8 == 7))
    for n in range(MORE):
        made.chat(f"more{n}", _work(f"more{n}.1"), {"say": f"more{n} is done"}, parent="more")
    for n in range(3):
        made.command(f"late{n}", "late")
        made.command(f"later{n}", "later")
    made.chat("other", _work("other.1"), {"say": "other is done"}, model="local/other", parent="more")
    provider = Provider(
        base_url=base_url, keys="LOCAL_KEY", max_concurrency=CAP, prices={"large": PRICES, "other": PRICES}
    )
    return Launch(
        swarm=swarm,
        name="mixed",
        cwd=str(project),
        max_running=SLOTS,
        agents=tuple(made.asks),
        settings=EngineSettings(providers={"local": provider}, max_depth=2, grace=1.0, term_grace=1.0),
    )


class _Making:
    """Collects what is asked for."""

    def __init__(self, project: Path) -> None:
        self._project = str(project)
        self.asks: list[AgentAsk] = []

    def group(self, name: str) -> None:
        self.asks.append(AgentAsk(id=name, name=name, driver=DriverKind.GROUP))

    def command(self, name: str, parent: str, how: str = "", retries: int = 0) -> None:
        spec = CommandSpec(argv=("./work", name, how), cwd=self._project, retries=retries)
        self.asks.append(AgentAsk(id=name, parent=parent, name=name, command=spec))

    def chat(
        self,
        name: str,
        *steps: dict[str, Json],
        parent: str = "chat",
        commands: Commands = Commands.ALLOW,
        model: str = "local/large",
    ) -> None:
        spec = ChatSpec(model=model, cwd=self._project, role=Role.ORCHESTRATOR, commands=commands)
        text = goal(name, *steps)
        self.asks.append(AgentAsk(id=name, parent=parent, name=name, driver=DriverKind.CHAT, goal=text, chat=spec))

    def lead(self, n: int) -> None:
        """Waits at the gate in a tool; then looks, works, delegates in both ways, and hears what became of it."""
        me = f"lead{n}"
        leaf = [task(f"leaf{n}{one}", _work(f"leaf{n}{one}.1"), {"say": f"leaf {one}"}) for one in "abc"]
        self.chat(
            me,
            {"calls": [_call("list_files"), _work(f"{me}.1", "gate"), _work(f"{me}.2")]},
            delegate(*leaf[:2]),
            delegate(leaf[2], background=True),
            {"think": "and now", "calls": [_work(f"{me}.3"), _call("read_file", path="work"), _work(f"{me}.4")]},
            {"say": f"{me} writes slowly of what it has found out so far", "rate": 100, **_call("list_files")},
            {"say": f"{me} is done"},
        )


def _call(name: str, **arguments: Json) -> dict[str, Json]:
    return call(name, **arguments)


def _work(label: str, how: str = "") -> dict[str, Json]:
    return call("terminal", command=f"./work {label} {how}".strip())
