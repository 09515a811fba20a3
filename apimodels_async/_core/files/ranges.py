"""
Taking up a broken transfer where it ended, and only if it is still the same file.

Source: RFC 9110, sections 8.8 (validators), 13.1.5 (If-Range) and 14 (ranges).
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

CLOCK_SKEW_S: Final = 60
"""A file changed less than this before it was sent may change again in that second."""
_STRONG_TAG: Final = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


@frozen
class Origin:
    """What the bytes held so far are the beginning of."""

    url: str
    version: str | None = None
    """For ``If-Range``; None: there is no way to tell whether it is still the same."""
    total: int | None = None
    """Bytes in all, where the server said so."""


def origin_of(url: str, headers: Mapping[str, str]) -> Origin:
    """Return what a 200 with these *headers* is about to send."""
    length = headers.get("Content-Length", "")
    total = int(length) if length.isascii() and length.isdigit() else None
    ranges = headers.get("Accept-Ranges", "").strip().lower() == "bytes"
    return Origin(url, _version(headers) if ranges else None, total)


def _version(headers: Mapping[str, str]) -> str | None:
    # A weak tag promises an equivalent picture, not the same bytes.
    tag = headers.get("ETag")
    if tag is not None:
        return tag if _STRONG_TAG.fullmatch(tag) else None
    changed = headers.get("Last-Modified", "")
    then, now = _date(changed), _date(headers.get("Date", ""))
    if then is None or now is None:
        return None
    return changed if (now - then).total_seconds() >= CLOCK_SKEW_S else None


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def resume_headers(origin: Origin | None, url: str, have: int) -> dict[str, str]:
    """
    Return what to ask for the rest with; empty where only the whole can be had.

    Args:
        have: Bytes held so far.
    """
    if not have or origin is None or origin.version is None or origin.url != url:
        return {}
    return {"Range": f"bytes={have}-", "If-Range": origin.version}


def continues(origin: Origin, headers: Mapping[str, str], have: int) -> bool:
    """
    Return whether a 206 with these *headers* starts at byte *have* of the same file.
    """
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None:
        return False
    first, last, total = map(int, found.groups())
    same = origin.total in {None, total}
    tag = headers.get("ETag")
    if tag is not None and origin.version is not None and origin.version[:1] == '"':
        same = same and tag == origin.version
    return same and first == have <= last < total
