"""
The API key, and whatever else nobody may see.
"""

from __future__ import annotations

import re
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

MASK: Final = b"***"
MASKED_CHARS_MIN: Final = 6
"""Keys have 19 or more; "code" as a key must not break the answers."""
_SERVER: Final = re.compile(
    r"\s*(?:(?:(?:redis|valkey)s?|unix)\s*(?::|//)|[a-z][a-z0-9+.-]+://)",
    re.IGNORECASE,
)
"""Also misspelt, and what a path has folded; one letter is a drive of Windows."""


class Secret:
    """The API key. Prints, formats, pickles and compares as nothing."""

    __slots__ = ("_escaped", "_spellings", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._spellings: tuple[bytes, ...] | None = None
        self._escaped: re.Pattern[bytes] | None = None

    @classmethod
    def of(cls, value: object) -> Secret | None:
        """
        Return *value* without the blanks around it, as a secret; None for none.

        Of what is no text (bytes, a secret of pydantic's) it is the empty one, for the
        caller to refuse: a frame that raised here would show it.
        """
        if isinstance(value, Secret):
            return value
        if value is None:
            return None
        return cls(value.strip() if isinstance(value, str) else "")

    def reveal(self) -> str:
        """Return the key; for the transport's last step only."""
        return self._value

    def mask(self, text: bytes) -> bytes:
        """
        Return *text* with the secret, wherever it repeats it, written as ``***``.

        Finds it percent-encoded and with JSON's escapes, too.
        """
        if self._spellings is None:
            self._spellings = _spellings(self._value)
        for spelling in self._spellings:  # nearly always one
            if spelling in text:
                text = text.replace(spelling, MASK)
        # Nobody escapes plain letters, but he could, and JSON would unescape them.
        if b"\\u00" in text and self._spellings:
            if self._escaped is None:
                self._escaped = _escaped_pattern(self._value)
            text = self._escaped.sub(MASK, text)
        return text

    def __repr__(self) -> str:
        return "<secret>"

    def __reduce__(self) -> NoReturn:
        msg = "a secret is not pickled or copied"
        raise TypeError(msg)


def hidden(value: Any) -> Any:
    """Return *value*; text, or an address as a path, as a secret for frames to show."""
    text = _text(value)
    kept = isinstance(value, str) or names_server(text)
    return Secret(text) if kept and text is not None else value


def hidden_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return *options* of a session, each text as a secret."""
    given = {name: hidden(value) for name, value in options.items()}
    if "api_key" in given:
        given["api_key"] = Secret.of(options["api_key"])
    return given


def names_server(place: object) -> bool:
    """
    Return whether *place* begins like the address of a server, and so is no path.

    Taken for one, its orders would be this machine's alone, and its password the name
    of a folder.
    """
    text = _text(place)
    return text is not None and _SERVER.match(text) is not None


def _text(value: object) -> str | None:
    text = value.__fspath__() if isinstance(value, PathLike) else value
    return text if isinstance(text, str) else None


def _spellings(value: str) -> tuple[bytes, ...]:
    if len(value) < MASKED_CHARS_MIN:
        return ()
    found = {value, value.replace("/", "\\/"), quote(value, safe="")}
    return tuple(sorted(each.encode() for each in found))


def _escaped_pattern(value: str) -> re.Pattern[bytes]:
    each = (rf"(?:\\?{re.escape(c)}|\\u(?i:{ord(c):04x}))" for c in value)
    return re.compile("".join(each).encode())
