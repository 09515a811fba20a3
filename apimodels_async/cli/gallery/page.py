"""
The gallery: one ``index.html`` over the pictures of a run, for any browser.

The page is complete without its script, which adds the filter and the larger view. It
asks nobody for anything but the pictures beside it.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections import Counter
from decimal import Decimal
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from apimodels_async import ConfigurationError
from apimodels_async.cli.files import replace_file
from apimodels_async.cli.gallery.card import STATES
from apimodels_async.cli.gallery.command import command_of, parameters_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from apimodels_async.cli.gallery.card import Card
    from apimodels_async.models import SavedAt

HEAD_BYTES: Final = 2048
"""Of a page, in which ours says that it is."""
MARK: Final = b'<meta name="generator" content="apimodels-async">'
"""In the head of each page."""
MODELS_MAX: Final = 4
"""In the head of the page."""
MINUTE_S: Final = 60
CENTS_PLACES: Final = 3
"""Decimals of a price; more are shown only where there are more."""


def check_page(index: Path) -> None:
    """
    Refuse to write over somebody else's page. Blocks.

    Raises:
        ConfigurationError: *index* is there, and is none of ours.
    """
    try:
        with index.open("rb") as file:
            ours = MARK in file.read(HEAD_BYTES)
    except OSError:  # not there, or whoever writes it will tell
        return
    if not ours:
        msg = f"{index} is there, and no page of ours: name another folder (--out)"
        raise ConfigurationError(msg)


def write_gallery(
    index: Path, title: str, cards: Sequence[Card], facts: Mapping[str, str]
) -> None:
    """
    Write the page *index* over *cards*; a reader sees the old page or the new one.

    While a card is pending the page loads itself again from time to time. About 600
    bytes a card come on top of its prompt. Blocks: call it in a thread.

    Args:
        index: The file to write; its folder is made if it is missing.

        title: The heading.

        cards: In any order.

        facts: Name -> value, shown in this order below the heading.

    Raises:
        ConfigurationError: The file cannot be written, or is no page of ours; what was
            there is untouched.
    """
    check_page(index)

    def link(file: SavedAt) -> str:
        # Quoted as bytes: a file name need not be text. A colon is quoted as well, else
        # "a:b.png" would be read as the address of a scheme "a".
        return quote(os.fsencode(os.path.relpath(file, index.parent)))

    pieces = render_gallery(title, cards, facts, link)
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        replace_file(index, pieces)
    except OSError as error:
        msg = (
            f"the gallery {index} cannot be written: {error.strerror}; "
            "make room and the folder writable, or choose another folder"
        )
        raise ConfigurationError(msg) from error


def render_gallery(
    title: str,
    cards: Sequence[Card],
    facts: Mapping[str, str],
    link: Callable[[SavedAt], str],
) -> Iterator[bytes]:
    """
    Yield the page, piece by piece.

    Args:
        link: Returns where a picture is as seen from the page, quoted.
    """
    by_number = sorted(cards, key=lambda card: card.number)
    pieces = _template().generate(
        title=title,
        facts=facts,
        cards=[_card_values(card, link) for card in by_number],
        chips=_chips(cards),
        labels=STATES,
        with_ids=any(card.task_id for card in cards),
        mark=Markup(MARK.decode()),  # noqa: S704  ours
        **_assets(),
    )
    for piece in pieces:
        # "replace": a prompt from JSON can hold half of a surrogate pair.
        yield piece.encode(errors="replace")


def models_of(cards: Sequence[Card]) -> str:
    """Return the models of *cards* with how often they occur, the commonest first."""
    counts = Counter(card.model for card in cards).most_common(MODELS_MAX + 1)
    shown = [f"{model} ({count})" for model, count in counts[:MODELS_MAX]]
    if len(counts) == 1:
        return counts[0][0]
    return ", ".join(shown) + (" and more" if len(counts) > MODELS_MAX else "")


def _chips(cards: Sequence[Card]) -> list[tuple[str, str, int]]:
    """Return state, label and count of every state that occurs."""
    counts = Counter(card.state for card in cards)
    return [
        (state, label, counts[state])
        for state, label in STATES.items()
        if counts[state]
    ]


def _card_values(card: Card, link: Callable[[SavedAt], str]) -> dict[str, Any]:
    """
    Return what the template needs of *card*; everything but the link is plain text.
    """
    figures = {
        "time": None if card.time_s is None else _time(card.time_s),
        "cost": None if card.cost is None else _cost(card.cost),
        "seed": None if card.seed is None else f"seed {card.seed}",
    }
    return {
        "number": card.number,
        "prompt": card.prompt,
        "model": card.model,
        "state": card.state,
        "links": [link(file) for file in card.files],
        "task_id": card.task_id,
        "figures": [(kind, text) for kind, text in figures.items() if text],
        "reason": card.error or "",
        "charged": _charged(card),
        "params": parameters_of(card.params or {}),
        "command": None
        if card.params is None
        else command_of(card.prompt, card.model, card.params),
    }


def _charged(card: Card) -> str:
    """Return what a card without a picture says of money."""
    if card.state == "unknown":
        return "May have been charged"
    free = card.state in {"failed", "refused"} and card.cost is None
    return "Not charged" if free else ""


def _time(seconds: float) -> str:
    if round(seconds, 2) < 1:
        return f"{seconds:.2f} s"
    if round(seconds, 1) < MINUTE_S:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), MINUTE_S)
    return f"{minutes} min {rest} s"


def _cost(dollars: Decimal) -> str:
    short = f"{dollars:.{CENTS_PLACES}f}"
    return f"${short}" if Decimal(short) == dollars else f"${dollars.normalize():f}"


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.from_string(_text("page.html.jinja"))


@cache
def _assets() -> dict[str, Markup]:
    """Return style and script, and their hashes for the page's security policy."""
    style, script = _text("page.css"), _text("page.js")
    return {
        "style": Markup(style),  # noqa: S704  ours, not anybody's input
        "script": Markup(script),  # noqa: S704  same
        "style_hash": Markup(_hash(style)),  # noqa: S704  letters, digits, + / =
        "script_hash": Markup(_hash(script)),  # noqa: S704  same
    }


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _text(name: str) -> str:
    return (
        files("apimodels_async.cli.gallery").joinpath(name).read_text(encoding="utf-8")
    )
