"""
What a row of a SQLite store says, and whether it can be true.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from apimodels_async._api.checks import check_task_id
from apimodels_async._core.money.orders import OrderRecord
from apimodels_async._core.money.records import load_result, read_amount
from apimodels_async._core.money.resume import OrderState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# unixepoch() is of SQLite 3.38, its 'subsec' of 3.42.
NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"
COLUMNS: Final = (
    "attempt, idempotency_key, digest, model, prompt, request, price, state, task_id, "
    "result, error, files, nonce, number, handed_over, intended_at, ended_at, "
    f"EXISTS (SELECT 1 FROM owners WHERE owners.owner = orders.owner "
    f"AND alive_until > {NOW}), {NOW} - intended_at"
)
DAMAGE: Final = (ValueError, TypeError, ArithmeticError, OSError, RecursionError)
"""What reading a row can raise that is damaged, or another program's."""


def read_text(value: bytes) -> str | bytes:
    """Return text; of what is damaged the bytes, which no reader takes for text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def read_row(row: Sequence[Any], put_back: Callable[[str], str] = str) -> OrderRecord:
    """
    Return the record in *row*, of ``COLUMNS``; *put_back* completes texts.

    Raises:
        ValueError: Something else wrote it, or it is damaged.
    """
    texts, rest = row[1:13], row[13:]
    if not all(isinstance(each, str | None) for each in texts):
        msg = "another thing where text belongs"
        raise ValueError(msg)
    key, digest, model, prompt, request, price, state, task_id = texts[:8]
    result, error, files, nonce = texts[8:]
    number, handed_over, intended_at, ended_at, owned, age_s = rest
    word = OrderState(state)
    if word is OrderState.ACCEPTED and not task_id:
        msg = "an order was accepted, and its task is missing"
        raise ValueError(msg)
    if word is OrderState.COMPLETED and result is None:
        msg = "an order completed, and its result is missing"
        raise ValueError(msg)
    found = None if result is None else load_result(put_back(result))
    for named in (task_id, found and found.task_id):
        if named is not None:
            check_task_id(named)  # it would be sent as it is
    return OrderRecord(
        idempotency_key=key,
        attempt=int(row[0]),
        digest=digest,
        model=model,
        prompt=prompt,
        request=put_back(request),
        price=None if price is None else read_amount(price),
        state=word,
        task_id=task_id,
        result=found,
        error=error,
        files=() if files is None else _names(files),
        nonce=nonce,
        number=None if number is None else int(number),
        owned=bool(owned),
        handed_over=bool(handed_over),
        intended_at=datetime.fromtimestamp(intended_at, UTC),
        ended_at=None if ended_at is None else datetime.fromtimestamp(ended_at, UTC),
        age_s=float(age_s),
    )


def _names(text: str) -> tuple[str, ...]:
    found = json.loads(text)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        msg = "a list of files that is none"
        raise ValueError(msg)
    return tuple(found)
