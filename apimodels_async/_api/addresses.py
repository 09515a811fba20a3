"""
Addresses of pictures in answers: which of them can be used as they came.

What is left out stays visible in ``raw``. Nothing is rewritten on the way: a signed
address that is spelt another way is another address.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes, urlsplit

from apimodels_async._api.checks import is_http_url

_HOST: Final = re.compile(r"[A-Za-z0-9_~-]+(\.[A-Za-z0-9_~-]+)*\.?")
_PLAIN: Final = re.compile(
    r"https?://[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,4})?/[!-~]*", re.ASCII
)
"""Nearly all: to take one apart takes as long as to read all else in its answer."""
_SAFE_ALPHABET: Final = str.maketrans("-_", "+/")
URL_CHARS_MAX: Final = 8192
"""What servers take in a request line, and more than any signed address has."""


def usable_address(value: Any) -> str | None:
    """
    Return *value* if a picture can be fetched from it: an http(s) or ``data:`` URL.

    A blank, a control or a non-ASCII character cannot go into a request as it is, nor
    can a host that no URL library reads.
    """
    if not isinstance(value, str):
        return None
    if len(value) <= URL_CHARS_MAX and _PLAIN.fullmatch(value):
        return value
    if value[:5].lower() == "data:":
        return picture_address(value)
    if not value.isascii() or len(value) > URL_CHARS_MAX or not is_http_url(value):
        return None
    return value if _is_reachable(value) else None


def _is_reachable(url: str) -> bool:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return False
    authority, host = parts.netloc.rpartition("@")[2], parts.hostname or ""
    named = authority if port is None else authority.rpartition(":")[0]
    named = named.removesuffix(":").lower()
    if named == host:
        return _HOST.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return named == f"[{host}]"


def picture_address(packed: Any) -> str | None:
    """
    Return the ``data:`` URL for a picture in base64, or in such a URL; None: no such.

    Line breaks are taken out, padding that is left away is put back, and the alphabet
    for URLs becomes the usual one.
    """
    if not isinstance(packed, str):
        return None
    head = "data:image/png;base64"
    if packed[:5].lower() == "data:":
        head, comma, packed = packed.partition(",")
        kind = head.lower().replace(" ", "")
        if not comma or not kind.startswith("data:image/") or "base64" not in kind:
            return None
        head = kind
        if "%" in packed:
            packed = unquote_to_bytes(packed).decode("ascii", "replace")
    packed = "".join(packed.split()).rstrip("=").translate(_SAFE_ALPHABET)
    packed += "=" * (-len(packed) % 4)
    try:
        binascii.a2b_base64(packed, strict_mode=True)
    except ValueError:
        return None
    return f"{head},{packed}" if packed else None
