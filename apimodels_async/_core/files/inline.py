"""
Pictures inside the answer: ``data:`` URLs.

Source: RFC 2397; RFC 4648, sections 3 to 5.
"""

from __future__ import annotations

import base64
from typing import Final
from urllib.parse import unquote

_URL_SAFE: Final = str.maketrans("-_", "+/")


def unpack(address: str) -> bytes | None:
    """
    Return the bytes of a ``data:`` URL in base64; None: it is not that.

    Encoders break lines after 76 characters, leave the padding out, or write - and _.
    """
    head, _, packed = address.partition(",")
    if not head.lower().endswith(";base64"):
        return None
    plain = "".join(unquote(packed).split()).rstrip("=")
    try:
        return base64.b64decode(
            plain.translate(_URL_SAFE) + "=" * (-len(plain) % 4), validate=True
        )
    except ValueError:
        return None
