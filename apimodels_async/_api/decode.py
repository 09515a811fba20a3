"""
Bytes of an answer -> JSON, strictly: what two parsers read differently is refused.
"""

from __future__ import annotations

import codecs
import json
from typing import Any, Final

from apimodels_async._text import printable

SNIPPET_CHARS: Final = 120
# Python loads a codec's module on first use. Now, and not between a paid request and
# its answer, when the program may have no file descriptor left.
_UTF_8_SIG: Final = codecs.lookup("utf-8-sig").decode


class UnreadableError(Exception):
    """
    The bytes are not the JSON they should be. The text says why; stays in ``_api``.
    """


def _refuse_constant(word: str) -> Any:
    msg = f"{word} is not JSON"
    raise ValueError(msg)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # json keeps the last of two equal keys: {"state": "failed", "state": "completed"}
    # would be one thing to us and another to the proxy that inspected it.
    found = dict(pairs)
    if len(found) != len(pairs):
        msg = "an object has the same key twice"
        raise ValueError(msg)
    return found


_DECODER: Final = json.JSONDecoder(
    parse_constant=_refuse_constant, object_pairs_hook=_unique
)


def decode_json(body: bytes) -> Any:
    """
    Return the JSON value in *body* (UTF-8, a byte order mark is tolerated).

    Raises:
        UnreadableError: With a reason fit for a message; never anything else, whatever
            the bytes are (deep nesting and numbers of 5,000 digits included).
    """
    reason = ""
    try:
        return _DECODER.decode(_UTF_8_SIG(body)[0])
    except UnicodeDecodeError:
        reason = "not UTF-8"
    except json.JSONDecodeError as error:
        reason = f"not JSON ({error.msg} at character {error.pos})"
    except (ValueError, RecursionError) as error:
        reason = f"not acceptable JSON ({type(error).__name__})"
    msg = f"{reason}: {snippet(body)}" if body else "an empty body"
    raise UnreadableError(msg)


def snippet(body: bytes) -> str:
    """Return the beginning of *body* for a message, control characters escaped."""
    return printable(
        body[: 4 * SNIPPET_CHARS].decode("utf-8", "replace"), SNIPPET_CHARS
    )
