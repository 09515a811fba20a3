"""The fault kinds and where each applies."""

from apimodels_async.emulator.faults.kinds import KINDS, WHERES, wheres_of


def test_every_kind_has_a_place():
    """Each kind means something somewhere, and each place knows some kind."""
    places = [wheres_of(kind) for kind in KINDS]

    assert all(places)
    assert frozenset().union(*places) == WHERES
