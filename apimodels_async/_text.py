"""
What the API says in words, made fit for a terminal, a log and an error message.
"""

from __future__ import annotations

from typing import Final

MESSAGE_CHARS_MAX: Final = 2000  # a refusal is a sentence; a page of HTML is not

# Bidirectional controls and line separators: isprintable() keeps none of them, but
# the list names what an attacker would use: U+202A-202E, U+2066-2069, U+2028-2029.


def printable(text: str, limit: int = MESSAGE_CHARS_MAX) -> str:
    """
    Return *text* in at most *limit* characters, its control characters escaped.

    Escapes are Python's own (``\\x1b``), so that nothing the API sends can move a
    cursor, hide a line of a log, or reverse the reading direction.
    """
    shown = text[: limit + 1]  # one more: whether there is more
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
