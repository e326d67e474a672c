"""The main screen at rest: what stands where in each layout, which panel has the focus, and what the rules say."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Literal, get_args

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.screen import Screen
from textual.widgets import Static

from skep.clock import Clock
from skep.control.link import Link
from skep.room.here import Here
from skep.room.keymap import Keymap
from skep.room.keywatch import KeyWatch
from skep.room.layout import LEAST_HEIGHT, LEAST_WIDTH, ROOMY_HEIGHT, Layout, layout_for
from skep.room.look import Look, Role
from skep.room.widgets.banner import Banner
from skep.room.widgets.canvas import Canvas
from skep.room.widgets.footer import KeyFooter
from skep.room.widgets.header import Header
from skep.room.widgets.keys import KeysPanel, strip_of
from skep.room.widgets.message import MessageLine
from skep.room.widgets.rule import Heading, Rule, Seam, TabRule
from skep.room.widgets.tail import Tail
from skep.room.widgets.tree import AgentTree
from skep.text import clean_line

PanelName = Literal["tree", "tail", "keys"]

PANELS: tuple[PanelName, ...] = get_args(PanelName)
"""In the order of their numbers."""

HINTS = (
    "You watch this swarm; closing the room does not stop it.",
    "enter  its output",
    "p  hold new spawns under it",
    "x  interrupt it",
    "?  all keys",
)
"""For the free rows under a short tree, until ``esc``."""

ANSWER_HINT = "i  answer what asks"
"""One more, where there are agents that may ask."""


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
        self._roomy = False
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
        self._keys_rule = Rule(look, id="rule-keys")
        self._below = Vertical(id="below")
        self.keys = KeysPanel(clock, look, id="keys")
        self._watched = KeyWatch(link, clock, self._ask_keys, self._head_panels)

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
        with self._below:
            yield self._keys_rule
            yield self.keys
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
            self.move_child(self.banner, after=self._below if below else self.header)
        self._roomy = layout is Layout.WIDE and height >= ROOMY_HEIGHT
        self._show_panels()

    def _show_panels(self) -> None:
        alone = self._zoomed or self._fit in (Layout.TABS, Layout.SMALL)
        for panel in PANELS:
            self.set_class(alone and self._panel == panel, f"{panel}-only")
        # Without a table its rule says the most of it; it unfolds while it has the focus.
        self.set_class(self._roomy or self._panel == "keys", "keys-open")
        self._head_panels()

    def action_zoom(self) -> None:
        """One panel alone, or both again."""
        self._zoomed = not self._zoomed
        self._show_panels()

    # -- focus -------------------------------------------------------------------------------------------------

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The rule above the focused panel is heavy."""
        name = next((name for name in PANELS if self._widget(name) is event.widget), None)
        if name is not None:
            self._panel = name
            self._show_panels()

    def focus_panel(self, name: PanelName) -> None:
        """Show a panel and give it the focus."""
        if name == "keys" and not self.chat:
            self.message.tell("no keys: commands need none", Role.GREY)
            return
        self._panel = name
        self._show_panels()
        self._widget(name).focus()

    def _widget(self, name: PanelName) -> Canvas:
        return {"tree": self.agents, "tail": self.tail, "keys": self.keys}[name]

    @property
    def chat(self) -> bool:
        """Some agents hold conversations with a model: there are keys and questions."""
        return self.agents.outline.rows.chat

    @on(Rule.Picked)
    def _rule_picked(self, event: Rule.Picked) -> None:
        rules: dict[Rule, PanelName] = {self._tail_rule: "tail", self._keys_rule: "keys"}
        self.focus_panel(rules.get(event.rule, "tree"))

    @on(TabRule.Picked)
    def _tab_picked(self, event: TabRule.Picked) -> None:
        self.focus_panel(PANELS[event.index])

    def action_panel(self, name: PanelName) -> None:
        """To a panel by its number."""
        self.focus_panel(name)

    def action_panel_next(self) -> None:
        """To the next panel, round the end."""
        there = PANELS if self.chat else PANELS[:2]
        self.focus_panel(there[(there.index(self._panel) + 1) % len(there)])

    # -- rules -------------------------------------------------------------------------------------------------

    def _head_panels(self) -> None:
        """Renew the rules above the panels; those that read the same are not drawn again."""
        here = self._here
        name = clean_line(here.agent.name, limit=80) if here is not None else "Tail"
        tree = Heading("1", self.agents.title, self.agents.note, f"{self._count():,}")
        tail = Heading("2", name, self.tail.note or self._tail_note())
        focused = self.focused
        self.set_class(self.chat, "chat")
        keys = self._head_keys()
        rules = (
            (self._tree_rule, tree, self.agents),
            (self._tail_rule, tail, self.tail),
            (self._keys_rule, keys, self.keys),
        )
        for rule, heading, panel in rules:
            rule.heading, rule.focused, rule.dashed = heading, focused is panel, self._frozen
        tabs = self._tabs
        with_note = Heading("2", "Tail", name if self._panel == "tail" else "")
        note = self.agents.note if self.agents.hits is not None or self.agents.marked else ""
        tabs.headings = (Heading("1", "Agents", note, tree.count), with_note, *([keys] if self.chat else []))
        tabs.current = PANELS.index(self._panel)
        tabs.dashed = self._frozen
        self.set_class(self.banner.quiet, "quiet")
        total = self.header.total
        over = total.status is not None or total.gone
        free = self.agents.size.height - len(self.agents.outline) - 2
        hints = (*HINTS[:-1], ANSWER_HINT, HINTS[-1]) if self.chat else HINTS
        self.agents.set_hints(hints if self._hinting and not over and free > len(hints) else ())

    def _head_keys(self) -> Heading:
        """Renew the keys panel; returns what its rule says."""
        board, now = self._watched.board, self._clock.time()
        if not self.chat:
            return Heading("3", "Keys")
        self.keys.show(board)
        self.keys.styles.height = "1fr" if self.has_class("keys-only") else self.keys.wanted
        is_open = self.has_class("keys-open")
        self._keys_rule.pieces = () if is_open else strip_of(board, self._look, now)
        return Heading("3", "Keys", board.note(now) if is_open else board.waits(now) or board.trouble)

    @property
    def keys_visible(self) -> bool:
        """The keys panel, or the rule that stands for it, can be seen."""
        if not self.chat or self._fit is Layout.NONE:
            return False
        return self._panel == "keys" or not (self._zoomed or self._fit in (Layout.TABS, Layout.SMALL))

    def _ask_keys(self, work: Coroutine[None, None, None]) -> None:
        self.run_worker(work, group="keys")

    def _tail_note(self) -> str:
        if self._here is None:
            return ""
        agent = self._here.agent
        pids = ", ".join(str(pid) for pid in agent.pids[:2])
        return f"{agent.state.value.replace('_', ' ')}{f'   pid {pids}' if pids else ''}"

    def _count(self) -> int:
        return self.agents.outline.rows.commands
