"""
Addresses that others chose, sent as they were given.

A signed address is signed over its very characters. yarl writes a URL anew, which
decodes ``%2F`` and its like, so only its host is left to yarl.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, urljoin

from yarl import URL

_PARTS: Final = re.compile(r"(https?)://([^/?#]+)(.*)", re.IGNORECASE | re.DOTALL)
_NO_HOST: Final = re.compile(r"[\x00-\x20\x7f\\]")
"""Not in a host: what a proxy is told could end early, or mean another one."""
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%|^`{}]")
"""What may not stand in a request, or not unescaped; the rest every client sends."""


def exact_url(text: str) -> URL:
    """
    Return *text* as a URL of the same characters behind its host.

    Those that no URL may have, blanks among them, are percent-encoded.

    Raises:
        ValueError, TypeError: It is no URL.
    """
    found = _PARTS.fullmatch(text)
    if found is None:
        return URL(text)  # its scheme is refused
    scheme, authority, rest = found.groups()
    if _NO_HOST.search(authority) is not None:
        msg = "its host cannot be read"
        raise ValueError(msg)
    host = URL(f"{scheme.lower()}://{authority}")
    if not rest.startswith("/"):
        rest = f"/{rest}"
    shown = _FOREIGN.sub(_escape, rest)
    return URL(f"{host.scheme}://{host.raw_authority}{shown}", encoded=True)


def moved_url(url: URL, location: str) -> URL:
    """
    Return where *location*, of a redirect, leads from *url*.

    Raises:
        ValueError: Nowhere.
    """
    return exact_url(urljoin(str(url), location))


def _escape(found: re.Match[str]) -> str:
    return quote(found[0].encode(errors="surrogateescape"))
