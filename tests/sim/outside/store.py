"""
The store of orders that all processes of a site share, and its trouble.

Its contents are those of a ``MemoryStore`` and outlive processes. Each call takes time;
its work is done at one moment in between. A process that dies or is stopped before that
moment has done it or has not, as its chance decides.
"""

from __future__ import annotations

import math

from sim import adapters
from sim.keyed.ask import ASK

from apimodels_async._core.money.orders import BATCH_SCOPE, LEASE_S
from apimodels_async.errors import JournalError
from apimodels_async.stores import MemoryStore

SLOW_SHARE = 0.01
SLOW_S = 9.0
DISK_S = 0.005
READS = frozenset({"open", "find", "find_task", "history", "contents", "money"})


class Shared:
    """What is in the store, and its clock."""

    def __init__(self, site):
        self._site = site
        self.memory = MemoryStore(clock=self.now)

    def store(self, life, chance):
        """Return the store as one process uses it."""
        return SimStore(life, chance)

    def now(self):
        """Return the store's clock."""
        return adapters.utc(self._site.world.now + self._site.skews[None])

    def attempt(self, number):
        """Return the record of an attempt, or None."""
        return adapters.attempt_of(self.memory, number)

    def current(self, key):
        """Return the number of the attempt that a key names, or None."""
        return adapters.current(self.memory, key)


class SlowStore:
    """A store in memory, each of whose calls takes time and may fail."""

    def __init__(self, life, chance, memory):
        self._life = life
        self._chance = chance
        self._memory = memory

    async def open(self):
        """See ``OrderStore``."""
        await self._do("open", lambda: None)

    async def aclose(self):
        """See ``OrderStore``."""

    async def begin(self, order, anew):
        """See ``OrderStore``."""
        return await self._do("begin", lambda: self.claim(order, anew))

    def claim(self, order, anew):
        """Carry out a claim."""
        return at_once(self._memory.begin(order, anew))

    async def accepted(self, attempt, task_id):
        """See ``OrderStore``."""
        await self._call("accepted", attempt, task_id)

    async def ended(self, attempt, state, **more):
        """See ``OrderStore``."""
        await self._call("ended", attempt, state, **more)

    async def handed_over(self, *attempts):
        """See ``OrderStore``."""
        await self._call("handed_over", *attempts)

    async def saved(self, attempt, files):
        """See ``OrderStore``."""
        await self._call("saved", attempt, files)

    async def uploaded(self, scope, address, digest):
        """See ``OrderStore``."""
        await self._call("uploaded", scope, address, digest)

    async def contents(self, scope, addresses):
        """See ``OrderStore``."""
        return await self._call("contents", scope, addresses)

    async def money(self, scope, prefix):
        """See ``OrderStore``."""
        return await self._call("money", scope, prefix)

    async def find(self, scope, idempotency_key):
        """See ``OrderStore``."""
        return await self._call("find", scope, idempotency_key)

    async def find_task(self, scope, task_id):
        """See ``OrderStore``."""
        return await self._call("find_task", scope, task_id)

    async def renew(self, owner):
        """See ``OrderStore``."""
        await self._call("renew", owner)

    async def release(self, owner):
        """See ``OrderStore``."""
        await self._call("release", owner)

    async def history(self, scope, query, *, before, limit):
        """See ``OrderStore``."""
        return await self._call("history", scope, query, before=before, limit=limit)

    async def _call(self, name, *args, **more):
        call = getattr(self._memory, name)
        return await self._do(name, lambda: at_once(call(*args, **more)))

    # --- time and trouble

    def _seconds(self):
        chance = self._chance
        if self._life.site.weather.disk == "slow_disk" or chance.random() < SLOW_SHARE:
            return SLOW_S * chance.random()
        return DISK_S * chance.random()

    def _strike(self, name):
        """Return when the call fails: before its work, after it, or None: never."""
        disk, chance = self._life.site.weather.disk, self._chance
        if disk == "disk_full" and name not in READS:
            return "before"
        if disk == "flaky_disk" or chance.random() < self._life.process.trouble:
            return chance.choice(("before", "after", None))
        return None

    def _trouble(self, name):
        struck = self._strike(name)
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


class SimStore(SlowStore):
    """The shared store, as one process uses it."""

    scope = ""
    lease_s = LEASE_S

    def __init__(self, life, chance):
        super().__init__(life, chance, life.site.shared.memory)
        self._keys = life.audit.keys

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

    async def ended(self, attempt, state, **more):
        """See ``OrderStore``."""

        def work():
            at_once(self._memory.ended(attempt, state, **more))
            self._keys.ended(attempt)

        await self._do("ended", work)

    async def handed_over(self, *attempts):
        """See ``OrderStore``."""

        def work():
            at_once(self._memory.handed_over(*attempts))
            for attempt in attempts:
                self._keys.handed_over(attempt)

        await self._do("handed_over", work)

    async def forget(self, scope, idempotency_key):
        """See ``OrderStore``."""

        def work():
            gone = at_once(self._memory.forget(scope, idempotency_key))
            self._keys.forgot(idempotency_key, gone=gone)
            return gone

        return await self._do("forget", work)

    async def renew(self, owner):
        """See ``OrderStore``."""

        def work():
            at_once(self._memory.renew(owner))
            self._keys.alive(owner)

        await self._do("renew", work)

    async def release(self, owner):
        """See ``OrderStore``."""

        def work():
            at_once(self._memory.release(owner))
            self._keys.gone(owner)

        await self._do("release", work)

    async def recover(self, scope, owner):
        """See ``OrderStore``."""

        def work():
            found = self.hand_out(scope, owner)
            self._keys.alive(owner)
            if found is not None:
                self._keys.recovered(found.attempt, owner)
            return found

        return await self._do("recover", work)

    def hand_out(self, scope, owner):
        """Carry out a recovery."""
        return at_once(self._memory.recover(scope, owner))


class SimJournal(SlowStore):
    """A journal on the disk of a process's machine."""

    scope = BATCH_SCOPE
    lease_s = math.inf

    def __init__(self, path, life, chance):
        super().__init__(life, chance, life.disk.journal(path))
        self._path = path

    async def open(self):
        """Lock it."""
        holders = self._life.disk.holders
        if self._path in holders:
            msg = f"the journal {self._path} cannot be used: it is locked"
            raise JournalError(msg)
        holders[self._path] = self._life
        try:
            await self._do("open", lambda: adapters.lease_of(self._memory).clear())
        except JournalError:
            holders.pop(self._path, None)
            raise

    async def aclose(self):
        """Give up the lock."""
        self._life.disk.holders.pop(self._path, None)

    def _strike(self, name):
        full = self._life.site.weather.disk == "disk_full" and name not in READS
        return "before" if full else None


def at_once(coroutine):
    """Return what a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError
