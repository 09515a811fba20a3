"""
The store of orders that all processes of a site share, and its trouble.

Its contents are those of a ``MemoryStore`` and outlive processes. Each call takes time;
its work is done at one moment in between. A process that dies or is stopped before that
moment has done it or has not, as its chance decides.
"""

from __future__ import annotations

from sim import adapters
from sim.keyed.ask import ASK

from apimodels_async._core.money.orders import LEASE_S
from apimodels_async.errors import JournalError
from apimodels_async.stores import MemoryStore

SLOW_SHARE = 0.01
SLOW_S = 9.0
DISK_S = 0.005
READS = frozenset({"find", "history", "contents"})


class Shared:
    """What is in the store, and its clock."""

    def __init__(self, site):
        self._site = site
        self.memory = MemoryStore(clock=self.now)

    def now(self):
        """Return the store's clock."""
        return adapters.utc(self._site.world.now + self._site.skews[None])


class SimStore:
    """The shared store, as one process uses it."""

    scope = ""
    lease_s = LEASE_S

    def __init__(self, life, chance):
        self._life = life
        self._chance = chance
        self._memory = life.site.shared.memory
        self._keys = life.audit.keys

    async def open(self):
        """See ``OrderStore``."""
        await self._do("open", lambda: None)

    async def aclose(self):
        """See ``OrderStore``."""

    async def begin(self, order, anew):
        """See ``OrderStore``."""
        ask = ASK.get()

        def work():
            claim = self.claim(order, anew)
            self._keys.alive(order.owner)
            self._keys.claimed(ask, claim, order.owner)
            return claim

        claim = await self._do("begin", work)
        self._keys.looked(ask, order, claim)
        return claim

    def claim(self, order, anew):
        """Carry out a claim."""
        return _at_once(self._memory.begin(order, anew))

    async def accepted(self, attempt, task_id):
        """See ``OrderStore``."""
        await self._do(
            "accepted", lambda: _at_once(self._memory.accepted(attempt, task_id))
        )

    async def ended(self, attempt, state, **more):
        """See ``OrderStore``."""

        def work():
            _at_once(self._memory.ended(attempt, state, **more))
            self._keys.ended(attempt)

        await self._do("ended", work)

    async def handed_over(self, attempt):
        """See ``OrderStore``."""

        def work():
            _at_once(self._memory.handed_over(attempt))
            self._keys.handed_over(attempt)

        await self._do("handed_over", work)

    async def saved(self, attempt, files):
        """See ``OrderStore``."""
        await self._do("saved", lambda: _at_once(self._memory.saved(attempt, files)))

    async def uploaded(self, scope, address, digest):
        """See ``OrderStore``."""
        await self._do(
            "uploaded",
            lambda: _at_once(self._memory.uploaded(scope, address, digest)),
        )

    async def contents(self, scope, addresses):
        """See ``OrderStore``."""
        return await self._do(
            "contents", lambda: _at_once(self._memory.contents(scope, addresses))
        )

    async def find(self, scope, idempotency_key):
        """See ``OrderStore``."""
        return await self._do(
            "find", lambda: _at_once(self._memory.find(scope, idempotency_key))
        )

    async def forget(self, scope, idempotency_key):
        """See ``OrderStore``."""

        def work():
            gone = _at_once(self._memory.forget(scope, idempotency_key))
            self._keys.forgot(idempotency_key, gone=gone)
            return gone

        return await self._do("forget", work)

    async def renew(self, owner):
        """See ``OrderStore``."""

        def work():
            _at_once(self._memory.renew(owner))
            self._keys.alive(owner)

        await self._do("renew", work)

    async def release(self, owner):
        """See ``OrderStore``."""

        def work():
            _at_once(self._memory.release(owner))
            self._keys.gone(owner)

        await self._do("release", work)

    async def recover(self, scope, owner):
        """See ``OrderStore``."""

        def work():
            found = self.hand_out(scope, owner)
            self._keys.alive(owner)
            if found is not None:
                self._keys.recovered(found, owner)
            return found

        return await self._do("recover", work)

    def hand_out(self, scope, owner):
        """Carry out a recovery."""
        return _at_once(self._memory.recover(scope, owner))

    async def history(self, scope, query, *, before, limit):
        """See ``OrderStore``."""
        return await self._do(
            "history",
            lambda: _at_once(
                self._memory.history(scope, query, before=before, limit=limit)
            ),
        )

    # --- time and trouble

    def _seconds(self):
        chance = self._chance
        if self._life.site.weather.disk == "slow_disk" or chance.random() < SLOW_SHARE:
            return SLOW_S * chance.random()
        return DISK_S * chance.random()

    def _trouble(self, name):
        """Return when the call fails: before its work, after it, or None: never."""
        disk, chance = self._life.site.weather.disk, self._chance
        struck = None
        if disk == "disk_full" and name not in READS:
            struck = "before"
        elif disk == "flaky_disk" or chance.random() < self._life.process.trouble:
            struck = chance.choice(("before", "after", None))
        if struck is not None:
            self._life.site.weather.struck[f"store fails {struck}"] += 1
        return struck

    async def _do(self, name, work):
        life, chance = self._life, self._chance
        seconds, trouble = self._seconds(), self._trouble(name)
        done = life.loop.create_future()
        now, bold = life.site.world.now, chance.random() < 0.5
        when = now + seconds * chance.random()

        def begin():
            loop = life.loop
            if loop.halted and not bold:
                if not loop.dead:  # it is stopped, and its thread is, too
                    loop.call_soon(begin)
                return
            found = None if trouble == "before" else work()
            if not loop.dead:
                rest = max(0.0, now + seconds - life.site.world.now)
                loop.call_later(rest, end, found)

        def end(found):
            if done.done():
                return
            if trouble is None:
                done.set_result(found)
            else:
                done.set_exception(JournalError(f"the store failed {trouble} {name}"))

        life.site.world.at(when, begin)
        return await done


def _at_once(coroutine):
    """Return what a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError
