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
    """
    Order *count*; return requests, those out at the first 429, and seconds.

    *told* makes the Retry-After out of the seconds that it would take.
    """
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
            pace.throttled(started, now, told(wait))
            left += 1
        out -= 1
    return requests, out_at_first or 0, now


TOLD = {
    "Retry-After": lambda wait: wait,
    "silent": lambda _: None,
    "Retry-After: 0": lambda _: 0.0,
    "Retry-After: 0.2": lambda _: 0.2,
}


@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
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


@pytest.mark.parametrize("told", [None, 0.0, 0.2])
def test_pauses_double_while_no_order_is_taken(told):
    """Refused probes are 1, 2, 4, ... 30 seconds apart at least."""
    pace, now, found = OrderPace(), 0.0, []
    for _ in range(7):
        pace.started(now)
        pace.throttled(now, now, told)
        found.append(pace.next_start(now) - now)
        now += found[-1]
    assert found == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_orders_of_one_instant_are_one_reason():
    """Of two that left and were refused at the same moment, the second is no news."""
    pace = OrderPace()
    pace.started(1.0)
    pace.started(1.0)
    pace.throttled(1.0, 1.0, None)
    pace.throttled(1.0, 1.0, None)
    pace.started(2.0)
    pace.throttled(2.0, 2.0, None)

    assert pace.next_start(2.0) == 4.0


def test_a_late_429_of_the_burst_is_not_the_probes():
    """While a probe is out nothing else goes, whatever is heard of older orders."""
    pace = OrderPace()
    for _ in range(3):
        pace.started(0.0)
    pace.throttled(0.0, 0.2, None)
    assert pace.next_start(0.2) == pytest.approx(1.2)
    pace.started(1.2)
    pace.throttled(0.0, 1.3, None)
    assert pace.next_start(1.3) is None
    pace.throttled(1.2, 1.4, None)
    assert pace.next_start(1.4) == pytest.approx(3.4)


def test_a_probe_that_is_refused_at_once_is_followed_by_another():
    """The clock need not have moved between a start and its answer."""
    pace = OrderPace()
    pace.started(5.0)
    for _ in range(3):
        pace.throttled(5.0, 5.0, 0.0)
        assert pace.next_start(5.0) == 6.0
        pace.started(5.0)


def test_a_probe_that_was_not_sent_is_followed_by_another():
    """Nobody waits for the answer to an order that never left."""
    pace = OrderPace()
    pace.started(0.0)
    pace.throttled(0.0, 0.2, None)
    pace.started(1.2)
    assert pace.next_start(1.3) is None
    pace.unsent()
    assert pace.next_start(1.3) == 1.3


def paced():
    """Return what has found that the API takes two orders a second, at 2 seconds."""
    pace = OrderPace()
    for number in range(5):
        pace.started(number / 4)
    for number in range(4):
        pace.taken(number / 4 + 0.1)
    pace.throttled(1.0, 1.0, 1.0)
    return pace


def interval_of(pace, now):
    """Return the seconds between the next order and the one after it."""
    first = pace.next_start(now)
    pace.started(first)
    return pace.next_start(first) - first


def test_a_429_at_a_known_pace_slows_it_and_waits_as_long():
    """Half a second becomes 0.65, and so long nobody orders."""
    pace = paced()
    pace.started(2.0)
    pace.throttled(2.0, 2.1, None)

    assert pace.next_start(2.1) == pytest.approx(2.75)
    assert interval_of(pace, 2.1) == pytest.approx(0.65)


def test_a_pace_that_holds_for_long_is_hastened():
    """Each order taken makes it 2 % faster, from the 22nd in a row on up to 10 %."""
    pace = paced()
    pace.started(2.0)
    pace.throttled(2.0, 2.0, None)
    for _ in range(21):
        pace.taken(2.0)
    assert interval_of(pace, 9.0) == pytest.approx(0.65 * 0.98**21)
    pace.taken(2.0)
    assert interval_of(pace, 99.0) == pytest.approx(0.65 * 0.98**23)
    for _ in range(8):
        pace.taken(2.0)
    assert interval_of(pace, 199.0) == pytest.approx(0.65 * 0.98 ** (23 + 12 + 5 * 5))


def test_a_finding_counts_from_the_one_before_it():
    """A refusal just after a pace that was none is judged by the one order since."""
    pace = OrderPace()
    for now in (0.0, 0.0, 0.001):
        pace.started(now)
    pace.throttled(0.0, 0.0, None)
    pace.started(1.0)
    pace.taken(0.002)
    pace.taken(0.002)
    pace.throttled(1.0, 1.2, 3.0)

    assert pace.next_start(1.2) == pytest.approx(4.2)
    assert interval_of(pace, 1.2) == pytest.approx(3.0)


@pytest.mark.parametrize("start", [0.0, 5000.0])
def test_the_pace_is_what_was_taken_in_its_time(start):
    """Four orders in a second and one more to wait: half a second for each."""
    pace = OrderPace()
    for number in range(5):
        pace.started(start + number / 4)
    for number in range(4):
        pace.taken(start + number / 4 + 0.1)
    pace.throttled(start + 1.0, start + 1.0, 1.0)

    assert pace.next_start(start + 1.0) == start + 2.0
    pace.started(start + 2.0)
    assert pace.next_start(start + 2.0) == pytest.approx(start + 2.5)


def test_a_pace_of_ones_own_holds_from_the_start():
    """With an interval of the user's own, orders go no faster than that."""
    pace = OrderPace(interval_min=0.5)
    starts = []
    for _ in range(4):
        starts.append(pace.next_start(10.0))
        pace.started(starts[-1])
    assert starts == [10.0, 10.5, 11.0, 11.5]


def test_the_first_order_waits_for_nothing():
    """Whatever the clock says, which may begin at zero."""
    pace = OrderPace()

    assert pace.next_start(0.0) == 0.0
    pace.started(0.0)
    pace.throttled(0.0, 0.0, None)
    assert pace.next_start(0.0) == 1.0


def test_what_left_before_the_brake_says_nothing_new():
    """Forty refusals of one burst are one reason to slow down."""
    pace = OrderPace()
    for _ in range(40):
        pace.started(0.0)
    for _ in range(40):
        pace.throttled(0.0, 0.2, None)
    assert pace.next_start(0.2) == pytest.approx(1.2)


def test_a_long_interval_is_soon_shortened():
    """A pace of a quiet time gives way within minutes: 20 seconds become 1 in 300."""
    pace = OrderPace()
    for number in range(3):
        pace.started(number * 20.0)
        pace.taken(number * 20.0 + 0.1)
    pace.throttled(40.0, 60.0, 1.0)
    now, orders = pace.next_start(61.0), 0
    while interval_of(pace, now) > 1.0:
        now = pace.next_start(now)
        pace.taken(now)
        orders += 1

    assert now < 61 + 2 * 300  # interval_of() itself orders, too
    assert orders < 40
