"""Replicas that are waited for: what they have outlives a failover."""

from __future__ import annotations

import socket

import pytest
from support.orders import SCOPE, begin, begun
from support.redis import SAFE

from apimodels_async import ConfigurationError, JournalError
from apimodels_async.stores import OrderState, RedisStore


async def test_an_order_waits_for_its_replica_and_outlives_the_master(start):
    """Without one nothing is ordered; with one it is there after a failover."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    master = start(*SAFE, "--port", port)
    store = RedisStore(master.url, replicas=1)
    await store.open()
    with pytest.raises(JournalError, match=r"0 replicas .* and replicas=1"):
        await begin(store, "before")
    replica = start(*SAFE, "--replicaof", "127.0.0.1", port)
    while b"master_link_status:up" not in replica.ask("INFO", "replication"):
        pass
    attempt = await begun(store)
    await store.accepted(attempt, "t1")
    master.kill()
    replica.ask("REPLICAOF", "NO", "ONE")
    await store.aclose()

    store = RedisStore(replica.url)
    await store.open()
    found = await store.find(SCOPE, "k")
    assert (found.state, found.task_id) == (OrderState.ACCEPTED, "t1")
    assert (await store.find(SCOPE, "before")).state is OrderState.REFUSED
    await store.aclose()


@pytest.mark.parametrize("replicas", [-1, 1.5, None])
def test_a_number_of_replicas_is_one(replicas):
    """Nothing else is taken for one."""
    with pytest.raises(ConfigurationError, match="replicas"):
        RedisStore("redis://example.net", replicas=replicas)
