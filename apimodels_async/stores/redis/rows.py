"""
What the script takes and answers, as words and as fields of records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apimodels_async.stores.records import read_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from apimodels_async._core.money.orders import NewOrder
    from apimodels_async._core.money.resume import OrderState


def words_of(states: Collection[OrderState]) -> str:
    """Return *states* as the script looks for one among them."""
    return f" {' '.join(each.value for each in states)} "


def flat(fields: Mapping[str, str | None]) -> list[str]:
    """Return names and values in turn, without those that are not known."""
    return [each for pair in fields.items() if pair[1] is not None for each in pair]  # type: ignore[misc]


def fields_of(order: NewOrder, request: str) -> list[str]:
    """Return what is kept of *order*; its *request* has names in place of pictures."""
    return flat(
        {
            "scope": order.scope,
            "idempotency_key": order.idempotency_key,
            "digest": order.digest,
            "model": order.model,
            "prompt": order.prompt,
            "request": request,
            "price": None if order.price is None else str(order.price),
            "owner": order.owner,
            "nonce": order.nonce,
            "number": None if order.number is None else str(order.number),
        }
    )


def read_fields(row: Sequence[bytes]) -> dict[str, Any]:
    """Return the fields of an attempt that the script answered."""
    names, values = row[::2], map(read_text, row[1::2])
    fields = dict(zip((each.decode() for each in names), values, strict=True))
    flags = {name: fields.get(name) == "1" for name in ("owned", "handed_over")}
    return {**fields, **flags}
