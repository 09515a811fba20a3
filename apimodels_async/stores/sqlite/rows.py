"""
The rows of a SQLite store, as records.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from apimodels_async.errors import JournalError
from apimodels_async.stores.records import DAMAGE, load_record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async.stores.sqlite.pictures import PictureFolder

logger: logging.Logger = logging.getLogger("apimodels_async.stores")

# unixepoch() is of SQLite 3.38, its 'subsec' of 3.42.
NOW: Final = "((julianday('now') - 2440587.5) * 86400.0)"
NAMES: Final = (
    *("attempt", "idempotency_key", "digest", "model", "prompt", "request", "price"),
    *("state", "task_id", "result", "error", "files", "nonce", "number"),
    *("handed_over", "intended_at", "ended_at"),
)
COLUMNS: Final = (
    f"{', '.join(NAMES)}, EXISTS (SELECT 1 FROM owners "
    f"WHERE owners.owner = orders.owner AND alive_until > {NOW}), {NOW} - intended_at"
)


@define(eq=False)
class Rows:
    """What the rows of one store say, which have ``COLUMNS``."""

    path: Path
    """The store's, for words about it."""
    pictures: PictureFolder
    damaged: set[int] = field(init=False, factory=set)
    """Attempts that the log has named."""

    async def read_whole(self, row: Sequence[Any]) -> OrderRecord:
        """
        Return the record in *row* with its pictures.

        Raises:
            JournalError: It is damaged.
        """
        if any(isinstance(each, str) and ";sha256," in each for each in row):
            return await asyncio.to_thread(self.read, row)  # it reads files
        return self.read(row)

    def read(self, row: Sequence[Any], *, whole: bool = True) -> OrderRecord:
        """Do the same, blocking; or leave the names of pictures in their places."""
        try:
            return load_record(_fields(row), self.pictures.put_back if whole else str)
        except DAMAGE as error:
            msg = f"the store {self.path} is damaged: {error}"
            raise JournalError(msg) from None

    def readable(self, row: Sequence[Any]) -> bool:
        """Return whether *row* can be read; one that cannot hides no other."""
        try:
            load_record(_fields(row))
        except DAMAGE as error:
            if row[0] not in self.damaged:
                self.damaged.add(row[0])
                msg = "order %s (%r) in the store %s is damaged and left out: %s"
                logger.error(msg, row[0], row[1], self.path, error)  # noqa: TRY400
            return False
        return True


def _fields(row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip((*NAMES, "owned", "age_s"), row, strict=True))
