"""Faults: which are refused, when one hits."""

import pytest

from apimodels_async.emulator.faults.faults import Fault, Faults
from apimodels_async.emulator.faults.kinds import WHERES
from apimodels_async.emulator.service.values import seeded

# Place, kind, fields -> words of the refusal.
UNKNOWN = [
    ("nowhere", "reset", {}, "unknown where 'nowhere'; allowed: *, balance"),
    ("poll", "explode", {}, "unknown kind 'explode'; allowed: bad_json"),
    ("poll", "stuck", {}, "'stuck' does not apply to 'poll'; allowed: create"),
    ("callback", "status", {}, "does not apply to 'callback'"),
    ("poll", "slow", {"options": {"minutes": 1}}, "allowed: seconds"),
    ("poll", "reset", {"options": {"x": 1}}, "allowed: none"),
    ("poll", "reset", {"probability": 2}, "between 0 and 1"),
    ("poll", "reset", {"probability": "x"}, "between 0 and 1, got 'x'"),
    ("poll", "reset", {"times": 0}, "times must be a whole number from 1"),
    ("poll", "reset", {"times": -1}, "times must be a whole number from 1"),
]


def test_an_unknown_fault_is_refused():
    """An unknown place, kind or option is a ValueError that lists the allowed."""
    for where, kind, more, words in UNKNOWN:
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - words are below
            Fault(where, kind, **more)

        assert words in str(caught.value)


def test_faults_are_read_from_a_command_line():
    """where:kind[:probability] reads as a fault for ever."""
    fault, sure = Fault.parse("poll:reset:0.05"), Fault.parse("*:slow")

    assert (fault.where, fault.kind, fault.probability, fault.times) == (
        "poll",
        "reset",
        0.05,
        None,
    )
    assert sure.probability == 1
    with pytest.raises(ValueError, match="where:kind"):
        Fault.parse("poll:reset:often")


def test_probability_is_seeded():
    """A fault with a probability hits about that often, the same way each run."""

    def run(seed):
        faults = Faults(seeded(seed, "test"))
        fault = faults.add(Fault("*", "reset", times=None, probability=0.25))
        hits = [faults.hit("poll", "") is fault for _ in range(400)]
        assert fault.hits == sum(hits)
        return hits

    assert run(1) == run(1) != run(2)
    assert 60 < sum(run(1)) < 140


def test_a_star_hits_only_where_a_kind_means_something():
    """A stuck fault for every place leaves polls alone."""
    assert not Fault("*", "stuck").applies("poll", "")
    assert Fault("*", "stuck").applies("create", "")


def test_paid_stands_for_every_order():
    """A fault for paid requests hits the four kinds of order, and nothing free."""
    fault = Fault("paid", "reset")

    hit = {where for where in WHERES if fault.applies(where, "")}

    assert hit == {"create", "sync", "edit", "edits"}
    with pytest.raises(ValueError, match="does not apply to 'paid'"):
        Fault("paid", "duplicate")
