"""
The rows of a SQLite store, as fields of records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def fields_in(row: Sequence[Any]) -> dict[str, Any]:
    """Return the fields of a record in *row*, which has ``COLUMNS``."""
    return dict(zip((*NAMES, "owned", "age_s"), row, strict=True))
