"""
What a Redis server must be to remember orders, and what is said of one that may forget.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from apimodels_async.stores.redis.calls import Waiting
from apimodels_async.stores.redis.connection import journal_error
from apimodels_async.stores.store import StoreSetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apimodels_async.stores.redis.calls import Calls

logger: logging.Logger = logging.getLogger("apimodels_async.stores")

FORGETS: Final = "; of what it forgets in a crash, orders can be bought a second time"


async def look_at_server(calls: Calls, replicas: int = 0) -> None:
    """
    See whether the server can be used, and what it can be asked to wait for.

    Args:
        replicas: How many of its replicas are to be waited for.

    Raises:
        JournalError: It cannot be used.
    """
    questions = (("INFO",), ("CONFIG GET", "appendfsync"), ("WAITAOF", 1, 0, 1))
    info, config, synced = await calls.exchange(questions)
    if isinstance(info, Exception):
        raise journal_error(info)
    _refuse(info)
    # Others keep the configuration to themselves.
    flush = config.get("appendfsync") if isinstance(config, dict) else None
    waits = not isinstance(synced, Exception)
    if not info.get("aof_enabled"):
        logger.warning(
            "the Redis server has no append-only file (appendonly no)%s", FORGETS
        )
    elif flush == "no" or (flush == "everysec" and not waits):
        logger.warning(
            "the Redis server answers before its disk has it (appendfsync %s)%s",
            *(flush, FORGETS),
        )
    calls.waiting = Waiting(disk=waits and flush != "no", replicas=replicas)


def _refuse(info: Mapping[str, Any]) -> None:
    what = None
    policy = info.get("maxmemory_policy", "noeviction")
    if "sentinel" in (info.get("redis_mode"), info.get("server_mode")):
        what = "that is a Redis Sentinel; give the address of the server itself"
    elif info.get("cluster_enabled"):
        what = "a Redis Cluster is not supported; use one server, with replicas"
    elif policy != "noeviction":
        what = (
            f"the Redis server evicts keys (maxmemory-policy {policy}), and what it "
            "forgets would be bought again: set maxmemory-policy noeviction"
        )
    if what is not None:
        msg = f"the store on Redis cannot be used: {what}"
        raise StoreSetupError(msg)
