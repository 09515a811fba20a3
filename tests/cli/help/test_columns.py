"""Two columns of text."""

from __future__ import annotations

from apimodels_async.cli.help.columns import columns


def test_words_are_wrapped_beside_their_names():
    """Words begin in one column, and none is cut where there is little space."""
    rows = [("a", "one two three four five six"), ("longer", "--an-option")]

    assert columns(rows, 34).splitlines() == [
        "  a       one two three four five",
        "          six",
        "  longer  --an-option",
    ]
    assert max(map(len, columns([("x" * 20, "word " * 9)], 10).splitlines())) <= 48
