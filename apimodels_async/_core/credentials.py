"""
The credentials file: which of its lines is the API key.

One key, in whichever of these forms; blank lines and those with ``#`` or ``;`` in front
say nothing, and one ``[section]`` may stand above it::

    sk_...
    api_key = sk_...
    export APIMODELS_API_KEY="sk_..."

Of several lines the first is the key if it has no name; else one must be named
``api_key``: to guess would mean to send something else that is secret to the API.
"""

from __future__ import annotations

import re
from typing import Final

KEY_NAMES: Final = ("api_key", "apimodels_api_key")
_NAMED: Final = re.compile(r"(?:export\s+)?(\w+)\s*=\s*(?!=)(.*)")
"""``name=value``; ``abc==`` is a key that ends in two of base64's signs."""


def key_in(text: str) -> tuple[str | None, str | None]:
    """
    Return the key in *text* of a credentials file, and why it cannot be used.

    Both are None where there is no value at all. The reason does not hold the key.
    """
    values, sections = list[tuple[str, str]](), 0
    for line in map(str.strip, text.splitlines()):
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            sections += 1
            continue
        found = _NAMED.fullmatch(line)
        name, value = found.groups() if found else ("", line)
        values.append((name.lower(), value.strip("\"'")))
    if sections > 1:
        return None, f"it has {sections} [sections], and can have one"
    named = [value for name, value in values if name in KEY_NAMES]
    if len(values) == 1 or (values and not values[0][0]):
        named = [values[0][1]]
    if len(named) == 1:
        return named[0], None
    if values:
        return None, f"it has {len(values)} values: name the key, and it alone, api_key"
    return None, None
