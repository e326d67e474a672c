"""What is typed on the message line: filter, search, command, reason, and where to save the output."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skep.errors import BadInput, SkepError
from skep.model.events import ROOT
from skep.model.holds import SWARM_SCOPE, Latch, Scope, ScopeKind
from skep.model.states import Strength
from skep.room.command import VERBS, Command, parse, resolve
from skep.room.look import Role
from skep.room.screens.stop import How
from skep.room.widgets.message import PromptKind
from skep.text import clean_line

if TYPE_CHECKING:
    from skep.room.screens.main import MainScreen


class Prompting:
    """Opens prompts and does what was entered."""

    def __init__(self, screen: MainScreen) -> None:
        self._screen = screen
        self._filter = ""
        self._latch: Latch | None = None

    # -- opening -----------------------------------------------------------------------------------------------

    def find(self, panel: str) -> None:
        """The filter of the tree, or the search of the tail."""
        if panel == "tail":
            self._screen.message.prompt(PromptKind.SEARCH, "search / ")
        else:
            self._screen.message.prompt(PromptKind.FILTER, "filter / ", self._filter)

    def command(self) -> None:
        """A command, with the verbs as suggestions."""
        self._screen.message.prompt(PromptKind.COMMAND, ": ", suggestions=VERBS)

    def reason(self, latch: Latch | None) -> None:
        """Why something is held."""
        if latch is None:
            self._screen.message.tell("nothing is held here", Role.GREY)
            return
        self._latch = latch
        self._screen.message.prompt(PromptKind.REASON, "reason ", clean_line(latch.reason))

    def save(self) -> None:
        """Where to save the output; proposes a name that no path can hide in."""
        agent = self._screen.tail.agent
        if agent is not None:
            name = "".join(char if char.isalnum() or char in "-_." else "-" for char in agent)
            self._screen.message.prompt(PromptKind.SAVE, "save to ", f"{name}.log")

    # -- while typing, and leaving -----------------------------------------------------------------------------

    def typed(self, kind: PromptKind, text: str) -> None:
        """The filter works while it is typed; what is wrong with it stands beside it."""
        if kind is PromptKind.FILTER:
            self._screen.message.trouble(self._screen.agents.set_filter(text) or "")

    def cancel(self) -> bool:
        """Put an open prompt away, with the filter as it was before; False if there is none."""
        kind = self._screen.message.prompting
        if kind is None:
            return False
        if kind is PromptKind.FILTER:
            self._screen.agents.set_filter(self._filter)
        self._screen.close_prompt()
        return True

    def clear_filter(self) -> None:
        """All agents again."""
        self._filter = ""
        self._screen.agents.set_filter("")
        self._screen.agents.alerts_only = False

    # -- entered -----------------------------------------------------------------------------------------------

    def entered(self, kind: PromptKind, text: str) -> None:
        """Do it; a filter or a command that cannot be understood stays to be mended."""
        try:
            self._enter(kind, text)
        except SkepError as error:
            self._screen.message.trouble(f"{error.what}{f'; {error.mend}' if error.mend else ''}")

    def _enter(self, kind: PromptKind, text: str) -> None:
        screen = self._screen
        if kind is PromptKind.FILTER:
            wrong = screen.agents.set_filter(text)
            if wrong is not None:
                raise BadInput(wrong)
            self._filter = text.strip()
            screen.close_prompt()
        elif kind is PromptKind.SEARCH:
            screen.close_prompt()
            if text and not screen.tail.search(text):
                screen.message.tell(f"no {clean_line(text, limit=60)} in this output", Role.GREY)
        elif kind is PromptKind.COMMAND:
            command = parse(text)
            done = self._command(command) if command is not None else None
            screen.close_prompt()
            if done is not None:
                done()
        elif kind is PromptKind.REASON:
            screen.close_prompt()
            if self._latch is not None:
                screen.acting.give_reason(self._latch, text.strip())
        else:
            screen.close_prompt()
            if text.strip():
                screen.run(self._save(Path(text.strip()).expanduser(), screen.tail.text()))

    def _command(self, command: Command) -> Callable[[], None]:
        """What to do once the prompt is away; addresses are resolved before, so that they can be mended."""
        screen = self._screen
        simple: dict[str, Callable[[], None]] = {
            "freeze": screen.action_freeze,
            "help": screen.action_help,
            "quit": screen.action_leave,
        }
        if command.verb in simple:
            return simple[command.verb]
        if command.verb == "find":
            wrong = screen.agents.set_filter(command.text)
            if wrong is not None:
                raise BadInput(wrong)
            self._filter = command.text
            return lambda: screen.focus_panel("tree")
        with screen.link.registry.read() as state:
            agent = resolve(state, command.address, screen.agents.cursor)
        if command.verb == "tail":
            return lambda: self._tail(agent if command.address else screen.agents.cursor)
        if command.verb in ("pause", "unpause"):
            return self._hold(command, agent)
        if command.verb == "resume":
            return lambda: screen.acting.resume((agent,))
        return lambda: screen.stopping.stop((agent,), branch=command.branch, how=How(command.verb))

    def _hold(self, command: Command, agent: str) -> Callable[[], None]:
        wanted = command.verb == "pause"
        scope = SWARM_SCOPE if agent == ROOT else agent
        if command.model:
            scope = str(Scope(ScopeKind.MODEL, command.model))
        elif command.account:
            scope = str(Scope(ScopeKind.ACCOUNT, self._account(command.account)))
        return lambda: self._screen.acting.hold(
            (scope,),
            wanted,
            strength=Strength.TURNS if command.turns else Strength.SPAWNS,
            reason=command.reason,
            seconds=command.seconds,
        )

    def _account(self, name: str) -> str:
        """The full name of an account that was written without its provider."""
        with self._screen.link.registry.read() as state:
            known = dict.fromkeys(one for names in state.accounts.values() for one in names)
        return next((one for one in known if one.partition("/")[2] == name), name)

    def _tail(self, agent: str | None) -> None:
        if agent is not None and self._screen.agents.go_to(agent):
            self._screen.focus_panel("tail")

    async def _save(self, path: Path, lines: Sequence[str]) -> None:
        try:
            await asyncio.to_thread(_write_new, path, lines)
        except OSError as error:
            why = error.strerror or str(error)
            self._screen.message.fail(BadInput("the output was not saved", where=str(path), why=why))
        else:
            self._screen.message.tell(f"saved {len(lines):,} lines to {clean_line(str(path), limit=200)}")


def _write_new(path: Path, lines: Sequence[str]) -> None:
    with path.open("x", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)
