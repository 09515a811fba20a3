"""Bugs to plant in a store on a Redis server that fails, or in the server."""

from __future__ import annotations

from sim.adapters import SimAdapters, wait_for_nothing, write_nothing_again


class _OnRedis(SimAdapters):
    on_redis = True


class WaitsForNothing(_OnRedis):
    """Sends an order before the disk, or a replica, has its claim."""

    def store(self, store):
        opening = store.open

        async def open_():
            await opening()
            wait_for_nothing(store)

        store.open = open_
        return store


class WritesNothingAgain(_OnRedis):
    """Says words of what the server has forgotten, and leaves it at that."""

    def store(self, store):
        begin = store.begin

        async def begin_(*args):
            claim = await begin(*args)
            write_nothing_again(store)
            return claim

        store.begin = begin_
        return store
