"""What providers say about when to come back, and what of it is believed."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skep.keys import retry_after

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"Retry-After": " 7.5 "}, 7.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "86400"}, 86400),
        ({"retry-after": "86401"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1_000"}, None),
        ({"retry-after": "١٢"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "9" * 5000}, None),
        ({"retry-after": "Sun, 01 Mar 2026 12:00:42 GMT"}, 42),
        ({"retry-after": "Sunday, 01-Mar-26 12:00:42 GMT"}, 42),
        ({"retry-after": "Sun Mar  1 12:00:42 2026"}, 42),
        ({"retry-after": "Sun, 01 Mar 2026 13:00:42 +0100"}, 42),
        ({"retry-after": "Sun, 01 Mar 2026 11:59:59 GMT"}, None),
        ({"retry-after": "Tue, 03 Mar 2026 12:00:00 GMT"}, None),
        ({"retry-after": "Sun, 01 Foo 2026 12:00:42 GMT"}, None),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2),
        ({"retry-after-ms": "-5", "retry-after": "2"}, 2),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-reset-tokens": "12ms"}, 0.012),
        ({"x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        ({"x-ratelimit-reset-tokens": "25h"}, None),
        ({"x-ratelimit-reset-tokens": "-5s"}, None),
        ({"x-ratelimit-reset-tokens": "5"}, None),
        ({"x-ratelimit-reset-tokens": "5s later"}, None),
        ({"x-ratelimit-reset-tokens": "0"}, 0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "2s"}, 2),
        ({"x-ratelimit-reset-requests": "9s", "x-ratelimit-remaining-requests": "17",
          "x-ratelimit-reset-tokens": "2s", "x-ratelimit-remaining-tokens": "0"}, 2),
        ({"retry-after": "3", "x-ratelimit-reset-requests": "9s"}, 3),
        ({"retry-after": "later", "x-ratelimit-reset-requests": "9s"}, 9),
    ],
)  # fmt: skip
def test_what_is_said_and_what_is_made_of_it(headers, seconds):
    assert retry_after(headers, NOW) == (None if seconds is None else pytest.approx(seconds, abs=1e-9))


NAMES = st.sampled_from(
    ["retry-after", "Retry-After-Ms", "X-RateLimit-Reset-Requests", "x-ratelimit-reset-tokens",
     "x-ratelimit-remaining-tokens"]
)  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=80),
    st.text("0123456789.hmsunµ:-+eE_, GMT", max_size=80),
    st.floats().map(str),
    st.integers().map(str),
    st.builds(
        "Sun, {:02} Mar {} {:02}:{:02}:{:02} {}".format,
        *(st.integers(0, most) for most in (99, 10**9, 99, 99, 99)),
        st.sampled_from(["GMT", "+9999", "", "x"]),
    ),
)


@given(st.dictionaries(NAMES, VALUES), st.floats(0, 4e9))
@example({"retry-after": "Sun, 00 Mar 0 00:00:00 GMT"}, 0.0)
@example({"retry-after": "Sun, 01 Mar 999999999 00:00:00 GMT"}, 0.0)
def test_nothing_makes_it_raise_or_wait_for_over_a_day(headers, now):
    seconds = retry_after(headers, now)
    assert seconds is None or 0 <= seconds <= 86400


@given(st.integers(0, 86400))
def test_a_date_and_a_number_mean_the_same(seconds):
    date = format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)
    assert retry_after({"retry-after": date}, NOW) == retry_after({"retry-after": str(seconds)}, NOW) == seconds


@given(st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_a_duration_is_the_sum_of_its_parts(hours, minutes, seconds, milliseconds):
    text = f"{hours}h{minutes}m{seconds}s{milliseconds}ms"
    whole = hours * 3600 + minutes * 60 + seconds + milliseconds / 1000
    assert retry_after({"x-ratelimit-reset-requests": text}, NOW) == pytest.approx(whole)
