"""The pace that all processes share is the one that a single process finds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.redis import ABSENT, FOUND, RedisServer

from apimodels_async._core.money.order_pace import OrderPace
from apimodels_async.integrations.redis.worker import script

PLAY = """
local pace, told = new_pace(), {}
for _, each in ipairs(cjson.decode(ARGV[1])) do
  local what, now = each[1], each[2]
  if what == 'started' then
    started(pace, now, each[3])
  elseif what == 'taken' then
    taken(pace, now)
  elseif what == 'throttled' then
    throttled(pace, each[3], now, each[4])
  else
    unsent(pace)
  end
  local at = next_start(pace, now)
  told[#told + 1] = at and string.format('%.17g', at) or 'nobody knows'
end
return told
"""

SECONDS = st.sampled_from([0.0, 0.001, 0.25, 1.0, 7.5, 40.0])
EVENTS = st.one_of(
    st.just(("started",)),
    st.just(("taken",)),
    st.just(("unsent",)),
    st.tuples(
        st.just("throttled"),
        st.integers(0, 3),
        st.none() | st.sampled_from([0.0, 0.5, 3.0, 60.0, 9000.0]),
    ),
)


def play(steps, interval_min):
    """Return the events of *steps* with their times, and what is said to each."""
    pace, now = OrderPace(interval_min=interval_min), 1_790_000_000.25
    begun, events, told = [0.0], [], []
    for seconds, (what, *more) in steps:
        now += seconds
        if what == "started":
            pace.started(now)
            begun.append(now)
            events.append((what, now, interval_min))
        elif what == "throttled":
            back, retry_after = more
            start = begun[-1 - min(back, len(begun) - 1)]
            pace.throttled(start, now, retry_after)
            given_wait = () if retry_after is None else (retry_after,)
            events.append((what, now, start, *given_wait))
        else:
            getattr(pace, what)(*((now,) if what == "taken" else ()))
            events.append((what, now))
        told.append(pace.next_start(now))
    return events, told


def test_both_say_the_same():
    """Whatever becomes of orders, the script says the very time that OrderPace says."""
    if not FOUND:
        pytest.skip(ABSENT)
    with RedisServer(()) as server, server.client() as client:
        ask = client.register_script(script(PLAY))

        @given(
            st.lists(st.tuples(SECONDS, EVENTS), min_size=1, max_size=120),
            st.sampled_from([0.0, 0.02, 1.5]),
        )
        def check(steps, interval_min):
            events, expected = play(steps, interval_min)
            told = ask(args=[json.dumps(events)])
            said = [None if at == b"nobody knows" else float(at) for at in told]
            assert said == expected

        check()
