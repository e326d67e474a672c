"""Every key of the room in one table, from which bindings, help, footer, palette and remaps are made."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from textual.binding import Binding

from skep.errors import BadInput
from skep.text import clean_line

NO_KEY = "no_key"
"""Textual has no word for "bound to nothing"; no keyboard sends this one."""


class Place(StrEnum):
    """Where an act is at home: in one panel, in both, or on the whole main screen."""

    TREE = "tree"
    TAIL = "tail"
    PANEL = "panel"
    ROOM = "room"

    def meets(self, other: Place) -> bool:
        """True if the same key cannot mean something of its own in both places."""
        return self is other or Place.ROOM in (self, other) or Place.PANEL in (self, other)


@dataclass(frozen=True, slots=True)
class Act:
    """One thing that the operator can do from the keyboard."""

    id: str
    """What the config calls it."""
    place: Place
    keys: tuple[str, ...]
    action: str
    """The method ``action_…`` of the panel or the screen."""
    area: str
    """The heading in the help, and the word before the colon in the palette."""
    says: str
    footer: str = ""
    """Its word in the footer, if it stands there."""
    changes: bool = False
    """True if it asks the engine to change the swarm; greyed where that cannot be."""
    offered: bool = True
    """False if it makes no sense to choose it from the palette."""


def _moving(id: str, place: Place, keys: str, action: str, says: str) -> Act:
    return Act(id, place, tuple(keys.split()), action, "move", says, offered=False)


ACTS: tuple[Act, ...] = (
    _moving("move.up", Place.PANEL, "up k", "cursor_up", "one row up"),
    _moving("move.down", Place.PANEL, "down j", "cursor_down", "one row down"),
    _moving("move.page_up", Place.PANEL, "pageup ctrl+u", "page_up", "a page up"),
    _moving("move.page_down", Place.PANEL, "pagedown ctrl+d", "page_down", "a page down"),
    _moving("move.home", Place.PANEL, "home g", "home", "to the first row"),
    _moving("move.end", Place.PANEL, "end G", "end", "to the last row; the tail follows again"),
    _moving("tree.fold", Place.TREE, "left h", "fold", "close the branch, or to its parent"),
    _moving("tree.unfold", Place.TREE, "right l", "unfold", "open the branch, or to its first child"),
    _moving("tail.left", Place.TAIL, "left h", "column_left", "to the left, if lines are not wrapped"),
    _moving("tail.right", Place.TAIL, "right l", "column_right", "to the right, if lines are not wrapped"),
    Act("tree.fold_all", Place.TREE, ("-",), "fold_all", "tree", "close all branches"),
    Act("tree.unfold_all", Place.TREE, ("=",), "unfold_all", "tree", "open all branches"),
    Act("tree.mark", Place.TREE, ("space", "shift+space"), "mark", "tree", "mark the row; verbs act on marks"),
    Act("tree.mark_range", Place.TREE, ("v",), "mark_range", "tree", "mark all rows from here to the last mark"),
    Act("tree.sort", Place.TREE, ("s",), "sort", "tree", "sort siblings by the next column"),
    Act("tree.sort_turn", Place.TREE, ("<", ">"), "sort_turn", "tree", "turn the order round"),
    Act("panel.tree", Place.ROOM, ("1",), "panel('tree')", "panel", "the agents"),
    Act("panel.tail", Place.ROOM, ("2",), "panel('tail')", "panel", "the output"),
    Act("panel.keys", Place.ROOM, ("3",), "panel('keys')", "panel", "the keys, and who uses them"),
    Act("panel.next", Place.ROOM, ("tab", "shift+tab"), "panel_next", "panel", "the next panel"),
    Act("panel.zoom", Place.ROOM, ("z",), "zoom", "panel", "this panel alone, or all again"),
    Act("panel.options", Place.ROOM, ("o",), "options", "panel", "wrap lines, hide ended rows, save the output"),
    Act("open", Place.ROOM, ("enter",), "enter", "panel", "open the output; answer yes on the message line"),
    Act(
        "back",
        Place.ROOM,
        ("escape",),
        "back",
        "panel",
        "one step back: search, filter, marks, zoom; never stops anything",
        offered=False,
    ),
    Act("hold", Place.ROOM, ("p",), "hold", "hold", "hold or release new spawns in this branch", "hold", True),
    Act(
        "hold.swarm", Place.ROOM, ("P",), "hold_swarm", "hold", "hold or release new spawns in the swarm", "", True
    ),
    Act("hold.turns", Place.ROOM, ("t",), "hold_turns", "hold", "hold or release turns in this branch", "", True),
    Act(
        "hold.turns_swarm",
        Place.ROOM,
        ("T",),
        "hold_turns_swarm",
        "hold",
        "hold or release turns in the swarm",
        "",
        True,
    ),
    Act("hold.reason", Place.ROOM, ('"',), "reason", "hold", "say why, for the newest hold here", "", True),
    Act(
        "stop", Place.ROOM, ("x",), "stop", "stop", "interrupt this agent; again: one rung down", "interrupt", True
    ),
    Act("stop.branch", Place.ROOM, ("X",), "stop_branch", "stop", "interrupt it and all below it", "branch", True),
    Act("stop.kill", Place.ROOM, ("f9",), "stop_kill", "stop", "kill it and all below it", "", True),
    Act("stop.take_back", Place.ROOM, ("u",), "take_back", "stop", "take a stop back within its window", "", True),
    Act("resume", Place.ROOM, ("r",), "resume", "stop", "go on with a conversation that has ended", "", True),
    Act("alert.next", Place.ROOM, ("a",), "alert", "find", "the next agent that needs you", "alert"),
    Act("find", Place.ROOM, ("/",), "find", "find", "filter the agents, search the output", "find"),
    Act("find.next", Place.ROOM, ("n",), "match(1)", "find", "the next match"),
    Act("find.previous", Place.ROOM, ("N",), "match(-1)", "find", "the match before"),
    Act(
        "alert.only", Place.ROOM, ("!",), "alerts_only", "find", "only agents that need you, or all", "alerts only"
    ),
    Act("answer", Place.ROOM, ("i",), "answer", "approve", "answer what asks", "answer", True),
    Act("command", Place.ROOM, (":",), "command", "room", "a command, as in the shell", "command"),
    Act("palette", Place.ROOM, ("ctrl+p",), "palette", "room", "all that can be done, by name", offered=False),
    Act("freeze", Place.ROOM, ("f",), "freeze", "room", "freeze or unfreeze the screen; the swarm goes on"),
    Act("copy", Place.ROOM, ("c",), "copy", "room", "copy the agent's id, or the lines in view"),
    Act("repaint", Place.ROOM, ("ctrl+l",), "repaint", "room", "paint the screen again"),
    Act("suspend", Place.ROOM, ("ctrl+z",), "app.suspend_process", "room", "to the shell; fg comes back"),
    Act("help", Place.ROOM, ("?", "f1"), "help", "room", "all keys", "help"),
    Act("leave", Place.ROOM, ("q",), "leave", "room", "leave the room; the swarm goes on", "leave"),
)
"""All acts, in the order of the help."""

FOOTER_LEFT = ("hold", "stop", "stop.branch", "answer", "alert.next", "find", "alert.only", "command")
"""Ids in the footer, from the left; the last ones give way first."""

FOOTER_RIGHT = ("help", "leave")
"""Ids at the right end of the footer; the first one never gives way."""

NOTHING_STOPPED_KEYS = ("ctrl+q", "ctrl+c")
"""Keys that end programs elsewhere and here only say what does."""

_SHOWN = {
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "escape": "esc",
    "pageup": "pgup",
    "pagedown": "pgdn",
    "comma": ",",
}


@dataclass(frozen=True)
class Keymap:
    """The acts with the keys that they have in this room."""

    acts: tuple[Act, ...]
    changed: frozenset[str] = frozenset()
    """Ids whose keys differ from the built-in ones."""

    @classmethod
    def of(cls, config: Mapping[str, Sequence[str]]) -> Keymap:
        """The built-in keys with those of the config over them; a key that is taken leaves its old act.

        Raises:
            BadInput: an id that is no act, or one key for two acts of the same place.
        """
        known = {act.id: act for act in ACTS}
        for id in config:
            if id not in known:
                raise _unknown(id, list(known))
        wanted = {id: tuple(_plain(key) for key in keys if key) for id, keys in config.items()}
        taken: dict[str, list[Act]] = {}
        for id, keys in wanted.items():
            for key in keys:
                for other in taken.get(key, ()):
                    if other.place.meets(known[id].place):
                        raise BadInput(
                            f"the key {clean_line(key, limit=40)} is given to both {other.id} and {id}",
                            where="room.keys",
                            mend="give one of them another key",
                        )
                taken.setdefault(key, []).append(known[id])
        acts = tuple(
            replace(act, keys=wanted[act.id]) if act.id in wanted else _without(act, taken) for act in ACTS
        )
        changed = frozenset(act.id for act in acts if act.keys != known[act.id].keys)
        return cls(acts, changed)

    def overrides(self) -> dict[str, str]:
        """What ``App.set_keymap`` wants: the keys of the acts that were changed."""
        return {act.id: ",".join(act.keys) or NO_KEY for act in self.acts if act.id in self.changed}

    def act(self, id: str) -> Act:
        """The act of that id; KeyError if there is none."""
        return next(act for act in self.acts if act.id == id)

    def key(self, id: str, which: int = 0) -> str:
        """One key of an act as people read it, by default the first; empty if it has none."""
        keys = self.act(id).keys
        return shown(keys[which]) if keys else ""


def bindings(*places: Place) -> list[Binding]:
    """The built-in bindings of these places; the remaps are laid over them by their ids."""
    return [
        Binding(",".join(map(_plain, act.keys)), act.action, act.says, id=act.id, show=False)
        for act in ACTS
        if act.place in places
    ]


def shown(key: str) -> str:
    """A key as people read it: ``esc``, ``↑``, ``?``."""
    return _SHOWN.get(key, key)


def _plain(key: str) -> str:
    # A comma separates keys in Textual's own notation.
    return "comma" if key == "," else key


def _without(act: Act, taken: Mapping[str, Sequence[Act]]) -> Act:
    """The act less the keys that the config gave to others where it is at home."""
    left = tuple(
        key for key in act.keys if not any(other.place.meets(act.place) for other in taken.get(_plain(key), ()))
    )
    return act if left == act.keys else replace(act, keys=left)


def _unknown(id: str, known: list[str]) -> BadInput:
    close = difflib.get_close_matches(id, known, n=1)
    return BadInput(
        f"unknown key binding {clean_line(id, limit=40)}",
        where="room.keys",
        mend=f"did you mean {close[0]}?" if close else "the ids are " + " ".join(known),
    )
