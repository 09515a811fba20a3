"""
What a notebook shows: HTML without a script, in which every text is escaped.

Rules of this file:
1. What the API said is text, never markup, and cannot steer a terminal either.
2. A picture is shown by its address, if that is https, or http on this machine.
   Nothing else becomes an address of the page: no ``javascript:``, no ``data:``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from apimodels_async._text import escaped, is_loopback

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

PICTURES_MAX: Final = 4
CHARS_MAX: Final = 500  # of one fact; a prompt may be a page
_HTTP_CHARS_MAX: Final = 8000  # longer is no address that browsers and servers take


def bundle(
    plain: str,
    html: str,
    include: Collection[str] | None,
    exclude: Collection[str] | None,
) -> dict[str, str]:
    """Return the two forms by MIME type, those wanted of them."""
    forms = {"text/plain": escaped(plain, "\n"), "text/html": html}
    return {
        kind: form
        for kind, form in forms.items()
        if (not include or kind in include) and kind not in (exclude or ())
    }


def card(facts: Mapping[str, object], urls: Sequence[str] = (), alt: str = "") -> str:
    """
    Return HTML of *facts*, those that are None left out, below the pictures at *urls*.

    Args:
        alt: What to read where a picture cannot be seen.
    """
    pictures = "".join(_picture(url, alt) for url in urls[:PICTURES_MAX])
    if len(urls) > PICTURES_MAX:
        pictures += f"<p>and {len(urls) - PICTURES_MAX} more</p>"
    rows = "".join(
        f'<tr><th style="text-align:left">{_text(name)}</th>'
        f'<td style="text-align:left">{_text(value)}</td></tr>'
        for name, value in facts.items()
        if value is not None
    )
    return f"<div>{pictures}<table>{rows}</table></div>"


def moment(at: datetime | None) -> str | None:
    """Return a UTC time for people, to the minute."""
    return None if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def seconds(duration_s: float | None) -> str | None:
    """Return a duration for people."""
    return None if duration_s is None else f"{duration_s:.1f} s"


def is_showable(url: str) -> bool:
    """Return whether a page may load *url* as a picture."""
    if not url.isprintable() or not url.isascii() or len(url) > _HTTP_CHARS_MAX:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if not parts.hostname or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (
        parts.scheme == "http" and is_loopback(parts.hostname)
    )


def _picture(url: str, alt: str) -> str:
    if url.startswith("data:"):
        return "<p>The picture came with the answer: session.download() saves it.</p>"
    if not is_showable(url):
        return f"<p>Not shown, its address is not https: <code>{_text(url)}</code></p>"
    # The address is the key to the picture: it is not passed on as a referrer.
    from html import escape  # a thousand entities, and few look at pictures

    address, safe = escape(url), 'rel="noopener noreferrer" target="_blank"'
    return (
        f'<a href="{address}" {safe}><img src="{address}" alt="{_text(alt)}" '
        'loading="lazy" referrerpolicy="no-referrer" '
        'style="max-width:100%;max-height:24em"></a>'
    )


def _text(value: object) -> str:
    text = str(value)
    if len(text) > CHARS_MAX:
        text = text[: CHARS_MAX - 1] + "…"
    from html import escape

    return escape(escaped(text, "\n"))
