"""Every store passes one suite."""

from __future__ import annotations

import pytest
from support.orders import make_store
from support.redis import SERVERS


@pytest.fixture(params=["memory", "sqlite", "keyspace", *SERVERS])
async def store(request, tmp_path):
    """Return an open store of each kind."""
    store = make_store(request.param, tmp_path)
    await store.open()
    yield store
    await store.aclose()


@pytest.fixture
async def sqlite_store(tmp_path):
    """Return an open store in a file."""
    store = make_store("sqlite", tmp_path)
    await store.open()
    yield store
    await store.aclose()
