"""A pool as one would keep it with pencil and paper: everything looked up anew, nothing clever."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Attempt:
    """A lease as its holder sees it."""

    number: int
    label: str
    model: str
    agent: str
    branch: str
    reported: bool = False
    released: bool = False


@dataclass
class Rest:
    """Why a key (for one model, or for all of them: None) may not be used before a moment."""

    label: str
    model: str | None
    until: float
    after: int  # leases were granted before it began


@dataclass
class Want:
    """Somebody who wants a key."""

    model: str
    agent: str
    branch: str
    avoid: str | None


@dataclass
class Reference:
    """The rules of the pool, one after the other."""

    labels: list[str]
    cap: int | None
    now: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)
    refusals: list[tuple[float, str]] = field(default_factory=list)
    strikes: dict[str, int] = field(default_factory=dict)
    doubled: dict[tuple[str, str], int] = field(default_factory=dict)
    quarantined: set[str] = field(default_factory=set)
    last: dict[str, str] = field(default_factory=dict)
    vague: set[str] = field(default_factory=set)  # agents that may have had a key for a moment, nobody knows which
    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def load(self, label: str) -> int:
        return sum(one.label == label and not one.released for one in self.attempts)

    def is_healthy(self, label: str, model: str) -> bool:
        rests = [rest for rest in self.rests if rest.label == label and rest.model in (None, model)]
        return label not in self.quarantined and all(rest.until <= self.now for rest in rests)

    def choices(self, want: Want) -> list[str]:
        """The keys that may be given now, any of which is right; empty if one has to wait."""
        healthy = [label for label in self.labels if self.is_healthy(label, want.model)]
        if healthy != [want.avoid]:
            healthy = [label for label in healthy if label != want.avoid]
        free = [label for label in healthy if self.cap is None or self.load(label) < self.cap]
        if want.agent in self.vague:
            return free
        if self.last.get(want.agent) in free:
            return [self.last[want.agent]]
        return [label for label in free if self.load(label) == min(map(self.load, free))]

    def grant(self, want: Want, number: int, label: str) -> Attempt:
        attempt = Attempt(number, label, want.model, want.agent, want.branch)
        self.attempts.append(attempt)
        self.last[want.agent] = label
        self.vague.discard(want.agent)
        if want.avoid not in (None, label):
            self.count(want.avoid, "rotations")
        return attempt

    def report(self, attempt: Attempt, kind: str, retry_after: float | None) -> None:
        if attempt.reported:
            return
        attempt.reported = True
        label, model = attempt.label, attempt.model
        granted = max(one.number for one in self.attempts)
        column = {"ok": "successes", "rate_limited": "rate_limited", "refused": None, "cancelled": None}
        if name := column.get(kind, "failures"):
            self.count(label, name)
        rate_is_old = any(r.after >= attempt.number for r in self.rests if (r.label, r.model) == (label, model))
        key_is_old = any(r.after >= attempt.number for r in self.rests if (r.label, r.model) == (label, None))
        if kind == "ok":
            if not rate_is_old:
                self.doubled[label, model] = 0
            if not key_is_old:
                self.strikes[label] = 0
        elif kind == "rate_limited" and not rate_is_old:
            seconds = retry_after
            if not seconds:
                times = self.doubled.get((label, model), 0)
                seconds = min(5 * 2**times, 300)
                self.doubled[label, model] = times + 1
            self.rests.append(Rest(label, model, self.now + seconds, granted))
        elif kind == "unauthorized":
            self.refusals.append((self.now, label))
            if not key_is_old:
                self.strikes[label] = self.strikes.get(label, 0) + 1
                self.rests.append(Rest(label, None, self.now + 60, granted))
                if self.strikes[label] == 2:
                    self.quarantined.add(label)
            together = {label for when, label in self.refusals if self.now - when <= 10}
            if together | self.quarantined == set(self.labels):
                self.quarantined -= together
                self.strikes.update(dict.fromkeys(together, 0))

    def count(self, label: str, name: str) -> None:
        self.counts[label, name] = self.counts.get((label, name), 0) + 1


class NotSticky(Reference):
    """Does not know an agent again."""

    def grant(self, want: Want, number: int, label: str) -> Attempt:
        attempt = super().grant(want, number, label)
        self.last.clear()
        return attempt


class AvoidsNothing(Reference):
    """Gives an agent the key that just failed it."""

    def choices(self, want: Want) -> list[str]:
        return super().choices(Want(want.model, want.agent, want.branch, None))


class KnowsNoEpisodes(Reference):
    """Takes every failure for a new one."""

    def report(self, attempt: Attempt, kind: str, retry_after: float | None) -> None:
        for rest in self.rests:
            rest.after = -1
        super().report(attempt, kind, retry_after)


class WakesEarly(Reference):
    """Gives a key back a moment before it has rested."""

    def is_healthy(self, label: str, model: str) -> bool:
        self.now += 0.5
        try:
            return super().is_healthy(label, model)
        finally:
            self.now -= 0.5


class PardonsNobody(Reference):
    """Gives keys up although all of them were refused together."""

    def report(self, attempt: Attempt, kind: str, retry_after: float | None) -> None:
        super().report(attempt, kind, retry_after)
        if kind == "unauthorized" and self.strikes.get(attempt.label, 0) == 0:
            self.strikes[attempt.label] = 1
