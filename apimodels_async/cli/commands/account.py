"""``apimodels balance`` and ``apimodels models``: free questions about the account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from attrs import asdict
from cyclopts import Parameter

from apimodels_async import InvalidRequestError, known_models
from apimodels_async._api.catalogue import find_model, near_models
from apimodels_async._api.parameters import describe
from apimodels_async._api.spelling import did_you_mean
from apimodels_async.cli.completion import complete_model
from apimodels_async.cli.context import command_context, open_session
from apimodels_async.cli.options import Common
from apimodels_async.cli.output import Output, spinner
from apimodels_async.cli.terminal.tables import Column, Rows

if TYPE_CHECKING:
    from apimodels_async import KnownModel

COLUMNS: Final = (Column("model"), Column("modality"), Column("price hint"))

ModelToShow = Annotated[
    str | None, Parameter(completer=complete_model, show_default=False)
]


async def balance(*, common: Common = Common()) -> None:
    """Show what the account has left; free."""
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


async def models(model: ModelToShow = None, *, common: Common = Common()) -> None:
    """
    List the models the API has now, with price hints; free.

    Prices are hints, read from the vendor's pages on the day that is shown: the API
    decides what it charges.

    Args:
        model: Show what is known of this one instead: its parameters, with the values
            they take, its prices and its input images. Needs no key and no network.
    """
    output = Output(common.json)
    if model is not None:
        _show_model(output, model)
        return
    async with command_context(open_session(common), output) as context:
        with spinner(output, "asking"):
            listed = await context.session.models()
    rows = [(info, info.known) for info in listed]
    table = Rows(output, COLUMNS)
    for info, hint in rows:
        table.add(info.id, info.modality or "-", _price(hint))
        output.record(
            "model",
            id=info.id,
            modality=info.modality,
            endpoint=info.endpoint,
            prices=dict(hint.prices) if hint else None,
            prices_read_on=hint.read_on if hint else None,
        )
    table.close()
    if output.failed:  # as others do: no word to a reader who left
        return
    dates = ", ".join(price_dates())
    output.note(
        f"{len(rows)} models. Prices are hints, US dollars an image, read on {dates}; "
        "the API decides what it charges."
    )


def _show_model(output: Output, model: str) -> None:
    known = find_model(model)
    if known is None:
        near = near_models(model)
        hint = f": {did_you_mean(near)}" if near else "; see: apimodels models"
        msg = f"model {model!r} is not known{hint}"
        raise InvalidRequestError(msg, parameter="model")
    output.facts(model=known.id, prices=_prices(known), images=_images(known))
    width = max(len(name) for name in known.params)
    for name, spec in known.params.items():
        output.line(f"  {name:<{width}}  {describe(spec)} ({spec.source})")
    output.record(
        "model",
        id=known.id,
        prices=dict(known.prices),
        prices_read_on=known.read_on,
        image_price=known.image_price,
        image_field=known.image_field,
        images_min=known.images_min,
        images_max=known.images_max,
        parameters=[asdict(spec) for spec in known.params.values()],
    )
    output.note(
        f"Read on {known.read_on} and never complete; prices are hints. The API "
        "decides what it takes and what it charges."
    )


def _prices(known: KnownModel) -> str:
    if not known.prices:
        return "not published"
    tiers = (f"{tier} ${usd}".lstrip() for tier, usd in known.prices.items())
    more = f"; ${known.image_price} for each input image" if known.image_price else ""
    return f"{', '.join(tiers)} a picture{more}"


def _images(known: KnownModel) -> str:
    if known.image_field is None:
        return "takes none"
    least = f", at least {known.images_min}" if known.images_min else ""
    most = f", at most {known.images_max}" if known.images_max is not None else ""
    return f"{known.image_field}{least}{most}"


def price_dates() -> list[str]:
    """Return the days on which the published prices were read, the earliest first."""
    return sorted({str(known.read_on) for known in known_models().values()})


def _price(hint: KnownModel | None) -> str:
    if hint is None or not hint.prices:
        return "-"
    low, high = min(hint.prices.values()), max(hint.prices.values())
    return f"${low}" if low == high else f"${low} to ${high}"
