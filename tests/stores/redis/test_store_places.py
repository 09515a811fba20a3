"""Addresses of servers, what is not installed, and loops and processes of a store."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.cases import check_all
from support.orders import SCOPE, begin, begun
from support.redis import SAFE

from apimodels_async import (
    ConfigurationError,
    InvalidRequestError,
    JournalError,
    Session,
)
from apimodels_async.stores import RedisStore, SqliteStore
from apimodels_async.stores.places import store_at

WITHOUT = """
import sys
sys.modules["redis"] = None
from apimodels_async import ConfigurationError, Session
from apimodels_async.stores import RedisStore, SqliteStore
try:
    Session("key", store="redis://localhost")
except ConfigurationError as error:
    print(error)
"""
FORKED = """
import asyncio, os, sys
from apimodels_async.stores import RedisStore
from support.orders import SCOPE, begin

store = RedisStore(sys.argv[1])

async def parent():
    await store.open()
    assert (await begin(store, "parent")).granted
    pid = os.fork()
    if not pid:
        code = 1
        try:
            threads = []
            import threading
            def work():
                asyncio.run(child())
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            code = 0 if done else 1
        finally:
            os._exit(code)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert (await store.find(SCOPE, "child")) is not None
    await store.aclose()

done = []

async def child():
    await store.open()
    assert not (await begin(store, "parent")).granted
    assert (await begin(store, "child")).granted
    await store.aclose()
    done.append(True)

asyncio.run(parent())
print("both")
"""


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://example.net:6379/3", "redis://example.net:6379/3"),
        ("rediss://me:hush@example.net", "rediss://example.net"),
        ("valkey://:hush@[::1]:7000/0", "valkey://[::1]:7000/0"),
        ("valkeys://me:hu%40sh@example.net/0?x=hush", "valkeys://example.net/0"),
        ("unix://me:hush@/run/redis.sock?db=2", "unix:///run/redis.sock"),
        ("Redis://:hush@example.net/0", "redis://example.net/0"),
        (" VALKEYS://:hush@example.net/0\n", "valkeys://example.net/0"),
    ],
)
def test_an_address_makes_a_store_that_hides_its_password(url, address):
    """A session, and the command line, take it where a file's name would be."""
    store = store_at(url)

    assert isinstance(store, RedisStore)
    assert store.address == address
    assert address in repr(store)
    assert "hush" not in repr(store)
    assert "hush" not in repr(Session("key", store=store))


def test_what_begins_like_an_address_is_never_a_path(tmp_path, monkeypatch):
    """Misspelt, or folded by a path, it is refused: two machines had two stores."""
    monkeypatch.chdir(tmp_path)
    misspelt = (
        *("redis:/:hush@h", "REDISS//:hush@h", " valkey:hush@h", "redis ://:hush@h"),
        *("Unix:/hush", "redi://:hush@h", Path("redis://:hush@h/0")),
    )

    def refused(place):
        with pytest.raises(ConfigurationError, match="write redis://") as caught:
            Session("key", store=place)
        with pytest.raises(InvalidRequestError, match="RedisStore") as unstored:
            SqliteStore(place)
        with pytest.raises(InvalidRequestError, match="journal is") as unkept:
            Session("key").images.batch([], journal=place)
        told = (caught.value, unstored.value, unkept.value)
        assert not any("hush" in str(each) for each in told)

    def is_path(place):
        assert isinstance(store_at(place), SqliteStore)

    check_all(misspelt, refused)
    paths = (
        *("a:b.sqlite", "C:\\orders.sqlite", "C:/x", "c://x", "redis.sqlite"),
        *("redis/orders.sqlite", "./redis:a", Path("unix/x")),
    )
    check_all(paths, is_path)
    assert not [*tmp_path.iterdir()]


def test_without_redis_py_the_extra_is_named():
    """Where it is needed, and nowhere before: the names can be imported."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], check=True, capture_output=True, text=True
    )
    assert "pip install 'apimodels-async[redis]'" in done.stdout


def test_redis_py_is_loaded_by_the_store_alone():
    """Neither the package nor its stores cost what it costs."""
    code = (
        "import sys, apimodels_async.stores as stores; stores.RedisStore;"
        "print('redis' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"


async def test_a_store_that_is_closed_says_so(start):
    """Before it is opened, and after its last session closed."""
    store = RedisStore(start(*SAFE).url)
    with pytest.raises(JournalError, match="closed"):
        await begin(store)
    for _ in range(3):
        await store.open()
    for key in ("k", "l"):
        await store.aclose()
        assert (await begin(store, key)).granted
    await store.aclose()
    with pytest.raises(JournalError, match="closed"):
        await store.find(SCOPE, "k")
    await store.aclose()  # once more does no harm


def test_event_loops_of_several_threads_share_a_store(start):
    """Each has connections of its own; of all, one is granted."""
    store, granted = RedisStore(start(*SAFE).url), []

    async def order():
        await store.open()
        granted.append((await begin(store)).granted)
        await store.aclose()

    threads = [threading.Thread(target=lambda: asyncio.run(order())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(granted) == [False, False, False, True]


def test_a_loop_that_ended_is_forgotten(start):
    """Its store was not closed: the next loop opens its own connections."""
    store = RedisStore(start(*SAFE).url)

    async def order(key):
        await store.open()
        await begun(store, key)
        for calls, _ in store._calls.values():
            await calls._connection.aclose()

    for key in ("a", "b"):
        asyncio.run(order(key))
    assert len(store._calls) == 1
    asyncio.run(store.aclose())
    with pytest.raises(StopIteration):  # as a session that hangs up does
        store.aclose().send(None)


def test_a_forked_child_has_connections_of_its_own(start):
    """Parent and child go on, each over its own."""
    from pathlib import Path

    support = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED, start(*SAFE).url],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(support), "PATH": ""},
        timeout=30,
    )
    assert done.stdout == "both\n", done.stderr
