"""
The store on the server that fails, as the processes of a site use it: the library's
own, but for the way to the server.
"""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

from sim.keyed.ask import ASK
from sim.redis.server import SimConnection, SimServer

from apimodels_async.stores import OrderState, RedisStore


class SharedServer:
    """What is in the store, and its clock."""

    def __init__(self, site, settings):
        self.server = SimServer(site, settings)

    def store(self, life, _chance):
        """Return the store as one process uses it."""
        return SimRedisStore(life, self.server)

    def now(self):
        """Return the store's clock."""
        return datetime.fromtimestamp(self.server._seconds(), UTC)

    def attempt(self, number):
        """Return what is known of an attempt, or None."""
        found = self.server.read("order", number)
        if not found:
            return None
        return SimpleNamespace(
            attempt=number,
            state=OrderState(found[b"state"].decode()),
            task_id=found[b"task_id"].decode() if b"task_id" in found else None,
            handed_over=found[b"handed_over"] == b"1",
        )

    def current(self, key):
        """Return the number of the attempt that a key names, or None."""
        return self.server.attempt_of(key)

    def leases(self):
        """Return until when each owner counts as alive."""
        found = self.server.leases()
        return {owner: datetime.fromtimestamp(u, UTC) for owner, u in found.items()}


class SimRedisStore(RedisStore):
    """The library's store, watched."""

    def __init__(self, life, server):
        super().__init__("redis://sim.example", replicas=server.settings.replicas)
        self._life, self._simulated = life, server
        self._keys = life.audit.keys
        self._mine = set()
        """Attempts that it can write down again: others it has only heard of."""

    def _connect(self):
        return SimConnection(self._life, self._simulated)

    async def begin(self, order, anew):
        """See ``OrderStore``."""
        ask = ASK.get()
        claim = await super().begin(order, anew)
        if claim.granted:
            self._mine.add(claim.record.attempt)
        self._keys.claimed(ask, claim, order.owner)
        self._keys.looked(ask, order, claim)
        return claim

    async def accepted(self, attempt, task_id):
        """See ``OrderStore``."""
        await super().accepted(attempt, task_id)
        self._said(attempt)

    async def ended(self, attempt, state, **more):
        """See ``OrderStore``."""
        await super().ended(attempt, state, **more)
        self._said(attempt)

    def _said(self, attempt):
        if attempt in self._mine:
            self._keys.server.said(attempt)
