"""Orders for stores, and what makes stores."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest
from support.fakes import FakeClock
from support.keyspace import StoreInMemory
from support.redis import ABSENT, FOUND, PROGRAMS, shared_server

from apimodels_async._core.money.orders import ORDERED_ANEW
from apimodels_async.models import ImageResult
from apimodels_async.stores import (
    MemoryStore,
    NewOrder,
    RedisStore,
    SqliteStore,
    read_history,
)

SCOPE = "https://api.example/v1"
PICTURE = ImageResult(
    urls=("https://files.example/a.png",), task_id="t1", credits=Decimal("0.0250")
)


def make_store(kind, folder, **options):
    """Return a store of *kind*, in *folder* if it is a file."""
    if kind == "memory":
        return MemoryStore(**options)
    if kind == "keyspace":
        return StoreInMemory(**options)
    if kind in PROGRAMS:
        if not FOUND:
            pytest.skip(ABSENT)
        make = RedisStore.unchecked if "lease_s" in options else RedisStore
        return make(shared_server(kind).url, name=str(folder), **options)
    return SqliteStore(folder / "orders.sqlite", **options)


def an_order(key="k", *, owner="us", **more):
    """Return an order about to be sent."""
    values = {
        "scope": SCOPE,
        "idempotency_key": key,
        "digest": "1:abc",
        "model": "gpt-image-2",
        "prompt": "a moose",
        "request": '{"prompt": "a moose"}',
        "price": Decimal("0.02"),
        "owner": owner,
        "nonce": None,
    }
    return NewOrder(**(values | more))


async def begin(store, key="k", **more):
    """Claim an order, as a session does."""
    return await store.begin(an_order(key, **more), ORDERED_ANEW)


async def begun(store, key="k", **more):
    """Claim an order that must be granted; return the number of its attempt."""
    claim = await begin(store, key, **more)
    assert claim.granted
    return claim.record.attempt


def execute(store, sql, *values):
    """Do to the file of a store what another program could."""
    with closing(sqlite3.connect(store.path, isolation_level=None)) as connection:
        return connection.execute(sql, values).fetchall()


@pytest.fixture
async def memory_store():
    """Return a store whose time is the loop's."""
    return MemoryStore(clock=FakeClock().utcnow)


async def read_orders(emulator):
    """Return the orders that a command's store has of an API, newest first."""
    store = SqliteStore("orders.sqlite")
    found = read_history(store, base_url=emulator.base_url)
    return [record async for record in found]
