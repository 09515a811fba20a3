"""
What a store kept of an order, as a record; and whether it can be true.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from apimodels_async._api.checks import check_task_id
from apimodels_async._core.money.orders import ORDERED_ANEW, OrderRecord
from apimodels_async._core.money.records import load_result, read_amount
from apimodels_async._core.money.resume import OrderState
from apimodels_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

logger: logging.Logger = logging.getLogger("apimodels_async.stores")

DAMAGE: Final = (
    *(ValueError, TypeError, ArithmeticError, LookupError, OSError),
    RecursionError,
)
"""What reading an order can raise that is damaged, or another program's."""
TEXTS: Final = (
    *("idempotency_key", "digest", "model", "prompt", "request", "price", "state"),
    *("task_id", "result", "error", "files", "nonce"),
)


def sum_money(
    rows: Iterable[Sequence[str | None]],
) -> tuple[Decimal, Decimal]:
    """Return US dollars spent and reserved, of rows of state, price and cost."""
    spent = reserved = Decimal(0)
    for state, price, cost in rows:
        if state == OrderState.COMPLETED:
            spent += read_amount(cost or price or "0")
        elif state not in ORDERED_ANEW:
            reserved += read_amount(price or "0")
    return spent, reserved


def read_text(value: bytes) -> str | bytes:
    """Return text; of what is damaged the bytes, which no reader takes for text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def load_record(
    fields: Mapping[str, Any], put_back: Callable[[str], str] = str
) -> OrderRecord:
    """
    Return the record in *fields*, by their names in the store.

    Args:
        fields: Texts, or None for those that are not there; times in seconds since
            1970.

        put_back: Completes the texts of request and result.

    Raises:
        ValueError: Something else wrote it, or it is damaged; or another of ``DAMAGE``.
    """
    texts = {name: fields.get(name) for name in TEXTS}
    if not all(isinstance(each, str | None) for each in texts.values()):
        msg = "another thing where text belongs"
        raise ValueError(msg)
    state, task_id, result = OrderState(fields["state"]), texts["task_id"], None
    if state is OrderState.ACCEPTED and not task_id:
        msg = "an order was accepted, and its task is missing"
        raise ValueError(msg)
    if texts["result"] is not None:
        result = load_result(put_back(texts["result"]))
    elif state is OrderState.COMPLETED:
        msg = "an order completed, and its result is missing"
        raise ValueError(msg)
    for named in (task_id, result and result.task_id):
        if named is not None:
            check_task_id(named)  # it would be sent as it is
    price, number, ended_at = (fields.get(k) for k in ("price", "number", "ended_at"))
    return OrderRecord(
        idempotency_key=fields["idempotency_key"],
        attempt=int(fields["attempt"]),
        digest=fields["digest"],
        model=fields["model"],
        prompt=texts["prompt"],
        request=put_back(fields["request"]),
        price=None if price is None else read_amount(price),
        state=state,
        task_id=task_id,
        result=result,
        error=texts["error"],
        files=() if texts["files"] is None else _names(texts["files"]),
        nonce=texts["nonce"],
        number=None if number is None else int(number),
        owned=bool(fields["owned"]),
        handed_over=bool(fields["handed_over"]),
        intended_at=_time(fields["intended_at"]),
        ended_at=None if ended_at is None else _time(ended_at),
        age_s=float(fields["age_s"]),
    )


def _time(seconds: str | float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


def _names(text: str) -> tuple[str, ...]:
    found = json.loads(text)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        msg = "a list of files that is none"
        raise ValueError(msg)
    return tuple(found)


@define(eq=False)
class Records:
    """Reads the records of one store."""

    store: str
    """Which one, in words."""
    damaged: set[int] = field(init=False, factory=set)
    """Attempts that the log has named."""

    def read(
        self, fields: Mapping[str, Any], put_back: Callable[[str], str] = str
    ) -> OrderRecord:
        """
        Return a record, as ``load_record``.

        Raises:
            JournalError: It is damaged.
        """
        try:
            return load_record(fields, put_back)
        except DAMAGE as error:
            msg = f"{self.store} is damaged: {error}"
            raise JournalError(msg) from None

    def read_if_whole(self, fields: Mapping[str, Any]) -> OrderRecord | None:
        """Do the same; None: it is damaged, which hides no other in a list."""
        try:
            return load_record(fields)
        except DAMAGE as error:
            attempt = int(fields["attempt"])
            if attempt not in self.damaged:
                self.damaged.add(attempt)
                msg = "order %s (%r) in %s is damaged and left out: %s"
                facts = attempt, fields.get("idempotency_key"), self.store, error
                logger.error(msg, *facts)  # noqa: TRY400
            return None
