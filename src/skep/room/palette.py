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
    run: Callable[[], object]
    keys: str = ""
    refused: str = ""
    """Why it cannot be done now."""

    def shown(self, name: Content | None = None) -> Content:
        """The name, with its keys; grey, with the reason, if it cannot be done."""
        if self.refused:
            return Content.assemble((f"{self.name}   not now: {self.refused}", "dim"))
        return Content.assemble(name if name is not None else self.name, ("   " + self.keys, "dim"))


class Acts(Provider):
    """The acts of the screen below, and the themes."""

    async def discover(self) -> Hits:
        """All of them, before anything is typed."""
        for entry in self._entries():
            yield DiscoveryHit(entry.shown(), entry.run, text=entry.name)

    async def search(self, query: str) -> Hits:
        """Those that match, best first."""
        matcher = self.matcher(query)
        for entry in self._entries():
            score = matcher.match(entry.name)
            if score > 0:
                yield Hit(score, entry.shown(matcher.highlight(entry.name)), entry.run, text=entry.name)

    def _entries(self) -> Iterator[_Entry]:
        screen = self.screen
        if isinstance(screen, Offers):
            for act in screen.keymap.acts:
                if act.offered:
                    keys = " ".join(shown(key) for key in act.keys)
                    why = screen.refused_because(act) or ""
                    yield _Entry(f"{act.area}: {act.says}", partial(screen.perform, act), keys, why)
        for theme in sorted(self.app.available_themes):
            yield _Entry(f"theme: {theme}", partial(self._use, theme))

    def _use(self, theme: str) -> None:
        self.app.theme = theme
