"""The kinds of modules that only calculate: prices, rebates, slugs, pages, checks, signatures."""

from __future__ import annotations

from skep.simulator.demo.kinds import Kind

PRICES = Kind(
    stem="prices",
    purpose="keeps prices in whole cents, so that nothing is lost to rounding",
    good="return [share + (1 if place < rest else 0) for place in range(parts)]",
    bad="return [share + (1 if place <= rest else 0) for place in range(parts)]",
    slip="one part too many gets a cent of the remainder",
    advice="`net` takes the tax rate in whole percent; a rate of 5.5 needs tenths",
    source='''
"""Prices of $things, in whole cents."""


def net(gross: int, rate: int) -> int:
    """Return a price without its tax of so many percent, rounded half up."""
    return (gross * 200 + 100 + rate) // (2 * (100 + rate))


#note
def split(total: int, parts: int) -> list[int]:
    """Share out a total; the first parts carry what is left over."""
    if parts < 1:
        raise ValueError("parts must be at least 1")
    share, rest = divmod(total, parts)
    return [share + (1 if place < rest else 0) for place in range(parts)]


def shown(cents: int) -> str:
    """Return a price as people read it."""
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d}"
''',
    tests="""
import unittest

from $package.prices import net, shown, split


class Prices(unittest.TestCase):
    def test_tax_is_taken_off(self):
        self.assertEqual(net(1190, 19), 1000)
        self.assertEqual(net(107, 7), 100)

    def test_the_parts_of_a_${thing}_add_up(self):
        for total in (0, 1, 100, 1001):
            self.assertEqual(sum(split(total, 3)), total)
        with self.assertRaises(ValueError):
            split(100, 0)

    def test_prices_are_shown_with_two_digits(self):
        self.assertEqual(shown(1205), "12.05")
        self.assertEqual(shown(-5), "-0.05")
""",
)

REBATES = Kind(
    stem="rebates",
    purpose="decides which rebate applies and never gives two",
    good="best = max((rule.percent for rule in rules if total >= rule.minimum), default=0)",
    bad="best = max((rule.percent for rule in rules if total > rule.minimum), default=0)",
    slip="a total that is exactly the minimum gets no rebate",
    advice="rules come from the config unsorted and unchecked; a percent above 100 gives money away",
    source='''
"""Rebates on $things: the best rule counts, never two."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """So many percent off from a total of so many cents."""

    minimum: int
    percent: int


#note
def reduced(total: int, rules: list[Rule]) -> int:
    """Return the total in cents with the best rule applied."""
    best = max((rule.percent for rule in rules if total >= rule.minimum), default=0)
    return total - total * best // 100


def missing(total: int, rules: list[Rule]) -> int | None:
    """Return the cents that are missing to the next rule, or None if there is none."""
    steps = [rule.minimum - total for rule in rules if rule.minimum > total]
    return min(steps, default=None)
''',
    tests="""
import unittest

from $package.rebates import Rule, reduced, missing

RULES = [Rule(5000, 5), Rule(20000, 10)]


class Rebates(unittest.TestCase):
    def test_the_best_rule_counts_for_a_$thing(self):
        self.assertEqual(reduced(30000, RULES), 27000)

    def test_the_minimum_itself_is_enough(self):
        self.assertEqual(reduced(5000, RULES), 4750)

    def test_what_is_missing_to_the_next_rule(self):
        self.assertEqual(missing(4000, RULES), 1000)
        self.assertIsNone(missing(20000, RULES))
""",
)

SLUGS = Kind(
    stem="slugs",
    purpose="makes names for addresses from titles",
    good='slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")',
    bad='slug = re.sub(r"[^a-z0-9]", "-", plain.lower()).strip("-")',
    slip="a run of odd characters becomes several dashes",
    advice="titles without a Latin letter all get the same slug; a number would tell them apart",
    source='''
"""Names of $things as they stand in addresses."""

import re
import unicodedata


def slug_of(title: str, longest: int = 60) -> str:
    """Return a title in lower case letters, digits and single dashes."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    return slug[:longest].rstrip("-") or "$thing"


#note
def unique(title: str, taken: set[str]) -> str:
    """Return a slug that is not taken yet, with a number behind it if need be."""
    slug, number = slug_of(title), 2
    while slug in taken:
        slug, number = f"{slug_of(title)}-{number}", number + 1
    return slug
''',
    tests="""
import unittest

from $package.slugs import slug_of, unique


class Slugs(unittest.TestCase):
    def test_odd_characters_become_one_dash(self):
        self.assertEqual(slug_of("Tea & Coffee, 2 kg"), "tea-coffee-2-kg")

    def test_accents_go_and_nothing_is_empty(self):
        self.assertEqual(slug_of("Crème brûlée"), "creme-brulee")
        self.assertEqual(slug_of("!!"), "$thing")

    def test_a_taken_slug_gets_a_number(self):
        self.assertEqual(unique("Tea", {"tea", "tea-2"}), "tea-3")
""",
)

PAGES = Kind(
    stem="pages",
    purpose="cuts long lists into pages",
    good="start = (number - 1) * size",
    bad="start = number * size",
    slip="pages count from 1, but the offset is reckoned as if from 0",
    advice="the size of a page has no upper bound; a caller may ask for everything at once",
    source='''
"""Pages of $things, counted from 1."""

from collections.abc import Sequence


def page(items: Sequence[str], number: int, size: int = 20) -> Sequence[str]:
    """Return one page; past the end it is empty."""
    if number < 1 or size < 1:
        raise ValueError("number and size start at 1")
    start = (number - 1) * size
    return items[start : start + size]


#note
def pages(total: int, size: int = 20) -> int:
    """Return how many pages so many $things fill; there is always one."""
    return max(1, -(-total // size))
''',
    tests="""
import unittest

from $package.pages import page, pages

THINGS = [f"$thing {number}" for number in range(1, 8)]


class Pages(unittest.TestCase):
    def test_the_first_page_starts_at_the_first_$thing(self):
        self.assertEqual(page(THINGS, 1, 3), THINGS[:3])

    def test_the_last_page_may_be_short(self):
        self.assertEqual(page(THINGS, 3, 3), THINGS[6:])
        self.assertEqual(page(THINGS, 9, 3), [])

    def test_the_number_of_pages(self):
        self.assertEqual([pages(total, 3) for total in (0, 3, 4)], [1, 1, 2])
""",
)

CHECKS = Kind(
    stem="checks",
    purpose="says what is wrong with what came in, all of it at once",
    good='faults.append(f"quantity: {quantity} is not between 1 and {MOST}")',
    bad='faults = [f"quantity: {quantity} is not between 1 and {MOST}"]',
    slip="the fault of the quantity throws away the faults found before it",
    advice="the pattern of the mail address lets spaces through on its right side",
    source='''
"""Checks of a $thing that comes from outside: every fault is named, not only the first."""

import re

MOST = 999
MAIL = re.compile(r"[^@\\s]+@[^@\\s]+\\.[a-z]{2,}")


def faults_of(form: dict[str, object]) -> list[str]:
    """Return what is wrong with a form; nothing if all is well."""
    faults: list[str] = []
    if not MAIL.match(str(form.get("mail", ""))):
        faults.append("mail: no address")
    quantity = form.get("quantity")
    if not isinstance(quantity, int) or not 1 <= quantity <= MOST:
        faults.append(f"quantity: {quantity} is not between 1 and {MOST}")
    return faults


#note
def accepted(form: dict[str, object]) -> bool:
    """Return whether a $thing may go on."""
    return not faults_of(form)
''',
    tests="""
import unittest

from $package.checks import accepted, faults_of


class Checks(unittest.TestCase):
    def test_a_good_${thing}_passes(self):
        self.assertTrue(accepted({"mail": "ann@example.org", "quantity": 2}))

    def test_every_fault_is_named(self):
        faults = faults_of({"mail": "nobody", "quantity": 0})
        self.assertEqual([fault.split(":")[0] for fault in faults], ["mail", "quantity"])

    def test_a_missing_quantity_is_a_fault(self):
        self.assertFalse(accepted({"mail": "ann@example.org"}))
""",
)

SIGNING = Kind(
    stem="signing",
    purpose="signs links and call-backs so that they cannot be made up",
    good='message = "\\n".join(f"{name}={fields[name]}" for name in sorted(fields))',
    bad='message = "\\n".join(f"{name}={fields[name]}" for name in fields)',
    slip="the signature depends on the order in which the fields came",
    advice="signatures are compared with ==; hmac.compare_digest gives nothing away by its time",
    source='''
"""Signatures of $things in links and call-backs."""

import hashlib
import hmac


def signature(fields: dict[str, str], secret: bytes) -> str:
    """Return the signature of all fields, whatever their order."""
    message = "\\n".join(f"{name}={fields[name]}" for name in sorted(fields))
    return hmac.new(secret, message.encode(), hashlib.sha256).hexdigest()


#note
def genuine(fields: dict[str, str], secret: bytes, given: str) -> bool:
    """Return whether a signature belongs to these fields."""
    return signature(fields, secret) == given
''',
    tests="""
import unittest

from $package.signing import genuine, signature

KEY = b"only for tests"


class Signing(unittest.TestCase):
    def test_the_order_of_the_fields_does_not_count(self):
        one, other = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
        self.assertEqual(signature(one, KEY), signature(other, KEY))

    def test_a_changed_${thing}_is_noticed(self):
        given = signature({"$thing": "17"}, KEY)
        self.assertTrue(genuine({"$thing": "17"}, KEY, given))
        self.assertFalse(genuine({"$thing": "18"}, KEY, given))
""",
)

RULES = (PRICES, REBATES, SLUGS, PAGES, CHECKS, SIGNING)
