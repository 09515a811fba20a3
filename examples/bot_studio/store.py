"""
Orders on disk, so that a restart loses none.

An order is written before its first request, and each picture before and after its own:
what was begun and has no answer was cut off, and is never ordered again.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiosqlite
from attrs import asdict, define, field, frozen

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    user TEXT NOT NULL,
    place TEXT NOT NULL,              -- JSON: where to answer
    wish TEXT NOT NULL,               -- JSON
    begun INTEGER NOT NULL DEFAULT 0, -- pictures whose request may have been sent
    parts TEXT NOT NULL DEFAULT '[]'  -- JSON: what became of each, in order
) STRICT
"""


@frozen
class Wish:
    """What a user asked for."""

    prompt: str
    model: str
    aspect_ratio: str | None = None
    count: int = 1


@define
class Order:
    """One wish, where to answer it, and what is known of its pictures."""

    number: int
    user: str
    place: dict[str, Any]
    wish: Wish
    begun: int = 0
    parts: list[dict[str, str]] = field(factory=list[dict[str, str]])
    """``{"task": id}`` or ``{"error": words}`` for each picture that was answered."""


class Store:
    """The open orders; one that was delivered is forgotten."""

    def __init__(self, database: aiosqlite.Connection) -> None:
        self._database = database

    @classmethod
    @asynccontextmanager
    async def open(cls, path: str | os.PathLike[str]) -> AsyncIterator[Store]:
        """Open the file, made if it is new."""
        async with aiosqlite.connect(path, isolation_level=None) as database:
            await database.execute("PRAGMA journal_mode = WAL")
            await database.execute("PRAGMA synchronous = FULL")
            await database.execute(SCHEMA)
            yield cls(database)

    async def begin(self, user: str, place: dict[str, Any], wish: Wish) -> Order:
        """Write down a new order."""
        fields = asdict(wish)
        cursor = await self._database.execute(
            "INSERT INTO orders (user, place, wish) VALUES (?, ?, ?)",
            (user, json.dumps(place), json.dumps(fields)),
        )
        return Order(cursor.lastrowid or 0, user, place, wish)

    async def sending(self, order: Order) -> None:
        """Write down that the next picture is about to be ordered."""
        order.begun += 1
        await self._database.execute(
            "UPDATE orders SET begun = ? WHERE number = ?", (order.begun, order.number)
        )

    async def answered(self, order: Order, **part: str) -> None:
        """Write down what the order of the last picture came to."""
        order.parts.append(part)
        await self._database.execute(
            "UPDATE orders SET parts = ? WHERE number = ?",
            (json.dumps(order.parts), order.number),
        )

    async def moved(self, order: Order, **place: Any) -> None:
        """Write down a place that became known, such as a message to edit."""
        order.place.update(place)
        await self._database.execute(
            "UPDATE orders SET place = ? WHERE number = ?",
            (json.dumps(order.place), order.number),
        )

    async def delivered(self, order: Order) -> None:
        """Forget an order."""
        await self._database.execute(
            "DELETE FROM orders WHERE number = ?", (order.number,)
        )

    async def unfinished(self) -> list[Order]:
        """Return the orders that a restart cut off, oldest first."""
        columns = "number, user, place, wish, begun, parts"
        query = f"SELECT {columns} FROM orders ORDER BY number"  # noqa: S608  constants
        return [
            Order(
                number,
                user,
                json.loads(place),
                Wish(**json.loads(wish)),
                begun,
                json.loads(parts),
            )
            async for number, user, place, wish, begun, parts in (
                await self._database.execute(query)
            )
        ]
