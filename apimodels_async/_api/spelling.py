"""
How far two names are apart, and the words for what is probably a slip.

Theory of operation: the distance counts the least insertions, deletions, substitutions
and swaps of neighbours that make one text of the other (Damerau and Levenshtein,
without the restriction that no part is edited twice). Names are short, so the whole
table is filled; a pair whose lengths differ too much is not looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

EDITS_MAX: Final = 2
"""A name with more of them is another name."""
EXTRA_HINT: Final = "To send it all the same: extra={...}"
UPLOAD_HINT: Final = "a local file becomes a URL with session.upload(path)"


def distance(one: str, other: str, most: int = EDITS_MAX) -> int:
    """
    Return how many edits *one* is from *other*; ``most + 1`` says: more than *most*.
    """
    beyond = most + 1
    if abs(len(one) - len(other)) > most:
        return beyond
    # Row and column 0 are a border no path crosses; row 1 is the empty text.
    endless = len(one) + len(other)
    rows = [[endless] * (len(other) + 2), [endless, *range(len(other) + 1)]]
    last_row: dict[str, int] = {}
    for at, letter in enumerate(one, 1):
        row, above, last_column = [endless, at], rows[at], 0
        for column, facing in enumerate(other, 1):
            swap_row, swap_column = last_row.get(facing, 0), last_column
            same = letter == facing
            # Everything between the two that are swapped goes and comes.
            between = (at - swap_row - 1) + (column - swap_column - 1)
            row.append(
                min(
                    above[column] + (not same),
                    row[column] + 1,
                    above[column + 1] + 1,
                    rows[swap_row][swap_column] + between + 1,
                )
            )
            if same:
                last_column = column
        rows.append(row)
        last_row[letter] = at
    edits: int = rows[-1][-1]
    return min(edits, beyond)


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return those of *names* that are nearest to *name*, within two edits; sorted."""
    found = [(distance(name, each), each) for each in names]
    least = min((edits for edits, _ in found), default=EDITS_MAX + 1)
    return sorted(each for edits, each in found if edits == least <= EDITS_MAX)


def did_you_mean(names: Iterable[str]) -> str:
    """Return the question for *names*."""
    return f"did you mean {' or '.join(names)}?"


def reworded(message: str, *, extra: str, upload: str) -> str:
    """Return *message* of a refusal with the hints of a program in place of code's."""
    return message.replace(EXTRA_HINT, extra).replace(UPLOAD_HINT, upload)
