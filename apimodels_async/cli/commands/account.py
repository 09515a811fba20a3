"""``apimodels balance`` and ``apimodels models``: free questions about the account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from apimodels_async import known_models
from apimodels_async._api.catalogue import find_model
from apimodels_async._text import escaped
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.options import Common
from apimodels_async.cli.output import Output, spinner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apimodels_async import KnownModel, ModelInfo


async def balance(*, common: Common | None = None) -> None:
    """Show what the account has left; free."""
    common = common or Common()
    output = Output(common.json)
    async with command_context(open_session(common), output) as context:
        with spinner(output, "asking"):
            held = await context.session.balance()
        output.facts(
            balance=f"{held.balance} {held.currency}",
            total=held.total,
            frozen=held.frozen,
        )
        output.record(
            "balance",
            balance=held.balance,
            total=held.total,
            frozen=held.frozen,
            currency=held.currency,
        )


async def models(*, common: Common | None = None) -> None:
    """
    List the models the API has now, with price hints; free.

    Prices are hints, read from the vendor's pages on the day that is shown: the API
    decides what it charges.
    """
    common = common or Common()
    output = Output(common.json)
    async with command_context(open_session(common), output) as context:
        with spinner(output, "asking"):
            listed = await context.session.models()
    rows = [(info, find_model(info.id)) for info in listed]
    if output.interactive:
        output.show(_table(rows))
    for info, hint in rows:
        if not output.interactive:
            output.line(f"{info.id:<34}{info.modality or '-':<8}{_price(hint)}")
        output.record(
            "model",
            id=info.id,
            modality=info.modality,
            endpoint=info.endpoint,
            prices=dict(hint.prices) if hint else None,
            prices_read_on=hint.read_on if hint else None,
        )
    if output.failed:  # as others do: no word to a reader who left
        return
    dates = ", ".join(price_dates())
    output.note(
        f"{len(rows)} models. Prices are hints, US dollars an image, read on {dates}; "
        "the API decides what it charges."
    )


def price_dates() -> list[str]:
    """Return the days on which the published prices were read, the earliest first."""
    return sorted({str(known.read_on) for known in known_models().values()})


def _price(hint: KnownModel | None) -> str:
    if hint is None or not hint.prices:
        return "-"
    low, high = min(hint.prices.values()), max(hint.prices.values())
    return f"${low}" if low == high else f"${low} to ${high}"


def _table(rows: Sequence[tuple[ModelInfo, KnownModel | None]]) -> Table:
    table = Table(box=None, header_style="bold")
    for title in ("model", "modality", "price hint"):
        table.add_column(title)
    for info, hint in rows:
        cells = (info.id, info.modality or "-", _price(hint))
        table.add_row(*(Text(escaped(cell)) for cell in cells))
    return table
