"""The shop that the demo's swarm works on: its services, their modules, and what the seed puts wrong in them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from skep.simulator.demo.kinds import Kind
from skep.simulator.demo.kinds_rules import CHECKS, RULES, SIGNING
from skep.simulator.demo.kinds_state import STATEFUL

MARK = "TODO"
"""What stands before a note that somebody left in the code."""

DEFECTS = 6
"""Services with one broken module each."""

_SERVICES = (
    ("accounts", "account", "accounts", "who our customers are and what they may do"),
    ("cart", "cart", "carts", "what a customer means to buy"),
    ("catalog", "product", "products", "what we sell, in words and pictures"),
    ("checkout", "basket", "baskets", "the way from a full cart to a paid order"),
    ("inventory", "item", "items", "what lies in which warehouse"),
    ("notify", "message", "messages", "mails and texts to customers"),
    ("orders", "order", "orders", "what was bought, and how far it has come"),
    ("payments", "payment", "payments", "money that comes in and goes back"),
    ("search", "query", "queries", "how customers find what they want"),
    ("shipping", "parcel", "parcels", "how it gets to the door"),
)

_NOTES = (
    "take the limit from the config",
    "say in the error which {thing} it was",
    "measure this with a full table of {things}",
    "ask the lawyers how long we may keep {things}",
    "drop the old form once all {things} are moved",
    "the warehouse wants this as a list",
    "round as the bookkeepers do",
    "share this with the other services",
)
_PEOPLE = ("ada", "bela", "chen", "dora", "emil", "femi")


@dataclass(frozen=True, slots=True)
class Service:
    """One service of the shop: a folder with a package, its tests and a README."""

    name: str
    thing: str
    """What it deals in, one of them; `things` for several."""
    things: str
    purpose: str
    kinds: tuple[Kind, ...]
    broken: Kind | None
    """The module that has a defect, if one has."""
    notes: Mapping[str, str]
    """Notes that were left in its modules, by the module's stem."""

    @property
    def folder(self) -> str:
        """Where it lies below the workspace."""
        return f"services/{self.name}"

    def path(self, kind: Kind) -> str:
        """Return where one of its modules lies below the workspace."""
        return f"{self.folder}/{self.name}/{kind.stem}.py"

    def test_path(self, kind: Kind) -> str:
        """Return where the tests of one of its modules lie below the workspace."""
        return f"{self.folder}/tests/test_{kind.stem}.py"

    def source(self, kind: Kind, *, mended: bool = False) -> str:
        """Return a module as the workspace has it at first, or as it should be."""
        return kind.text(
            self.thing,
            self.things,
            defect=kind is self.broken and not mended,
            note=self.notes.get(kind.stem, ""),
        )

    def tests(self, kind: Kind) -> str:
        """Return the tests of one of its modules."""
        return kind.test_text(self.name, self.thing, self.things)


def services(seed: int) -> tuple[Service, ...]:
    """Return the services of the shop, in the order of their names; the same for the same seed."""
    dice = random.Random(f"shop {seed}")
    broken = set(dice.sample([name for name, *_ in _SERVICES], DEFECTS))
    return tuple(_service(dice, *row, broken=row[0] in broken) for row in _SERVICES)


def _service(dice: random.Random, name: str, thing: str, things: str, purpose: str, *, broken: bool) -> Service:
    always = {"payments": [SIGNING], "accounts": [CHECKS]}.get(name, [])
    others = [kind for kind in (*RULES, *STATEFUL) if kind not in always]
    kinds = sorted([*always, *dice.sample(others, 4 - len(always))], key=lambda kind: kind.stem)
    notes = {
        kind.stem: f"{MARK}({dice.choice(_PEOPLE)}): {text.format(thing=thing, things=things)}"
        for kind, text in zip(kinds, dice.sample(_NOTES, 4), strict=True)
        if kind is kinds[0] or dice.random() < 0.55
    }
    return Service(name, thing, things, purpose, tuple(kinds), dice.choice(kinds) if broken else None, notes)
