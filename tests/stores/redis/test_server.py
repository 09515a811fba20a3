"""What is refused, and what is said, of the server that a store is opened on."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError
from support.keyspace import InMemory, StoreInMemory
from support.redis import SAFE

from apimodels_async import JournalError
from apimodels_async.stores import RedisStore
from apimodels_async.stores.redis.calls import Calls
from apimodels_async.stores.redis.server import look_at_server
from apimodels_async.stores.store import StoreSetupError

UNKNOWN = ResponseError("ERR unknown command")
RIGHTS = "+@read +@write +@scripting +@connection +info +time"


async def opened(url, *, patience_s=1.0):
    """Open a store and close it."""
    store = RedisStore.unchecked(url, patience_s=patience_s)
    await store.open()
    await store.aclose()


async def test_a_server_that_evicts_keys_is_refused(start):
    """What it forgets would be bought again: the setting is named."""
    server = start(*SAFE, "--maxmemory-policy", "allkeys-lru")
    with pytest.raises(StoreSetupError, match=r"allkeys-lru.*set maxmemory-policy noe"):
        await opened(server.url)


async def test_a_cluster_is_refused(start):
    """In words, and not by its first MOVED."""
    server = start(*SAFE, "--cluster-enabled", "yes")
    with pytest.raises(StoreSetupError, match="Cluster is not supported"):
        await opened(server.url)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--appendonly", "no"), "appendonly no"),
        (("--appendonly", "yes", "--appendfsync", "no"), "appendfsync no"),
    ],
    ids=["no file", "no flush"],
)
async def test_a_server_that_may_forget_is_named(start, caplog, options, words):
    """It is used, and one warning says what that can cost."""
    await opened(start(*options).url)

    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert words in record.message
    assert "bought a second time" in record.message


@pytest.mark.parametrize(
    ("file", "flush", "synced", "disk", "words"),
    [
        (1, "always", [1, 0], True, None),
        (1, "everysec", [1, 0], True, None),
        (1, "everysec", UNKNOWN, False, "(appendfsync everysec)"),
        (1, "always", UNKNOWN, False, None),
        (1, "no", [1, 0], False, "(appendfsync no)"),
        (1, None, [1, 0], True, None),
        (0, "everysec", UNKNOWN, False, "(appendonly no)"),
    ],
)
async def test_what_a_server_can_wait_for_is_asked_of_it(
    caplog, file, flush, synced, disk, words
):
    """Its disk, where it knows WAITAOF and flushes at all; else it is warned of."""

    class Server(InMemory):
        def answer(self, *words):
            answers = {
                "INFO": {"aof_enabled": file},
                "CONFIG GET": UNKNOWN if flush is None else {"appendfsync": flush},
                "WAITAOF": synced,
            }
            return answers[words[0]]

    calls = Calls(Server(None), "{a}")
    await look_at_server(calls, 2)

    assert (calls.waiting.disk, calls.waiting.replicas) == (disk, 2)
    assert [words in each.message for each in caplog.records] == [True] * bool(words)


async def test_a_safe_server_is_not_talked_of(start, caplog):
    """With an append-only file that is flushed always, there is nothing to say."""
    await opened(start(*SAFE).url)

    assert caplog.records == []


async def test_the_rights_that_the_docs_name_are_enough(start, caplog):
    """The password, right or wrong, is in no text."""
    server = start(*SAFE)
    words = ("on", ">very-secret", "~{apimodels}*", *RIGHTS.split())
    assert b"OK" in server.ask("ACL", "SETUSER", "shop", *words)
    server.ask("ACL", "SETUSER", "shop", "+waitaof")  # where there is one
    store = RedisStore(f"unix://shop:very-secret@{server.path}")
    await store.open()
    await store.renew("us")
    await store.aclose()
    assert "secret" not in repr(store) + store.address + caplog.text

    # At once: no patience mends it.
    with pytest.raises(StoreSetupError, match="invalid username-password") as raised:
        await opened(f"unix://shop:wrong-secret@{server.path}", patience_s=600)
    assert "secret" not in str(raised.value)


async def test_a_sentinel_is_refused():
    """It knows where the server is, and keeps no orders."""

    class Sentinel(InMemory):
        def answer(self, *words):
            mode = {"redis_mode": "sentinel"}
            return mode if words[0] == "INFO" else super().answer(*words)

    class Store(StoreInMemory):
        def _connect(self):
            return Sentinel(self._keyspace)

    with pytest.raises(StoreSetupError, match="Sentinel; give the address of the"):
        await Store().open()


async def test_a_user_without_rights_is_told(start):
    """The command that is not allowed is named."""
    server = start(*SAFE)
    words = ("on", ">pw", "~*", "+@connection", "+@read")
    assert b"OK" in server.ask("ACL", "SETUSER", "shop", *words)
    with pytest.raises(JournalError, match="info"):
        await opened(f"unix://shop:pw@{server.path}")
