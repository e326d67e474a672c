"""One line for what is held or broken; its row stays when there is nothing to say, so that nothing jumps."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.strip import Strip
from textual.widget import Widget

from skep.clock import Clock
from skep.control.link import LinkState
from skep.model.agent import Face
from skep.model.registry import Changes, Registry
from skep.room.headline import Headline, headline
from skep.room.keymap import ACTS, Keymap
from skep.room.look import ROLE_CLASSES, Ground, Look, Role, role_css
from skep.room.notices import NOTHING, Gravity, Notice, notices
from skep.room.widgets.ink import Inks
from skep.room.widgets.pen import Pen
from skep.text import width

EVERY = 1.0
"""Seconds between two looks if nothing was said to have changed."""

_GROUNDS = {Gravity.BROKEN: Ground.BROKEN, Gravity.HOLD: Ground.HOLD, Gravity.PLAIN: None}


class Banner(Widget):
    """The gravest notice in full, the others as a number."""

    COMPONENT_CLASSES: ClassVar[set[str]] = set(ROLE_CLASSES)
    DEFAULT_CSS = f"Banner {{ height: 1; width: 100%; background: $background; }}\n{role_css('Banner')}"

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        look: Look,
        link: Callable[[], LinkState],
        *,
        keymap: Keymap | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._registry = registry
        self._clock = clock
        self._look = look
        self._link = link
        self._keymap = keymap if keymap is not None else Keymap(ACTS)
        self._inks = Inks(self)
        self._looked_at = float("-inf")
        self._frozen_at: float | None = None
        self._total = Headline()
        self._seq = -1
        """Number of the event up to which the total counts."""
        self._said: tuple[Notice, ...] = (NOTHING,)

    @property
    def notices(self) -> tuple[Notice, ...]:
        """Everything that there is to say, the gravest first."""
        return self._said

    @property
    def quiet(self) -> bool:
        """Nothing is held and nothing is broken: where rows are scarce the banner can go."""
        return self._said[0].gravity is Gravity.PLAIN and self._frozen_at is None

    @property
    def frozen_at(self) -> float | None:
        """Since when the operator has frozen the screen, epoch seconds; None if it moves."""
        return self._frozen_at

    @frozen_at.setter
    def frozen_at(self, at: float | None) -> None:
        self._frozen_at = at
        self._look_again()

    def set_registry(self, registry: Registry) -> None:
        """Look at another registry."""
        self._registry = registry
        self._seq = -1
        self._look_again()

    def refresh_from(self, changes: Changes) -> None:
        """Take in what a watch saw; called by the screen's tick, and draws only what reads differently."""
        if changes.structure or self._clock.monotonic() - self._looked_at >= EVERY:
            self._look_again()

    def _look_again(self) -> None:
        self._looked_at = self._clock.monotonic()
        link = self._link()
        with self._registry.read() as state:
            said = notices(
                state, headline(state, gone=link.gone), link, self._keymap, self._frozen_at, self._clock.time()
            )
        if said != self._said:
            self._said = said
            self.refresh()

    def on_mount(self) -> None:
        """The first look."""
        self._look_again()

    def notify_style_update(self) -> None:
        """Theme or style sheet have changed."""
        super().notify_style_update()
        self._inks.clear()

    def render_line(self, y: int) -> Strip:
        """The one row."""
        cells, notice = self.size.width, self._said[0]
        loud = notice.gravity is not Gravity.PLAIN
        role = Role.TEXT if loud else Role.GREY
        pen = Pen(self._inks, self._look, _GROUNDS[notice.gravity])
        if notice.gravity is Gravity.HOLD:
            pen.to(1).put(self._look.faces[Face.HELD], Role.BLUE)
        elif notice.gravity is Gravity.BROKEN:
            pen.to(1).put(self._look.faces[Face.FAILED], Role.RED, bold=True)
        more = f"+{len(self._said) - 1}" if len(self._said) > 1 else ""
        hint = "   ".join(part for part in (more, notice.hint) if part)
        end = cells - width(hint) - 1
        if end < width(notice.what) + 6:
            hint, end = "", cells - 1
        pen.to(3).put(notice.what, role, most=max(end - pen.taken, 0), bold=loud)
        for detail in notice.details:
            if pen.taken + 3 + width(detail) > end - 2:
                room = end - 2 - pen.taken - 3
                if room > 12:
                    pen.put("   ", role).put(detail, role, most=room)
                break
            pen.put(f"   {detail}", role)
        pen.to(cells - width(hint) - 1)
        if hint:
            pen.put(hint, role, bold=loud)
        return pen.strip(cells)
