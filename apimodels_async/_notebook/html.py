"""
What a notebook shows: HTML without a script, in which every text is escaped.

Rules of this file:
1. What the API said is text, never markup, and cannot steer a terminal either.
2. A picture is shown by its address, if that is https, or http on this machine.
   Nothing else becomes an address of the page: no ``javascript:``, and no ``data:`` but
   that of a small copy made here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
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


class Figure(NamedTuple):
    """A picture of a grid, or why there is none."""

    url: str | None
    """``data:``, made by us."""
    size: tuple[int, int]
    """Pixels."""
    alt: str
    caption: str
    trouble: str


def grid(figures: Sequence[Figure], side: int, more: int = 0) -> str:
    """
    Return HTML of small pictures beside and below each other, each *side* pixels wide.

    Args:
        more: How many there are besides.
    """
    shown = "".join(_figure(each, side) for each in figures)
    tail = f"<p>and {more} more</p>" if more else ""
    return (
        '<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:flex-start">'
        f"{shown}</div>{tail}"
    )


def _figure(figure: Figure, side: int) -> str:
    width, height = figure.size
    picture = (
        f'<img src="{figure.url}" alt="{_text(figure.alt)}" width="{width}" '
        f'height="{height}" style="max-width:100%;height:auto">'
        if figure.url
        else '<div style="padding:1em;border:1px solid;overflow-wrap:anywhere">'
        f"{_text(figure.trouble)}</div>"
    )
    return (
        f'<figure style="margin:0;width:{side}px;max-width:100%">{picture}'
        '<figcaption style="font-size:85%;overflow-wrap:anywhere">'
        f"{_text(figure.caption)}</figcaption></figure>"
    )


def result_card(result: Any) -> str:
    """Return HTML of an ``ImageResult``."""
    return card(_result_facts(result), result.urls, alt_of(result))


def alt_of(result: Any) -> str:
    """Return what stands for a picture of *result* where it is not seen."""
    return f"picture by {result.model or 'an unnamed model'}"


def outcome_card(outcome: Any) -> str:
    """Return HTML of an ``Outcome``: what was asked for, and what became of it."""
    request, result, error = outcome.request, outcome.result, outcome.error
    prompt = None if request is None else request.prompt
    facts: dict[str, object] = {
        "number": outcome.index,
        "prompt": prompt,
        "model": getattr(request, "model", None),
    }
    if result is not None:
        known = _result_facts(result).items()
        facts |= {name: value for name, value in known if value is not None}
    facts["saved"] = ", ".join(map(str, outcome.paths)) or None
    if error is not None:
        facts |= {
            "task": error.task_id or facts.get("task"),
            "error": trouble_of(error),
        }
    return card(facts, () if result is None else result.urls, prompt or "picture")


def trouble_of(error: Any) -> str:
    """Return what went wrong, and whether it was charged."""
    charged = {True: "charged", False: "not charged"}.get(
        error.charged, "may have been charged"
    )
    return f"{type(error).__name__}: {error} ({charged})"


def _result_facts(result: Any) -> dict[str, object]:
    return {
        "model": result.model,
        "task": result.task_id,
        "credits": result.credits,
        "made in": seconds(result.duration_s),
        "kept until": moment(result.expires_at),
    }


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
