"""Two columns of text: a name, and words wrapped beside it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

INDENT: Final = 2
MARGIN: Final = 4
"""Columns around the longest name: indent, and the gap after it."""
WORDS_MIN: Final = 24
"""Columns for the words; where the names leave fewer, lines get longer."""


def column(name: str, words: str, margin: int, width: int) -> str:
    """Return *name*, and *words* from column *margin* on, to column *width*."""
    return textwrap.fill(
        words,
        max(width, margin + WORDS_MIN),
        initial_indent=f"{' ' * INDENT}{name}".ljust(margin),
        subsequent_indent=" " * margin,
        break_on_hyphens=False,
    )


def columns(rows: Iterable[tuple[str, str]], width: int) -> str:
    """Return *rows* of a name and its words below one another."""
    pairs = list(rows)
    margin = max((len(name) for name, _ in pairs), default=0) + MARGIN
    return "\n".join(column(name, words, margin, width) for name, words in pairs)
