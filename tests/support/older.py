"""Journals as earlier releases left them: versions 1 and 2."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from contextlib import closing
from decimal import Decimal

from apimodels_async._api.requests import encode, model_of, read_request
from apimodels_async._core.money.records import dump_result
from apimodels_async.models import ImageResult

COLUMNS = (
    "key TEXT PRIMARY KEY, number INTEGER NOT NULL, model TEXT NOT NULL, "
    "request TEXT NOT NULL, price TEXT NOT NULL, state TEXT NOT NULL, task_id TEXT, "
    "cost TEXT, result TEXT, file TEXT, error TEXT, intended_at TEXT NOT NULL, "
    "ended_at TEXT"
)
TABLES = {
    1: f"CREATE TABLE items ({COLUMNS})",
    2: f"CREATE TABLE items ({COLUMNS}, nonce TEXT)",
}


def old_key(path, body, place=1):
    """Return the key of a request in those journals: of its bytes, and its place."""
    digest = hashlib.sha256(path.encode() + b"\0" + body.encode()).digest()[:16]
    return f"{digest.hex()}-{place}"


def old_items(items):
    """
    Yield the rows, as mappings, of *items* in the order of their source.

    Each is what was ordered (what a batch takes, or path, model and body) and columns.
    """
    places = Counter()
    for number, (order, columns) in enumerate(items):
        if isinstance(order, tuple):
            path, model, body = order
        else:
            request = read_request(order)
            encoded = encode(request)
            path, model, body = encoded.path, model_of(request), encoded.body.decode()
        places[path, body] += 1
        yield {
            "key": old_key(path, body, places[path, body]),
            "number": number,
            "model": model,
            "request": body,
            "price": "0.01",
            "intended_at": "2026-11-28T10:20:30.456Z",
            **columns,
        }


def write_items(connection, items, version=2):
    """Make the table of *version*, with *items* in it."""
    connection.execute(TABLES[version])
    for row in old_items(items):
        names = ", ".join(row)
        marks = ", ".join("?" * len(row))
        sql = f"INSERT INTO items ({names}) VALUES ({marks})"  # noqa: S608
        connection.execute(sql, (*row.values(),))
    connection.execute(f"PRAGMA user_version = {version}")


def write_journal(path, items, version=2):
    """Write the journal at *path*, closed, as a release of *version* left it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        write_items(connection, items, version)
        connection.commit()


def completed(name, **more):
    """Return the columns of an item that completed, with a picture of that name."""
    result = ImageResult(
        urls=(f"https://files.example/{name}.png",), credits=Decimal("0.0200")
    )
    columns = {"state": "completed", "cost": "0.0200", "result": dump_result(result)}
    return columns | {"ended_at": "2026-11-28T10:21:30.000Z"} | more


def version_of(path):
    """Return the version of a journal."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def names(outcomes):
    """Return what the pictures of outcomes are called, or which errors there are."""
    return [
        type(outcome.error)
        if outcome.result is None
        else outcome.result.url.rpartition("/")[2].partition(".")[0]
        for _, outcome in sorted(outcomes.items())
    ]
