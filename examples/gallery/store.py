"""
The gallery's memory: one SQLite file, written before anything is done.

Rules:
1. ``sent`` is on the disk before the paid request leaves.
2. The token is on the disk as soon as the API has accepted.
3. Every change has a version of its own, so "what is new since 41" is a query.
"""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiosqlite
from attrs import asdict

from apimodels_async import ConfigurationError
from gallery.cards import UNCHARGED, Card, Stage
from gallery.feed import Feed
from gallery.words import Trouble

SCHEMA = """
CREATE TABLE IF NOT EXISTS cards (
    id INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL UNIQUE,
    batch INTEGER NOT NULL, stage TEXT NOT NULL, prompt TEXT NOT NULL,
    model TEXT NOT NULL, aspect_ratio TEXT NOT NULL, created_at TEXT NOT NULL,
    price INTEGER, token TEXT, task_id TEXT, url TEXT, file TEXT, seconds REAL,
    title TEXT NOT NULL DEFAULT '', reason TEXT NOT NULL DEFAULT '',
    advice TEXT NOT NULL DEFAULT ''
) STRICT
"""
MARKS = "(?, ?, ?, ?, ?, ?, ?)"
# One statement: no other change can take these versions between the look and the use.
INSERT = """
INSERT INTO cards
    (version, batch, stage, prompt, model, aspect_ratio, created_at, price)
SELECT newest.version + column1, newest.version + 1,
    column2, column3, column4, column5, column6, column7
FROM (SELECT coalesce(max(version), 0) AS version FROM cards) AS newest, (VALUES {rows})
ORDER BY column1 RETURNING id
"""
NEXT = "(SELECT coalesce(max(version), 0) + 1 FROM cards)"


class Store:
    """All cards, past and present; made by :func:`opened`."""

    def __init__(self, rows: aiosqlite.Connection, feed: Feed) -> None:
        self._rows = rows
        self._feed = feed

    async def add(
        self, orders: Sequence[tuple[str, int | None]], model: str, ratio: str
    ) -> list[int]:
        """
        Add a waiting card for each prompt and price; return their ids in order.

        The first gets the highest id: newest first is then also the order asked for.
        """
        now = datetime.now(UTC).isoformat()
        rows = [
            (place, Stage.WAITING, prompt, model, ratio, now, price)
            for place, (prompt, price) in enumerate(reversed(orders), 1)
        ]
        added = await self._rows.execute_fetchall(
            INSERT.format(rows=", ".join([MARKS] * len(rows))),
            [value for row in rows for value in row],
        )
        self._feed.tell()
        return sorted((row[0] for row in added), reverse=True)

    async def change(
        self, card_id: int, *, only: Sequence[Stage] | None = None, **values: Any
    ) -> bool:
        """
        Change a card, if it is at one of the stages *only*; return whether it was.
        """
        names = ", ".join(f"{name} = ?" for name in values)
        stages = tuple(only or Stage)
        marks = ", ".join("?" * len(stages))
        cursor = await self._rows.execute(
            f"UPDATE cards SET {names}, version = {NEXT} "  # noqa: S608  our own names
            f"WHERE id = ? AND stage IN ({marks})",
            (*values.values(), card_id, *stages),
        )
        if changed := cursor.rowcount == 1:
            self._feed.tell()
        return changed

    async def end(self, card_id: int, trouble: Trouble, **more: Any) -> bool:
        """Leave a card where *trouble* put it; *more* as for :meth:`change`."""
        return await self.change(card_id, **asdict(trouble), **more)

    async def card(self, card_id: int) -> Card | None:
        """Return one card, if there is one of that id."""
        found = await self._cards("WHERE id = ?", card_id)
        return found[0] if found else None

    async def page(self, before: int | None, count: int) -> list[Card]:
        """Return the newest *count* cards, or those older than card *before*."""
        if before is None:
            return await self._cards("ORDER BY id DESC LIMIT ?", count)
        return await self._cards("WHERE id < ? ORDER BY id DESC LIMIT ?", before, count)

    async def since(self, version: int) -> list[Card]:
        """Return what changed after *version*, oldest change first."""
        return await self._cards("WHERE version > ? ORDER BY version", version)

    async def at(self, *stages: Stage) -> list[Card]:
        """Return the cards at these stages, oldest first."""
        marks = ", ".join("?" * len(stages))
        return await self._cards(f"WHERE stage IN ({marks}) ORDER BY id", *stages)

    async def counts(self) -> dict[Stage, int]:
        """Return how many cards are at each stage; stages without any are left out."""
        rows = await self._rows.execute_fetchall(
            "SELECT stage, count(*) FROM cards GROUP BY stage"
        )
        return {Stage(stage): count for stage, count in rows}

    async def committed(self) -> int:
        """Return what is spent or may yet be, in millionths of a dollar."""
        free = (*UNCHARGED, Stage.WAITING)
        marks = ", ".join("?" * len(free))
        never = f"stage IN ({marks}) OR (stage = ? AND token IS NULL AND url IS NULL)"
        rows = await self._rows.execute_fetchall(
            f"SELECT coalesce(sum(price), 0) FROM cards WHERE NOT ({never})",  # noqa: S608
            (*free, Stage.STOPPED),
        )
        return int(next(iter(rows))[0])

    async def version(self) -> int:
        """Return the newest version; 0 while there are no cards."""
        rows = await self._rows.execute_fetchall("SELECT max(version) FROM cards")
        return next(iter(rows))[0] or 0

    async def _cards(self, clause: str, *values: Any) -> list[Card]:
        rows = await self._rows.execute_fetchall(
            f"SELECT * FROM cards {clause}",  # noqa: S608  the clauses above
            values,
        )
        return [_card(row) for row in rows]


def _card(row: sqlite3.Row) -> Card:
    known = dict(row)
    known["stage"] = Stage(known["stage"])
    known["created_at"] = datetime.fromisoformat(known["created_at"])
    return Card(**known)


@asynccontextmanager
async def opened(folder: Path, feed: Feed) -> AsyncIterator[Store]:
    """
    Open the store in *folder* for the body; nobody else may have it open.

    Raises:
        ConfigurationError: Another process has it: two would follow the same tasks.
    """
    path = folder / "gallery.sqlite"
    async with aiosqlite.connect(path, timeout=1, isolation_level=None) as rows:
        rows.row_factory = sqlite3.Row
        try:
            # The lock goes with the process, also when that is killed.
            await rows.execute("PRAGMA locking_mode = EXCLUSIVE")
            await rows.execute("PRAGMA journal_mode = WAL")
            await rows.execute("PRAGMA synchronous = FULL")
            await rows.execute(SCHEMA)
        except sqlite3.OperationalError as error:
            msg = (
                f"{path} cannot be used ({error}): run one gallery with one worker for "
                "a folder; GALLERY_DIR names another one"
            )
            raise ConfigurationError(msg) from error
        yield Store(rows, feed)
