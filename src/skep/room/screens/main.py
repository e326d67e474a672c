"""The main screen: tree and tail, one tick that hands down what has changed, and the way from keys to acts."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import ClassVar

from textual import events, on
from textual.binding import BindingType
from textual.command import CommandPalette
from textual.widget import Widget

from skep.clock import Clock
from skep.control.link import Link
from skep.model.events import ROOT
from skep.model.holds import SWARM_SCOPE
from skep.model.registry import Changes
from skep.model.states import DriverKind, Strength
from skep.room.doing import Places
from skep.room.here import HeldHere, held_here, look_at
from skep.room.keymap import Act, Keymap, Place, bindings
from skep.room.listening import Listening
from skep.room.look import Look, Role
from skep.room.palette import Acts
from skep.room.screens.acting import Acting
from skep.room.screens.answering import Answering
from skep.room.screens.frame import Frame
from skep.room.screens.help import HelpScreen
from skep.room.screens.prompting import Prompting
from skep.room.screens.sending import refusal
from skep.room.screens.stop import How, StopDialog, StopPlan
from skep.room.screens.stopping import Stopping
from skep.room.still import still
from skep.room.widgets.message import MessageLine, Part, Question, Says
from skep.room.widgets.tail import Tail
from skep.room.widgets.tree import AgentTree

SILENT_FROM = 10.0
"""Seconds without a word from the engine from which on nothing that is shown is known to be so."""


ABSENT_FOR_COMMANDS = frozenset({"answer"})
"""Acts that the footer leaves out where all agents are programs, which ask nothing."""


class MainScreen(Frame):
    """The frame brought to life: what keys do, and what is new."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Place.ROOM)]

    def __init__(
        self,
        link: Link,
        clock: Clock,
        look: Look,
        keymap: Keymap,
        *,
        window: float,
        foreground: bool,
        compact: bool,
    ) -> None:
        super().__init__(link, clock, look, keymap, compact=compact)
        self._foreground = foreground
        self._watch = link.registry.watch()
        self._seen = link.registry
        """What the picture shows: the swarm, or while it is frozen how that was."""
        self._places = Places()
        self._held = HeldHere()
        self._second = -1
        self._silent_since: float | None = None
        """The last word of the engine, epoch seconds, if that was long ago."""
        self._lost = False
        self.acting = Acting(self, link, clock, self.message, look, keymap)
        self.stopping = Stopping(
            self, link, clock, self.message, look, keymap, window=window, rate=self.header.hourly
        )
        self.prompting = Prompting(self)
        self.answering = Answering(self, clock, look)
        self._listening = Listening(link, self.tail, self._load, self.message.fail)

    def on_mount(self) -> None:
        """The tree has the focus."""
        self._lay_out(self.app.size.width, self.app.size.height)
        self.agents.focus()
        self.tick()

    def on_unmount(self) -> None:
        """Nobody reads what is gathered any more."""
        self._watch.close()

    # -- the tick ----------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Called by the app's one timer while this screen is in front: hand down what has changed."""
        self.message.tick()
        self._greet_again()
        self.stopping.tick()
        if self._frozen:
            self._listening.tick(frozen=True)
            self.banner.refresh_from(Changes())
            return
        changes = self._watch.take()
        self.agents.refresh_changes(changes)
        self.header.refresh_from(changes)
        self.banner.refresh_from(changes)
        self._listening.tick()
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second = second
            self.agents.refresh_ages()
            self._age_picture()
            self._describe()
            self.answering.tick()
            self._watched.tick(visible=self.keys_visible)
        elif changes.structure or self._concerns_here(changes):
            self._describe()

    def _age_picture(self) -> None:
        """Ages stand and live glyphs are grey where nothing was heard for long; a lost engine runs nothing."""
        state = self.link.state
        silent = state.live and not state.gone and state.behind >= SILENT_FROM
        if silent and self._silent_since is None:
            self._silent_since = self._clock.time() - state.behind
        elif not silent:
            self._silent_since = None
        self.agents.set_picture(self._silent_since, pale=silent, gone=state.gone)

    def _greet_again(self) -> None:
        """Say that an engine is there again: what the message line said before it was is no longer true."""
        state = self.link.state
        lost = state.live and (not state.connected or state.silent)
        if self._lost and not lost:
            self.message.tell("the engine is back, and this is how things are", Role.GREY)
        self._lost = lost

    def _concerns_here(self, changes: Changes) -> bool:
        agent = self._here.agent.id if self._here is not None else None
        return agent in changes.agents or agent in changes.live

    def _describe(self) -> None:
        """Renew what is said of the cursor's agent, wherever it is said."""
        before = self._here
        self._here = here = look_at(self._seen, self.agents.cursor, self._places, gone=self.link.state.gone)
        self._held = held_here(self._seen, self._targets())
        self.message.describe(here.line(self._look, self.keymap.key("answer")) if here is not None else Says())
        above, below = here.edges(self._look, self._clock.time()) if here is not None else ([], [])
        agent = here.agent.id if here is not None else None
        if agent != self.tail.agent:
            group = here is not None and here.agent.driver is DriverKind.GROUP
            self.tail.show(agent, above, below, follow=not group, gutters=here is not None and here.chat)
            self._listening.turn_to(agent)
        else:
            self.tail.edge(above, below)
            if here is not None and here.agent.ended and before is not None and not before.agent.ended:
                self._listening.ask_again()
        self.tail.set_status(here.status() if here is not None else None)
        self.footer.words = {"hold": "release"} if Strength.SPAWNS in self._held.here else {}
        self.footer.absent = frozenset() if self.chat else ABSENT_FOR_COMMANDS
        self.footer.refused = refusal(self.link.state) is not None
        self._head_panels()

    # -- moving ------------------------------------------------------------------------------------------------

    @on(AgentTree.CursorMoved)
    def _cursor_moved(self) -> None:
        self._describe()

    @on(AgentTree.Opened)
    def _opened(self) -> None:
        self.focus_panel("tail")

    @on(Tail.Changed)
    def _tail_changed(self) -> None:
        self._head_panels()

    def on_key(self, event: events.Key) -> None:
        """A question on the message line takes its answer before any binding does; an error has been seen."""
        self.message.key_pressed()
        question = self.message.question
        if question is None:
            return
        self.message.drop_question()
        answer = dict(question.keys).get(event.key)
        if event.key == "enter" and question.yes is not None:
            answer = question.yes
        if answer is not None:
            event.stop()
            answer()
        elif event.key == "escape":
            event.stop()

    def action_enter(self) -> None:
        """Sooner, while a take-back window is open; else the output of the cursor's agent."""
        if self.stopping.window_open:
            self.stopping.sooner()
        elif self._panel == "tree":
            self.agents.action_open()

    def action_back(self) -> None:
        """One rung of the ladder: prompt, search, filter, marks, zoom, panel; then nothing."""
        if self.prompting.cancel():
            return
        if self._panel == "tail" and self.tail.searching:
            self.tail.search("")
        elif self.agents.hits is not None:
            self.prompting.clear_filter()
        elif self.agents.marked:
            self.agents.action_clear_marks()
        elif self._zoomed:
            self.action_zoom()
        elif self._panel != "tree":
            self.focus_panel("tree")
        else:
            self._hinting = False
        self._describe()

    # -- looking -----------------------------------------------------------------------------------------------

    def action_find(self) -> None:
        """Filter the agents, or search the output, by which of them has the focus."""
        self.prompting.find(self._panel)

    def action_match(self, step: int) -> None:
        """The next match in the focused panel."""
        panel = self.tail if self._panel == "tail" and self.tail.searching else self.agents
        if not panel.next_match(step):
            self.message.tell("no match", Role.GREY)

    def action_alert(self) -> None:
        """The next agent that needs the operator."""
        if not self.agents.next_alert():
            self.message.tell("nobody needs you", Role.GREY)

    def action_alerts_only(self) -> None:
        """Only agents that need the operator, or all again."""
        self.agents.alerts_only = not self.agents.alerts_only
        self._describe()

    def action_freeze(self) -> None:
        """Freeze the picture, or let it move again; the swarm does not care."""
        self._frozen = not self._frozen
        now = self._clock.time() if self._frozen else None
        self._seen = still(self.link.registry) if self._frozen else self.link.registry
        self.agents.set_registry(self._seen)
        self.banner.frozen_at = now
        if self._frozen:
            self.agents.set_picture(now, gone=self.link.state.gone)
            self._head_panels()
        else:
            self._age_picture()
            self.tick()
            self._describe()

    def action_options(self) -> None:
        """What the panels can be told."""
        wrap = "do not wrap lines" if self.tail.wrapped else "wrap lines"
        ended = "show ended rows" if self.agents.hide_ended else "hide ended rows"
        keys = (("w", wrap), ("e", ended), ("s", "save the output"), ("esc", "nothing"))
        answers = (
            ("w", self.tail.toggle_wrap),
            ("e", self.agents.toggle_hide_ended),
            ("s", self.prompting.save),
        )
        self.message.ask(Question(Says((Part("options", bold=True),), keys), keys=answers))

    def action_copy(self) -> None:
        """To the clipboard, through the terminal."""
        if self._panel == "tail":
            lines = self.tail.text_in_view()
            self.app.copy_to_clipboard("\n".join(lines))
            what = f"{len(lines)} lines"
        else:
            targets = self._targets()
            self.app.copy_to_clipboard(" ".join(targets))
            what = " ".join(targets[:3]) + (f" and {len(targets) - 3} more" if len(targets) > 3 else "")
        self.message.tell(f"sent to the clipboard: {what or 'nothing'}", Role.GREY)

    def action_help(self) -> None:
        """All keys."""
        self.app.push_screen(HelpScreen(self.keymap, self._look))

    def action_palette(self) -> None:
        """Everything by name."""
        self.app.push_screen(CommandPalette(providers=[Acts], placeholder="what to do"))

    def action_command(self) -> None:
        """The ``:`` prompt."""
        self.prompting.command()

    def action_repaint(self) -> None:
        """The whole screen again."""
        self.app.refresh(layout=True)
        self.refresh(layout=True)

    # -- acting ------------------------------------------------------------------------------------------------

    def _targets(self) -> tuple[str, ...]:
        """What verbs act on: the marks if there are any, else the cursor's agent."""
        marked = tuple(sorted(self.agents.marked))
        return marked or ((self.agents.cursor,) if self.agents.cursor is not None else ())

    def action_hold(self) -> None:
        """The state that the footer offers, not "the other one": two rooms must not undo each other."""
        self.acting.hold(self._targets(), Strength.SPAWNS not in self._held.here)

    def action_hold_swarm(self) -> None:
        """The same for the whole swarm."""
        self.acting.hold((SWARM_SCOPE,), Strength.SPAWNS not in self._held.swarm)

    def action_hold_turns(self) -> None:
        """Agents here hold before their next model call as well, or go on."""
        self.acting.hold(self._targets(), Strength.TURNS not in self._held.here, strength=Strength.TURNS)

    def action_hold_turns_swarm(self) -> None:
        """The same for the whole swarm."""
        self.acting.hold((SWARM_SCOPE,), Strength.TURNS not in self._held.swarm, strength=Strength.TURNS)

    def action_resume(self) -> None:
        """Go on with the conversations that have ended here."""
        self.acting.resume(self._targets())

    def action_reason(self) -> None:
        """A reason for the newest hold that reaches the cursor."""
        if not self.acting.refused():
            self.prompting.reason(self.acting.newest_hold(self.agents.cursor))

    def action_stop(self) -> None:
        """Interrupt what is here."""
        self.stopping.stop(self._targets(), branch=len(self._targets()) > 1)

    def action_stop_branch(self) -> None:
        """Interrupt what is here and all below it."""
        self.stopping.stop(self._targets(), branch=True)

    def action_stop_kill(self) -> None:
        """The dialog, with kill as its answer."""
        self.stopping.stop(self._targets(), branch=True, how=How.KILL)

    def action_answer(self) -> None:
        """What the cursor's agent asks, or else the oldest question."""
        self.answering.answer()

    def action_take_back(self) -> None:
        """Within the window."""
        self.stopping.take_back()

    def action_leave(self) -> None:
        """Close the room; where the engine is in this process, ask what becomes of the swarm."""
        if self._foreground and self._lives():
            self.stopping.stop((ROOT,), branch=True)
        else:
            self.app.exit()

    def _lives(self) -> bool:
        with self.link.registry.read() as state:
            return state.status is None and ROOT in state.agents

    # -- what others need of this screen -------------------------------------------------------------------------

    def run(self, work: Coroutine[None, None, None]) -> None:
        """A verb on its way; it is not given up when another one follows."""
        self.run_worker(work, group="verbs")

    async def choose(self, plan: StopPlan) -> How | None:
        """Put the stop dialog and wait for its answer."""
        return await self.app.push_screen_wait(StopDialog(plan, self._clock, self._look))

    def _load(self, work: Coroutine[None, None, None]) -> None:
        """Output on its way; given up when the cursor moves on."""
        self.run_worker(work, group="tail", exclusive=True)

    def refused_because(self, act: Act) -> str | None:
        """Why an act cannot be done now; None if it can."""
        return refusal(self.link.state) if act.changes else None

    async def perform(self, act: Act) -> None:
        """Do it as if its key had been pressed."""
        panel = self._widget(self._panel)
        nodes: dict[Place, Widget] = {
            Place.TREE: self.agents,
            Place.TAIL: self.tail,
            Place.PANEL: panel,
            Place.ROOM: self,
        }
        await self.app.run_action(act.action, nodes[act.place])

    @on(MessageLine.Typed)
    def _typed(self, event: MessageLine.Typed) -> None:
        self.prompting.typed(event.kind, event.text)

    @on(MessageLine.Entered)
    def _entered(self, event: MessageLine.Entered) -> None:
        self.prompting.entered(event.kind, event.text)

    def close_prompt(self) -> None:
        """Put the prompt away; the panel has the focus again."""
        self.message.close_prompt()
        self.focus_panel(self._panel)
