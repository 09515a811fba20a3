"""
The pictures of a batch as one static page.
"""

from __future__ import annotations

import html
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@frozen(kw_only=True)
class Card:
    """
    One picture, or why there is none.
    """

    number: int
    prompt: str
    model: str
    state: str
    file: Path | None = None
    seed: int | None = None
    time_s: float | None = None
    cost: Decimal | None = None
    task_id: str | None = None
    error: str | None = None


def write_gallery(
    index: Path, title: str, cards: Sequence[Card], facts: Mapping[str, str]
) -> None:
    """
    Write the page, whole or not at all. Blocking.
    """
    lines = [f"<title>{html.escape(title)}</title>"]
    lines += [f"<p>{html.escape(f'{k}: {v}')}</p>" for k, v in facts.items()]
    for card in cards:
        text = html.escape(f"{card.number} {card.state} {card.prompt}")
        name = html.escape(f"pictures/{card.file.name}" if card.file else "")
        lines.append(f'<p>{text} <img src="{name}" loading="lazy"></p>')
    part = index.with_name(f".{index.name}.part")
    part.write_text("\n".join(lines), encoding="utf-8")
    part.replace(index)
