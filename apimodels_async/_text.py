"""
Text from outside: made fit for a terminal, a log and a page; hosts by their name.
How values are shown and compared.
"""

from __future__ import annotations

import ipaddress
import re
import traceback
from typing import Any, Final

MESSAGE_CHARS_MAX: Final = 2000  # a refusal is a sentence; a page of HTML is not

# Bidirectional controls and line separators: isprintable() keeps none of them, but
# the list names what an attacker would use: U+202A-202E, U+2066-2069, U+2028-2029.


def printable(text: str, limit: int = MESSAGE_CHARS_MAX) -> str:
    """
    Return *text* in at most *limit* characters, its control characters escaped.

    Escapes are Python's own (``\\x1b``), so that nothing the API sends can move a
    cursor, hide a line of a log, or reverse the reading direction.
    """
    shown = escaped(text[: limit + 1])  # one more: whether there is more
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


_INLINE: Final = re.compile(r"(data:[\w.+/-]{0,80};base64,.{24})[^'\"\s]{200,}")


def escaped(text: str, kept: str = "") -> str:
    """Return *text* with its control characters written out, those in *kept* not."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else ascii(c)[1:-1] for c in text)


def counted(number: int, word: str) -> str:
    """Return "1 row", "2 rows" for the *word* of one."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def describe(error: Exception) -> str:
    """
    Return the class and the words of *error*, which is nobody's that we know: a user's
    hook or resolver raised it. Of any length, without control characters.
    """
    # Unlike str(error), this raises nothing, whatever the class does.
    return escaped("".join(traceback.format_exception_only(error)).strip())


def is_loopback(host: str) -> bool:
    """Return whether *host* names this machine by itself, without a resolver."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def brief(value: object) -> str:
    """Return ``repr(value)``, its inline pictures (``data:`` URLs) cut short."""
    text = repr(value)
    if ";base64," not in text:
        return text
    return _INLINE.sub(lambda found: f"{found[1]}...({len(found[0])} characters)", text)


class Value:
    """
    Makes values of attrs classes equal, hashed and shown as attrs itself would.

    What attrs makes for that it compiles, for each class and whenever a program starts:
    opening a session would take a third longer.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = [each.name for each in _fields(self) if each.eq]
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def __hash__(self) -> int:
        counted = [
            getattr(self, each.name)
            for each in _fields(self)
            if (each.eq if each.hash is None else each.hash)
        ]
        return hash((type(self), *counted))

    def __repr__(self) -> str:
        shown = [
            f"{each.name}={text(getattr(self, each.name))}"
            for each in _fields(self)
            if (text := repr if each.repr is True else each.repr)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


def _fields(value: Value) -> tuple[Any, ...]:
    return getattr(type(value), "__attrs_attrs__", ())
