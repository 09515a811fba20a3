"""One brake for all polls."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.cases import check_all

from apimodels_async._core.polling.brake import THROTTLED, Brake


def pauses(count, *, wish=None):
    """Return how long each of *count* refusals in a row stops the polls."""
    brake, now, found = Brake(), 100.0, []
    for _ in range(count):
        brake.throttled(now, now, wish)
        found.append(brake.until - now)
        now = brake.until
    return found


def test_a_new_brake_is_off():
    """Nothing is held back before the first refusal."""
    assert Brake().until == 0.0


def test_pauses_double_to_half_a_minute():
    """Refusals in a row stop the polls for 1, 2, 4, ... and at most 30 seconds."""
    assert pauses(7) == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert pauses(2000)[-1] == 30.0


def test_a_wish_is_kept_up_to_two_minutes():
    """Retry-After stops the polls as long as it says, at least 1 s, at most 120 s."""

    def check(wish, expected):
        assert [expected] == pauses(1, wish=wish)

    check_all(
        [
            (0.0, 1.0),
            (0.5, 1.0),
            (5.0, 5.0),
            (120.0, 120.0),
            (121.0, 120.0),
            (1e9, 120.0),
        ],
        check,
    )


def test_the_polls_under_way_are_one_refusal():
    """Sixty-four polls refused together cause one pause, not sixty-four."""
    brake = Brake()
    for number in range(64):
        brake.throttled(99.9, 100.0 + number / 1000, None)

    assert brake.until == 101.0


def test_an_old_refusal_that_comes_late_is_old():
    """A poll of before the pause says nothing new, even after a good answer."""
    brake = Brake()
    brake.throttled(99.0, 100.0, None)
    brake.recovered(101.0)
    brake.throttled(99.9, 101.5, None)

    assert brake.until == 101.0


def test_a_later_wish_of_a_poll_under_way_is_kept():
    """A poll under way that is told to wait longer prolongs the pause."""
    brake = Brake()
    brake.throttled(99.9, 100.0, None)
    brake.throttled(99.9, 100.1, 20.0)
    brake.throttled(99.9, 100.2, 3.0)

    assert brake.until == 120.1


def test_a_good_answer_ends_the_streak():
    """After a good answer to a poll of after the pause, pauses start small again."""
    brake = Brake()
    brake.throttled(100.0, 100.0, None)
    brake.throttled(101.0, 101.0, None)
    brake.recovered(103.0)
    brake.throttled(104.0, 104.0, None)

    assert brake.until == 105.0


def test_a_good_answer_of_an_earlier_round_says_nothing():
    """A poll that started before the last pause and succeeded does not end a streak."""
    brake = Brake()
    brake.throttled(100.0, 100.0, None)
    brake.throttled(101.0, 101.0, None)
    brake.recovered(100.5)
    assert brake.until == 103.0
    brake.throttled(103.0, 103.0, None)

    assert brake.until == 107.0


def test_one_task_that_is_always_refused_costs_a_second_a_round():
    """Good answers that come after the refusal, in the same round, end a long pause."""
    brake, now = Brake(), 100.0
    for _ in range(20):
        brake.throttled(now, now + 0.1, None)
        brake.recovered(now + 0.05)
        assert brake.until == now + 1.1
        now = brake.until


def test_a_good_answer_keeps_what_the_api_asked_for():
    """A good answer of the same round never shortens a Retry-After."""
    brake = Brake()
    for at in (100.0, 101.0, 103.0):
        brake.throttled(at, at, None)
    assert brake.until == 107.0
    brake.throttled(103.5, 103.5, 2.0)
    brake.recovered(103.2)
    assert brake.until == 105.5
    brake.throttled(103.6, 103.6, 30.0)
    brake.recovered(103.3)

    assert brake.until == 133.6


@given(
    st.lists(
        st.tuples(st.floats(0, 50), st.floats(0, 9), st.none() | st.floats(0, 1e9))
    )
)
def test_the_brake_is_never_released_early(refusals):
    """Whatever refusals come, the pause only grows and ends within two minutes."""
    brake, now = Brake(), 0.0
    for passed, age, wish in refusals:
        now += passed
        before = brake.until
        brake.throttled(now - age, now, wish)
        assert before <= brake.until <= max(before, now + 120.0)


def test_two_statuses_speak_for_the_whole_api():
    """429 and 503 pull the brake."""
    assert {429, 503} == THROTTLED


def test_refusals_with_a_wish_of_nothing_still_escalate():
    """An API that says "Retry-After: 0" again and again is asked less and less."""
    brake, now, found = Brake(), 100.0, []
    for _ in range(3):
        brake.throttled(now, now, 0.0)
        found.append(brake.until - now)
        now = brake.until
    assert found == [1.0, 2.0, 4.0]
