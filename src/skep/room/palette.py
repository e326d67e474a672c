"""Everything that can be done, by name: entries ``area: verb`` for the command palette, from the key map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from skep.room.keymap import Act, Keymap, shown


@runtime_checkable
class Offers(Protocol):
    """A screen whose acts the palette lists."""

    keymap: Keymap

    def refused_because(self, act: Act) -> str | None:
        """Why an act cannot be done now; None if it can."""

    async def perform(self, act: Act) -> None:
        """Do it as if its key had been pressed."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    help: str
    run: Callable[[], object]
    refused: bool

    @property
    def shown(self) -> Content:
        """The name, grey if it cannot be done."""
        return Content.styled(self.name, "dim") if self.refused else Content(self.name)


class Acts(Provider):
    """The acts of the screen below, and the themes."""

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for entry in self._entries():
            yield DiscoveryHit(entry.shown, entry.run, text=entry.name, help=entry.help)

    async def search(self, query: str) -> Hits:
        """Those that match, best first."""
        matcher = self.matcher(query)
        for entry in self._entries():
            score = matcher.match(entry.name)
            if score > 0:
                yield Hit(score, matcher.highlight(entry.name), entry.run, text=entry.name, help=entry.help)

    def _entries(self) -> Iterator[_Entry]:
        screen = self.screen
        if isinstance(screen, Offers):
            for act in screen.keymap.acts:
                if act.offered:
                    why = screen.refused_because(act)
                    keys = " ".join(shown(key) for key in act.keys)
                    name = f"{act.area}: {act.says}"
                    yield _Entry(name, f"not now: {why}" if why else keys, partial(screen.perform, act), bool(why))
        for theme in sorted(self.app.available_themes):
            yield _Entry(f"theme: {theme}", "colours of the room", partial(self._use, theme), False)

    def _use(self, theme: str) -> None:
        self.app.theme = theme
