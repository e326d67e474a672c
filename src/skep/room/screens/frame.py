"""The main screen at rest: what stands where in each layout, which panel has the focus, and what the rules say."""

from __future__ import annotations

from typing import Literal

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.screen import Screen
from textual.widgets import Static

from skep.clock import Clock
from skep.control.link import Link
from skep.room.here import Here
from skep.room.keymap import Keymap
from skep.room.layout import LEAST_HEIGHT, LEAST_WIDTH, Layout, layout_for
from skep.room.look import Look
from skep.room.widgets.banner import Banner
from skep.room.widgets.footer import KeyFooter
from skep.room.widgets.header import Header
from skep.room.widgets.message import MessageLine
from skep.room.widgets.rule import Heading, Rule, Seam, TabRule
from skep.room.widgets.tail import Tail
from skep.room.widgets.tree import AgentTree
from skep.text import clean_line

PanelName = Literal["tree", "tail"]

HINTS = (
    "You watch this swarm; closing the room does not stop it.",
    "enter  its output",
    "p  hold new spawns under it",
    "x  interrupt it",
    "?  all keys",
)
"""For the free rows under a short tree, until ``esc``."""


class Frame(Screen[None]):
    """Header, banner, panels under their rules, message line and footer."""

    def __init__(self, link: Link, clock: Clock, look: Look, keymap: Keymap, *, compact: bool) -> None:
        super().__init__(classes="compact" if compact else None)
        self.link = link
        self.keymap = keymap
        self._clock = clock
        self._look = look
        self._here: Here | None = None
        self._panel: PanelName = "tree"
        self._zoomed = False
        self._frozen = False
        self._hinting = True
        self._fit = Layout.NONE
        registry = link.registry
        self.agents = AgentTree(registry, clock, look, id="tree")
        self.tail = Tail(look, follow_key=keymap.key("move.end", -1), id="tail")
        self.message = MessageLine(look, clock, id="message")
        self.header = Header(registry, clock, look, lambda: link.state, id="header")
        self.banner = Banner(registry, clock, look, lambda: link.state, keymap=keymap, id="banner")
        self.footer = KeyFooter(keymap, id="footer")
        self._tabs = TabRule(look, id="tabs")
        self._panels = Container(id="panels")
        self._tree_rule = Rule(look, id="rule-tree")
        self._tail_rule = Rule(look, id="rule-tail")

    def compose(self) -> ComposeResult:
        """From the top: header, banner, panels under their rules, message line, footer."""
        yield self.header
        yield self.banner
        yield self._tabs
        with self._panels:
            with Vertical(id="left"):
                yield self._tree_rule
                yield self.agents
            yield Seam(self._look)
            with Vertical(id="right"):
                yield self._tail_rule
                yield self.tail
        yield self.message
        yield self.footer
        yield Static(f"needs {LEAST_WIDTH}x{LEAST_HEIGHT}; the swarm runs on", id="too-small")

    # -- layout ------------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """Another layout may fit now."""
        self._lay_out(event.size.width, event.size.height)

    def _lay_out(self, width: int, height: int) -> None:
        layout = layout_for(width, height)
        if layout is not self._fit:
            self._fit = layout
            for one in Layout:
                self.set_class(one is layout, one.value)
            below = layout in (Layout.TABS, Layout.SMALL)
            # Where rows are scarce the banner takes one from the lower end, so that the tree does not jump.
            self.move_child(self.banner, after=self._panels if below else self.header)
        self._show_panels()

    def _show_panels(self) -> None:
        alone = self._zoomed or self._fit in (Layout.TABS, Layout.SMALL)
        self.set_class(alone and self._panel == "tree", "tree-only")
        self.set_class(alone and self._panel == "tail", "tail-only")
        self._head_panels()

    def action_zoom(self) -> None:
        """One panel alone, or both again."""
        self._zoomed = not self._zoomed
        self._show_panels()

    # -- focus -------------------------------------------------------------------------------------------------

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The rule above the focused panel is heavy."""
        if event.widget is self.agents or event.widget is self.tail:
            self._panel = "tree" if event.widget is self.agents else "tail"
            self._show_panels()

    def focus_panel(self, name: PanelName) -> None:
        """Show a panel and give it the focus."""
        self._panel = name
        self._show_panels()
        (self.agents if name == "tree" else self.tail).focus()

    @on(Rule.Picked)
    def _rule_picked(self, event: Rule.Picked) -> None:
        self.focus_panel("tree" if event.rule is self._tree_rule else "tail")

    @on(TabRule.Picked)
    def _tab_picked(self, event: TabRule.Picked) -> None:
        self.focus_panel("tree" if event.index == 0 else "tail")

    def action_panel(self, name: PanelName) -> None:
        """To a panel by its number."""
        self.focus_panel(name)

    def action_panel_next(self) -> None:
        """To the other panel."""
        self.focus_panel("tail" if self._panel == "tree" else "tree")

    # -- rules -------------------------------------------------------------------------------------------------

    def _head_panels(self) -> None:
        """Renew the rules above the panels; those that read the same are not drawn again."""
        here = self._here
        name = clean_line(here.agent.name, limit=80) if here is not None else "Tail"
        tree = Heading("1", self.agents.title, self.agents.note, f"{self._count():,}")
        tail = Heading("2", name, self.tail.note or self._tail_note())
        focused = self.focused
        for rule, heading, panel in ((self._tree_rule, tree, self.agents), (self._tail_rule, tail, self.tail)):
            rule.heading, rule.focused, rule.dashed = heading, focused is panel, self._frozen
        tabs = self._tabs
        with_note = Heading("2", "Tail", name if self._panel == "tail" else "")
        note = self.agents.note if self.agents.hits is not None or self.agents.marked else ""
        tabs.headings = (Heading("1", "Agents", note, tree.count), with_note)
        tabs.current = 0 if self._panel == "tree" else 1
        tabs.dashed = self._frozen
        self.set_class(self.banner.quiet, "quiet")
        total = self.header.total
        over = total.status is not None or total.gone
        free = self.agents.size.height - len(self.agents.outline) - 2
        self.agents.set_hints(HINTS if self._hinting and not over and free > len(HINTS) else ())

    def _tail_note(self) -> str:
        if self._here is None:
            return ""
        agent = self._here.agent
        pids = ", ".join(str(pid) for pid in agent.pids[:2])
        return f"{agent.state.value.replace('_', ' ')}{f'   pid {pids}' if pids else ''}"

    def _count(self) -> int:
        return self.agents.outline.rows.commands
