"""Which key an attempt gets, how long a refused one rests, and who is to blame."""

from __future__ import annotations

import json

import pytest

from skep.clock import VirtualClock
from skep.keys import Key, KeyState, Outcome, Pool
from tests.keys.pools import MODEL, in_flight, key, pool


def take(pool, agent="a", *, model=MODEL, avoid=None, branch="root"):
    lease = pool.take(model, agent, branch, avoid=avoid)
    assert lease is not None
    return lease


def fail(pool, label, outcome, *, model=MODEL):
    """An attempt with exactly this key, which ends so."""
    others = []
    while (lease := take(pool, f"for {label} {len(others)}", model=model)).label != label:
        others.append(lease)
    lease.report(outcome)
    for one in (lease, *others):
        one.release()


def test_an_agent_keeps_its_key():
    it = pool(4)
    first = take(it, "a")
    for number in range(20):
        take(it, f"other {number}").release()
        with take(it, "a") as again:
            assert again.label == first.label


def test_an_agent_whose_key_is_full_gets_another_and_then_keeps_that():
    it = pool(2, 1)
    first = take(it, "a")
    second = take(it, "a")
    assert second.label != first.label
    first.release()
    second.release()
    assert take(it, "a").label == second.label


def test_a_new_agent_gets_the_key_with_the_fewest_attempts():
    it = pool(3)
    for number in range(30):
        take(it, f"agent {number}")
        loads = in_flight(it).values()
        assert max(loads) - min(loads) <= 1


def test_ties_are_broken_at_random_and_the_seed_repeats_it():
    def order(seed):
        it = pool(8, seed=seed)
        return [take(it, f"agent {number}").label for number in range(8)]

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) > 1


def test_the_cap_is_kept_over_all_models_of_a_key():
    it = pool(1, 2)
    take(it, "a", model="x")
    take(it, "b", model="y")
    assert it.take("z", "c", "root") is None


def test_without_a_cap_there_is_always_room():
    it = pool(1)
    leases = [take(it, f"agent {number}") for number in range(500)]
    assert in_flight(it) == {"sim-1": 500}
    for lease in leases:
        lease.release()
    assert in_flight(it) == {"sim-1": 0}


def test_the_key_that_failed_is_avoided_while_there_is_another():
    it = pool(3)
    for _ in range(10):
        first = take(it, "a")
        first.report(Outcome.SERVER)
        first.release()
        with take(it, "a", avoid=first.label) as second:
            assert second.label != first.label


def test_the_key_that_failed_is_given_again_only_if_no_other_is_healthy():
    it = pool(2, 1)
    first = take(it, "a")
    busy = take(it, "b")
    first.release()
    assert it.take(MODEL, "a", "root", avoid=first.label) is None, "the other key is healthy, only busy"
    busy.report(Outcome.rate_limited(30))
    assert take(it, "a", avoid=first.label).label == first.label


def test_a_move_to_another_key_is_counted_where_it_came_from():
    it = pool(2)
    with take(it, "a") as first:
        pass
    with take(it, "a", avoid=first.label) as second:
        pass
    assert key(it, first.label).rotations == 1
    assert key(it, second.label).rotations == 0


@pytest.mark.parametrize(
    "seconds", [0.25, 1, 7, 400, 86_400], ids=lambda seconds: f"retry after {seconds}"
)  # fmt: skip
def test_a_key_rests_exactly_until_retry_after(seconds):
    clock = VirtualClock()
    it = pool(1, clock=clock)
    fail(it, "sim-1", Outcome.rate_limited(seconds))
    clock.advance(seconds - 0.125)
    assert it.take(MODEL, "a", "root") is None
    clock.advance(0.125)
    take(it, "a")


@pytest.mark.parametrize("nothing", [None, 0, -5, float("nan"), float("inf")])
def test_a_key_rests_twice_as_long_each_time_where_the_provider_says_nothing_usable(nothing):
    clock = VirtualClock()
    it = pool(1, clock=clock)
    rests = []
    for _ in range(9):
        fail(it, "sim-1", Outcome.rate_limited(nothing))
        rests.append(key(it, "sim-1").until - clock.time())
        clock.advance(rests[-1])
    assert rests == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_an_answer_resets_the_doubling():
    clock = VirtualClock()
    it = pool(1, clock=clock)
    for expected in (5, 10):
        fail(it, "sim-1", Outcome.rate_limited())
        assert key(it, "sim-1").until - clock.time() == expected
        clock.advance(expected)
    fail(it, "sim-1", Outcome.OK)
    fail(it, "sim-1", Outcome.rate_limited())
    assert key(it, "sim-1").until - clock.time() == 5


def test_attempts_from_before_the_cooldown_neither_prolong_nor_escalate_it():
    clock = VirtualClock()
    it = pool(1, clock=clock)
    leases = [take(it, f"agent {number}") for number in range(10)]
    leases[0].report(Outcome.rate_limited())
    for lease in leases[1:5]:
        clock.advance(0.5)
        lease.report(Outcome.rate_limited(100))
    clock.advance(3)
    late = take(it, "late")
    for lease in leases[5:]:
        lease.report(Outcome.rate_limited(100))
    assert key(it, "sim-1").state is KeyState.OK, "they belong to the cooldown that is over"
    assert key(it, "sim-1").rate_limited == 10
    late.report(Outcome.rate_limited())
    assert key(it, "sim-1").until - clock.time() == 10


def test_an_answer_to_an_attempt_from_before_the_cooldown_proves_nothing():
    clock = VirtualClock()
    it = pool(1, clock=clock)
    old, struck = take(it, "old"), take(it, "struck")
    struck.report(Outcome.rate_limited())
    clock.advance(5)
    old.report(Outcome.OK)
    fail(it, "sim-1", Outcome.rate_limited())
    assert key(it, "sim-1").until - clock.time() == 10


def test_a_limit_for_one_model_leaves_the_others_alone():
    it = pool(1)
    fail(it, "sim-1", Outcome.rate_limited(30), model="big")
    assert it.take("big", "a", "root") is None
    take(it, "a", model="small")
    assert key(it, "sim-1").model == "big"


def test_the_key_of_the_lease_is_blamed_and_no_other():
    it = pool(4)
    for number, outcome in enumerate(
        [Outcome.rate_limited(9), Outcome.UNAUTHORIZED, Outcome.SERVER, Outcome.OK], 1
    ):
        fail(it, f"sim-{number}", outcome)
    views = it.snapshot().keys
    assert [view.rate_limited for view in views] == [1, 0, 0, 0]
    assert [view.failures for view in views] == [0, 1, 1, 0]
    assert [view.successes for view in views] == [0, 0, 0, 1]
    assert [view.state for view in views] == [KeyState.COOLING, KeyState.COOLING, KeyState.OK, KeyState.OK]


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.CANCELLED])
def test_faults_of_the_request_and_of_ourselves_blame_nobody(outcome):
    it = pool(1)
    before = it.snapshot().keys
    fail(it, "sim-1", outcome)
    (after,) = it.snapshot().keys
    assert (after.state, after.failures, after.rate_limited, after.successes) == (KeyState.OK, 0, 0, 0)
    assert before[0].reason == after.reason == ""


@pytest.mark.parametrize("outcome", [Outcome.SERVER, Outcome.CONNECTION])
def test_a_provider_in_trouble_costs_a_key_nothing_but_a_count(outcome):
    it = pool(2)
    fail(it, "sim-1", outcome)
    assert key(it, "sim-1").failures == 1
    assert key(it, "sim-1").state is KeyState.OK


def test_a_key_that_is_refused_rests_a_minute_and_after_the_second_time_for_good():
    clock = VirtualClock()
    it = pool(2, clock=clock)
    fail(it, "sim-1", Outcome.UNAUTHORIZED)
    assert key(it, "sim-1").until - clock.time() == 60
    assert it.take("another model", "a", "root").label == "sim-2"
    clock.advance(60)
    fail(it, "sim-1", Outcome.UNAUTHORIZED)
    clock.advance(1_000_000)
    assert key(it, "sim-1").state is KeyState.QUARANTINED
    assert {take(it, f"agent {number}").label for number in range(10)} == {"sim-2"}


def test_a_key_that_worked_in_between_was_not_refused_twice_in_a_row():
    clock = VirtualClock()
    it = pool(2, clock=clock)
    for outcome in (Outcome.UNAUTHORIZED, Outcome.OK, Outcome.UNAUTHORIZED):
        fail(it, "sim-1", outcome)
        clock.advance(60)
    assert key(it, "sim-1").state is KeyState.OK


def test_attempts_in_flight_when_a_key_is_refused_count_as_one_refusal():
    it = pool(2)
    leases = [take(it, f"agent {number}") for number in range(10)]
    for lease in leases:
        if lease.label == "sim-1":
            lease.report(Outcome.UNAUTHORIZED)
    assert key(it, "sim-1").failures == 5
    assert key(it, "sim-1").state is KeyState.COOLING


def test_when_all_keys_are_refused_together_none_is_given_up():
    clock = VirtualClock()
    it = pool(3, clock=clock)
    for _ in range(5):
        for label in ("sim-1", "sim-2", "sim-3"):
            fail(it, label, Outcome.UNAUTHORIZED)
            clock.advance(5)
        assert it.is_refused
        assert it.why(MODEL, "a1").words.startswith("sim-1 cools")
        assert [view.state for view in it.snapshot().keys] == [KeyState.COOLING] * 3
        clock.advance(60)
    assert not it.is_refused
    take(it)


def test_a_key_given_up_just_before_the_others_were_refused_too_comes_back():
    clock = VirtualClock()
    it = pool(2, clock=clock)
    fail(it, "sim-1", Outcome.UNAUTHORIZED)
    clock.advance(60)
    fail(it, "sim-1", Outcome.UNAUTHORIZED)
    assert key(it, "sim-1").state is KeyState.QUARANTINED
    clock.advance(9)
    fail(it, "sim-2", Outcome.UNAUTHORIZED)
    assert key(it, "sim-1").state is KeyState.COOLING
    assert key(it, "sim-1").until - clock.time() == 51


def test_the_last_key_is_never_given_up():
    clock = VirtualClock()
    it = pool(2, clock=clock)
    for label in ("sim-1", "sim-1", "sim-2", "sim-2", "sim-2"):
        fail(it, label, Outcome.UNAUTHORIZED)
        clock.advance(60)
    assert key(it, "sim-1").state is KeyState.QUARANTINED
    assert take(it).label == "sim-2"


def test_a_lease_reports_and_is_released_once_however_often_it_is_said():
    it = pool(1, 2)
    lease, other = take(it, "a"), take(it, "b")
    for _ in range(3):
        lease.report(Outcome.OK)
        lease.report(Outcome.UNAUTHORIZED)
        lease.release()
    assert in_flight(it) == {"sim-1": 1}
    assert (key(it, "sim-1").successes, key(it, "sim-1").failures) == (1, 0)
    other.release()
    other.report(Outcome.SERVER)
    assert key(it, "sim-1").failures == 1, "a report after the release still counts"


def test_a_with_block_releases_whatever_happens_in_it():
    it = pool(1, 1)
    with pytest.raises(KeyError), take(it):
        raise KeyError
    assert in_flight(it) == {"sim-1": 0}


@pytest.mark.parametrize(("keys", "cap", "agents"), [(1, 1, 1), (4, 1, 3), (4, 5, 16), (3, 3, 7), (2, None, None)])
def test_four_fifths_of_the_caps_is_how_many_agents_may_run(keys, cap, agents):
    assert pool(keys, cap).agents_cap == agents


def test_what_a_waiter_would_wait_for():
    clock = VirtualClock()
    it = pool(2, 1, clock=clock)
    assert it.why(MODEL, "a1").words == ""
    first, second = take(it, "a"), take(it, "b")
    assert it.why(MODEL, "a1").words == "all keys at their cap"
    first.report(Outcome.rate_limited(125))
    assert it.why(MODEL, "a1").words == "all healthy keys at their cap"
    second.report(Outcome.rate_limited(41.5))
    assert it.why(MODEL, "a1").words == f"{second.label} cools 0:42"
    clock.advance(50)
    assert it.why(MODEL, "a1").words == "all healthy keys at their cap"
    second.release()
    assert it.why(MODEL, "a1").words == ""
    fail(it, second.label, Outcome.rate_limited(3700))
    assert it.why(MODEL, "a1").words == f"{first.label} cools 1:15"
    fail_late = it.why("another model", "a1").words
    assert fail_late == "" or fail_late.endswith("cap")


def test_the_counts_of_the_panel():
    clock = VirtualClock()
    it = pool(1, 5, clock=clock)
    with take(it, "a", branch="north") as lease, take(it, "b", branch="north"), take(it, "c", branch="south"):
        clock.advance(2)
        lease.first_token()
        clock.advance(5)
        lease.first_token()
        lease.used(100, 20, 70)
        lease.used(1, 0, None)
        view = key(it, "sim-1")
        assert (view.in_flight, view.cap, dict(view.holders)) == (3, 5, {"north": 2, "south": 1})
        assert (view.requests_minute, view.tokens_minute) == (3, 121)
        assert (view.cost, view.cost_is_lower_bound, view.first_token) == (70, True, 2)
    clock.advance(55)
    assert (key(it, "sim-1").requests_minute, key(it, "sim-1").tokens_minute) == (0, 121)
    clock.advance(60)
    view = key(it, "sim-1")
    assert (view.tokens_minute, view.cost, dict(view.holders)) == (0, 70, {})


def test_a_snapshot_says_when_in_epoch_seconds_and_is_json():
    clock = VirtualClock()
    it = pool(2, 3, clock=clock)
    clock.advance(100)
    fail(it, "sim-1", Outcome.rate_limited(30))
    document = it.snapshot().document()
    assert json.loads(json.dumps(document)) == document
    assert (document["provider"], document["endpoint"]) == ("simulator", "http://127.0.0.1:8399/v1")
    assert document["at"] == clock.time()
    cooling, well = document["keys"]
    assert (cooling["state"], cooling["until"], cooling["reason"]) == (
        "cooling",
        clock.time() + 30,
        "rate limited (429)",
    )
    assert (well["state"], well["until"], well["reason"]) == ("ok", None, "")
    assert "key-1" not in json.dumps(document)


def test_a_pool_needs_keys_and_a_label_for_each():
    for keys in ([], [Key("x", None), Key("x", None)]):
        with pytest.raises(ValueError, match="label"):
            Pool("p", "http://localhost/v1", keys, VirtualClock())
