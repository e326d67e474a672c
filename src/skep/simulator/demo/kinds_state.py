"""The kinds of modules that keep something: stores, caches, limits, states, batches."""

from __future__ import annotations

from skep.simulator.demo.kinds import Kind

STORE = Kind(
    stem="store",
    purpose="keeps records in memory and refuses writes that are out of date",
    good="if version != self._versions.get(key, 0):",
    bad="if version < self._versions.get(key, 0):",
    slip="a version from the future is accepted and hides a lost write",
    advice="`find` walks over all records; with the catalogue's size an index would pay",
    source='''
"""A store of $things that notices when two write at once."""


class Conflict(Exception):
    """Somebody else wrote the $thing in the meantime."""


class Store:
    """Keeps $things by their key, each with a version."""

    def __init__(self) -> None:
        self._things: dict[str, dict[str, str]] = {}
        self._versions: dict[str, int] = {}

    def read(self, key: str) -> tuple[dict[str, str], int]:
        """Return a $thing and its version; KeyError if there is none."""
        return dict(self._things[key]), self._versions[key]

    #note
    def write(self, key: str, fields: dict[str, str], version: int) -> int:
        """Keep a $thing that was read at this version, 0 for a new one, and return the next version."""
        if version != self._versions.get(key, 0):
            raise Conflict(key)
        self._things[key] = dict(fields)
        self._versions[key] = version + 1
        return version + 1

    def find(self, field: str, value: str) -> list[str]:
        """Return the keys of the $things with such a field."""
        return sorted(key for key, fields in self._things.items() if fields.get(field) == value)
''',
    tests="""
import unittest

from $package.store import Conflict, Store


class Stores(unittest.TestCase):
    def test_what_was_written_is_read(self):
        store = Store()
        store.write("a", {"name": "$thing"}, 0)
        self.assertEqual(store.read("a"), ({"name": "$thing"}, 1))

    def test_a_wrong_version_is_refused(self):
        store = Store()
        store.write("a", {}, 0)
        for version in (0, 2):
            with self.assertRaises(Conflict):
                store.write("a", {}, version)

    def test_${things}_are_found_by_a_field(self):
        store = Store()
        for key in "ba":
            store.write(key, {"colour": "red"}, 0)
        self.assertEqual(store.find("colour", "red"), ["a", "b"])
""",
)

CACHE = Kind(
    stem="cache",
    purpose="keeps answers for a while and drops the oldest when it is full",
    good="if now - since >= self._seconds:",
    bad="if now - since >= self._most:",
    slip="the age of an entry is compared with the number of entries",
    advice="entries that nobody asks for again stay until the cache is full",
    source='''
"""A cache of $things by age and number; the caller brings the time."""

from collections import OrderedDict


class Cache:
    """Keeps at most so many $things, each for so many seconds."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._kept: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def put(self, key: str, value: str, now: float) -> None:
        """Keep a value from now on; the oldest goes if there are too many."""
        self._kept.pop(key, None)
        self._kept[key] = (now, value)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    #note
    def get(self, key: str, now: float) -> str | None:
        """Return a value that is still fresh."""
        if key not in self._kept:
            return None
        since, value = self._kept[key]
        if now - since >= self._seconds:
            del self._kept[key]
            return None
        return value
''',
    tests="""
import unittest

from $package.cache import Cache


class Caches(unittest.TestCase):
    def test_a_fresh_${thing}_is_found(self):
        cache = Cache(most=2, seconds=10)
        cache.put("a", "$thing", now=0)
        self.assertEqual(cache.get("a", now=9), "$thing")

    def test_an_old_one_is_not(self):
        cache = Cache(most=2, seconds=10)
        cache.put("a", "$thing", now=0)
        self.assertIsNone(cache.get("a", now=10))

    def test_the_oldest_goes_when_it_is_full(self):
        cache = Cache(most=2, seconds=10)
        for key in "abc":
            cache.put(key, key, now=0)
        self.assertEqual([cache.get(key, now=1) for key in "abc"], [None, "b", "c"])
""",
)

LIMITS = Kind(
    stem="limits",
    purpose="lets through only so many requests a second",
    good="self._left = min(self._burst, self._left + (now - self._since) * self._rate)",
    bad="self._left = self._left + (now - self._since) * self._rate",
    slip="tokens pile up without bound while nobody asks",
    advice="a clock that runs backwards takes tokens away; the first call should set the time",
    source='''
"""Limits for those who ask for $things: a bucket of tokens for each of them."""


class Bucket:
    """Fills with so many tokens a second, and holds so many at most."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._since = 0.0

    #note
    def take(self, now: float, tokens: float = 1.0) -> bool:
        """Take tokens if there are enough and say whether there were."""
        self._left = min(self._burst, self._left + (now - self._since) * self._rate)
        self._since = now
        if tokens > self._left:
            return False
        self._left -= tokens
        return True
''',
    tests="""
import unittest

from $package.limits import Bucket


class Limits(unittest.TestCase):
    def test_a_burst_passes_and_then_no_more(self):
        bucket = Bucket(rate=1, burst=3)
        self.assertEqual([bucket.take(0) for _ in range(4)], [True, True, True, False])

    def test_it_fills_again(self):
        bucket = Bucket(rate=2, burst=1)
        self.assertTrue(bucket.take(0))
        self.assertFalse(bucket.take(0.25))
        self.assertTrue(bucket.take(0.75))

    def test_a_long_pause_gives_no_more_than_a_burst(self):
        bucket = Bucket(rate=1, burst=2)
        self.assertFalse(bucket.take(1000, tokens=3))
""",
)

STATES = Kind(
    stem="states",
    purpose="says which step may follow on which",
    good='"paid": {"packed", "refunded"},',
    bad='"paid": {"packed", "refunded", "open"},',
    slip="what was paid can be opened again, and be paid twice",
    advice="the history keeps no times; support asks for them in every second case",
    source='''
"""The states of a $thing and the steps between them."""

STEPS: dict[str, set[str]] = {
    "open": {"paid", "cancelled"},
    "paid": {"packed", "refunded"},
    "packed": {"sent"},
    "sent": {"returned"},
    "returned": {"refunded"},
}


class Wrong(Exception):
    """There is no such step."""


#note
def step(history: list[str], to: str) -> list[str]:
    """Return the history with one more state; Wrong if it may not follow."""
    now = history[-1] if history else "open"
    if to not in STEPS.get(now, set()):
        raise Wrong(f"{now} -> {to}")
    return [*history, to]


def over(history: list[str]) -> bool:
    """Return whether nothing can follow."""
    return bool(history) and history[-1] not in STEPS
''',
    tests="""
import unittest

from $package.states import Wrong, over, step


class States(unittest.TestCase):
    def test_a_${thing}_goes_its_way(self):
        history = ["open"]
        for state in ("paid", "packed", "sent"):
            history = step(history, state)
        self.assertEqual(history[-1], "sent")

    def test_nothing_is_paid_twice(self):
        with self.assertRaises(Wrong):
            step(["open", "paid"], "open")

    def test_some_states_are_the_last(self):
        self.assertTrue(over(["open", "cancelled"]))
        self.assertFalse(over(["open", "paid"]))
""",
)

BATCHES = Kind(
    stem="batches",
    purpose="gathers single jobs into batches and keeps their order",
    good="if self._waiting and len(self._waiting) + 1 > self._most:",
    bad="if self._waiting and len(self._waiting) > self._most:",
    slip="a batch may hold one job more than it should",
    advice="a batch that is never flushed keeps its jobs for ever; a longest wait is missing",
    source='''
"""Batches of $things: many small jobs become few big ones."""


class Batches:
    """Gathers jobs and hands on at most so many at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: list[str] = []
        self.done: list[list[str]] = []

    #note
    def add(self, job: str) -> None:
        """Take one more job; a full batch goes on its way first."""
        if self._waiting and len(self._waiting) + 1 > self._most:
            self.flush()
        self._waiting.append(job)

    def flush(self) -> None:
        """Hand on what waits, if anything does."""
        if self._waiting:
            self.done.append(self._waiting)
            self._waiting = []
''',
    tests="""
import unittest

from $package.batches import Batches


class BatchTests(unittest.TestCase):
    def test_no_batch_is_too_big(self):
        batches = Batches(most=2)
        for number in range(5):
            batches.add(f"$thing {number}")
        batches.flush()
        self.assertEqual([len(batch) for batch in batches.done], [2, 2, 1])

    def test_an_empty_batch_is_not_sent(self):
        batches = Batches(most=2)
        batches.flush()
        self.assertEqual(batches.done, [])
""",
)

STATEFUL = (STORE, CACHE, LIMITS, STATES, BATCHES)
