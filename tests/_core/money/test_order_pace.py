"""The pace of orders against APIs that allow so many in so much time."""

from __future__ import annotations

import heapq

import pytest

from apimodels_async._core.money.order_pace import OrderPace

LATENCY_S = 0.2
RATE, BURST, WINDOW_S = 5 / 3, 5, 3.0


class FixedWindow:
    """Five orders in each three seconds by the clock."""

    def __init__(self):
        self.window, self.taken = -1, 0

    def ask(self, at):
        """Return None if an order is taken, else the seconds until the next window."""
        window = int(at // WINDOW_S)
        if window != self.window:
            self.window, self.taken = window, 0
        if self.taken < BURST:
            self.taken += 1
            return None
        return (window + 1) * WINDOW_S - at


class TokenBucket:
    """Five at once, and one more each 0.6 seconds."""

    def __init__(self):
        self.tokens, self.at = float(BURST), 0.0

    def ask(self, at):
        """Return None if an order is taken, else the seconds until the next token."""
        self.tokens = min(BURST, self.tokens + (at - self.at) * RATE)
        self.at = at
        if self.tokens >= 1:
            self.tokens -= 1
            return None
        return (1 - self.tokens) / RATE


def play(api, count, *, told, at_once=50):
    """Order *count*; return requests, those out at the first 429, and seconds."""
    pace, now, answers = OrderPace(), 0.0, []
    left, done, requests, out, out_at_first = count, 0, 0, 0, None
    while done < count:
        start = pace.next_start(now) if left and out < at_once else None
        if start is not None and (not answers or start <= answers[0][0]):
            now = start
            pace.started(now)
            left, requests, out = left - 1, requests + 1, out + 1
            wait = api.ask(now + LATENCY_S / 2)
            heapq.heappush(answers, (now + LATENCY_S, requests, now, wait))
            continue
        now, _, started, wait = heapq.heappop(answers)
        if wait is None:
            pace.taken(now)
            done += 1
        else:
            out_at_first = out_at_first or out
            pace.throttled(started, now, wait if told else None)
            left += 1
        out -= 1
    return requests, out_at_first or 0, now


@pytest.mark.parametrize("told", [True, False], ids=["Retry-After", "silent"])
@pytest.mark.parametrize("api", [FixedWindow, TokenBucket])
def test_the_allowed_rate_is_found_with_few_wasted_requests(api, told):
    """At least 80 % of the allowed rate, and at most 0.3 further requests an order."""
    for count in (40, 100, 400):
        requests, out, seconds = play(api(), count, told=told)

        assert requests <= count + out + 0.3 * count
        assert count / seconds >= 0.8 * RATE


def test_nobody_waits_before_the_first_429():
    """Without a 429 every order may go at once."""
    pace = OrderPace()
    for _ in range(1000):
        assert pace.next_start(5.0) == 5.0
        pace.started(5.0)


def test_a_pace_of_ones_own_holds_from_the_start():
    """With an interval of the user's own, orders go no faster than that."""
    pace = OrderPace(interval_min=0.5)
    starts = []
    for _ in range(4):
        starts.append(pace.next_start(10.0))
        pace.started(starts[-1])
    assert starts == [10.0, 10.5, 11.0, 11.5]


def test_what_left_before_the_brake_says_nothing_new():
    """Forty refusals of one burst are one reason to slow down."""
    pace = OrderPace()
    for _ in range(40):
        pace.started(0.0)
    for _ in range(40):
        pace.throttled(0.0, 0.2, None)
    assert pace.next_start(0.2) == pytest.approx(1.2)
