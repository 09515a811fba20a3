"""
How far two names are apart, and what was probably meant.
"""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from apimodels_async._api.spelling import (
    EXTRA_HINT,
    UPLOAD_HINT,
    did_you_mean,
    distance,
    nearest,
    reworded,
)

LETTERS = "abc_"
NAMES = st.text(LETTERS, max_size=8)
FAR = 20  # more than any two of them can be apart


def edited(name):
    """Return every text that is one edit from *name*."""
    cuts = [(name[:at], name[at:]) for at in range(len(name) + 1)]
    return {
        *(a + b[1:] for a, b in cuts if b),
        *(a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1),
        *(a + c + b[1:] for a, b in cuts if b for c in LETTERS),
        *(a + c + b for a, b in cuts for c in LETTERS),
    } - {name}


@pytest.mark.parametrize(
    ("one", "other", "edits"),
    [
        ("", "", 0),
        ("seed", "seed", 0),
        ("seed", "sed", 1),
        ("seed", "seeed", 1),
        ("seed", "sead", 1),
        ("seed", "sede", 1),
        ("", "ab", 2),
        ("aspectRatio", "aspect_ratio", 2),
        ("prompt", "pormtp", 2),
        ("ca", "abc", 2),  # what is swapped may be edited between
        ("seed", "sd", 2),
        ("seed", "size", 3),
        ("seed", "needle_point", 3),
    ],
)
def test_each_kind_of_edit_counts_one(one, other, edits):
    """Leaving out, adding, replacing and swapping neighbours are one edit each."""
    assert edits == distance(one, other) == distance(other, one)


@given(st.text(LETTERS, max_size=4))
@example("abca")
def test_within_two_edits_is_exact(name):
    """What one or two edits reach is one or two edits away, and nothing is nearer."""
    once = edited(name)
    twice = {each for near in once for each in edited(near)} - once - {name}

    assert {distance(name, each) for each in once} == {1}
    assert {distance(name, each) for each in twice} <= {2}


@given(NAMES, NAMES)
def test_what_no_two_edits_reach_is_beyond(one, other):
    """A distance of three is said only of what no two edits reach."""
    assume(one != other)
    reached = other in edited(one) or not edited(one).isdisjoint(edited(other))

    assert reached is (distance(one, other) <= 2)


@given(NAMES, NAMES, NAMES)
def test_it_is_a_distance(one, other, third):
    """Nothing is apart from itself; the way back is as long; no detour is shorter."""
    there = distance(one, other, FAR)

    assert (there == 0) is (one == other)
    assert there == distance(other, one, FAR)
    assert there <= distance(one, third, FAR) + distance(third, other, FAR)
    assert min(there, 3) == distance(one, other)


def test_the_nearest_names_are_meant():
    """Of names within two edits the nearest are asked about, all that tie."""
    names = {"image_url", "image_urls", "images", "seed"}

    assert nearest("image_ulr", names) == ["image_url"]
    assert nearest("image_urlz", names) == ["image_url", "image_urls"]
    assert nearest("strength", names) == []
    assert nearest("x" * 1_000_000, names) == []
    assert did_you_mean(["a", "b"]) == "did you mean a or b?"


def test_hints_are_said_in_the_words_of_a_program():
    """The hints of a refusal are replaced, the rest stays."""
    said = reworded(f"a {EXTRA_HINT} b {UPLOAD_HINT}", extra="--extra", upload="no")

    assert said == "a --extra b no"
