"""A process of the simulation: one event loop, one session, and the users of it."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

from sim import adapters
from sim.batches import Budget, journal_of
from sim.loop import ProcessLoop
from sim.outside import faults
from sim.outside.network import Network
from sim.users import act

from apimodels_async import PollPolicy, Timeouts
from apimodels_async.webhooks import Callback, Receiver

SECRET = "s" * 32
STORE = 1 << 20
"""Tells the chance of a store's calls from the process's own."""


class SimCallback(Callback):
    """A callback address whose nonces come from the process's chance."""

    chance = None

    def new_nonce(self):
        """Return a nonce that the seed decides."""
        return f"{self.chance.getrandbits(128):032x}"


class Life:
    """A process from its start to its end, whichever that is."""

    def __init__(self, site, process, generation):
        self.site, self.process, self.generation = site, process, generation
        self.audit, self.disk, self.vendor = site.audit, site.disk, site.vendor
        chance = Random(process.seed + generation)
        self._chance = chance
        self.loop = ProcessLoop(site.world, process.number, self._uncaught)
        self.network = Network(self, site.world, site.vendor, site.audit, site.weather)
        self.named, self.logged = set(), set()
        self.batches, self.users = [], {}
        self.busy = 0
        self.slept = 0.0
        """Seconds for which it was stopped, or will have been once it goes on."""
        self.closing = self.closed = self.ended = False
        self.session, self.receiver = self._session(process, chance)

    def _session(self, process, chance):
        callback = receiver = None
        if process.callbacks:
            callback = SimCallback("https://us.example/hooks", secret=SECRET)
            callback.chance = chance
            receiver = Receiver(callback)
        own = Random(process.seed ^ (STORE + self.generation))
        make = self.site.bug or adapters.SimAdapters
        outside = make(self, chance)
        session = adapters.SimSession(
            outside,
            faults.API_KEY,
            polling=PollPolicy(
                interval=process.interval,
                deadline=process.deadline,
                learned=process.learned,
            ),
            timeouts=Timeouts(
                connect=faults.CONNECT_S,
                read=faults.READ_S,
                generate=faults.GENERATE_S,
                download=faults.DOWNLOAD_S,
            ),
            max_connections=process.connections,
            callback=callback,
            store=outside.store(self.site.shared.store(self, own))
            if process.store
            else None,
        )
        return outside.view(session), receiver

    def start(self, actor):
        """Start a user."""
        self.busy += 1
        self.loop.call_soon(self._start, actor)

    def _start(self, actor):
        orders = self.site.orders_of.get(actor.number, [])
        if not orders and actor.kind not in {"attach", "recover"}:
            self._finished(None)
            return
        if actor.kind == "batch":
            self._keep(actor, orders)
        elif actor.returns and orders[0].keyed:
            self.site.todo[actor.number] = actor
        leave = self.site.leaves.get(actor.number)
        task = self.loop.create_task(
            act(self, actor, orders, leave), name=f"user-{actor.number}"
        )
        self.users[actor.number] = task
        task.add_done_callback(lambda _: self.site.todo.pop(actor.number, None))
        task.add_done_callback(self._finished)
        if leave is not None and leave.how == "time":
            when = self.site.world.now + leave.amount
            self.site.world.at(when, self._cancel, task, leave)
        elif leave is not None and leave.how == "steps":
            self.loop.after_turns(leave.amount, self._cancel, task, leave)

    def _keep(self, actor, orders):
        path = journal_of(actor)
        if path is not None:
            self.site.todo[actor.number] = actor
        cases = self.audit.cases
        budget = cases[orders[0].number].batch or Budget(actor)
        for order in orders:
            cases[order.number].journal, cases[order.number].batch = path, budget

    def _cancel(self, task, leave):
        if self.loop.dead:
            return
        if not task.done():
            self.site.weather.struck[f"cancel by {leave.how}"] += 1
            self.audit.note("cancel", task.get_name())
        task.cancel()
        if leave.twice:
            self.loop.call_soon(task.cancel)

    def _finished(self, _task):
        self.busy -= 1
        self._look_later()
        if not self.busy and not self.site.to_come[self.process.number]:
            self.close()

    def close(self, patience=None):
        """Close the session, if that has not begun; cancel that after *patience*."""
        if not self.closing and not self.loop.dead:
            self.closing = True
            self.audit.note("closing", f"process {self.process.number}")
            self.loop.call_soon(self._close, patience)

    def _close(self, patience):
        self._closer = self.loop.create_task(self._end(patience), name="user-closer")

    async def _end(self, patience):
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self.session.aclose()
            await self.session.aclose()
        except Exception as error:  # noqa: BLE001  aclose() raises nothing
            self.audit.broke("typed_errors", f"aclose() raised {error!r}")
        self.closed = True
        self._look_later()

    def _look_later(self):
        if self.closed and not self.busy:
            self.ended = True
            self.site.world.at(self.site.world.now + 0.5, self._check_left)

    def _check_left(self):
        if self.busy:  # somebody came to the closed session; whose end looks again
            return
        left = [task.get_name() for task in self.loop.unfinished()]
        left += [f"{t}" for t in self.site.world.timers_of(self.loop)]
        if left:
            self.audit.broke("nothing_left", ", ".join(left))

    def die(self):
        """End at once."""
        self.loop.kill()
        self.disk.release(self)
        adapters.disown(self.session)
        for actor, task in self.users.items():
            orders = self.site.orders_of.get(actor, ())
            for order in orders if not task.done() else ():
                self.audit.cases[order.number].leave(self)

    @property
    def skew(self):
        """Seconds by which its wall clock is ahead."""
        skews = self.site.skews
        return skews[self.process.number] + skews[None]

    def wall(self):
        """Return its wall clock."""
        return adapters.utc(self.site.world.now + self.skew)

    def place_of(self, purchase):
        """Return the lasting place in which a purchase can be found, or None."""
        mine = {purchase.key, adapters.digest(purchase.body)}
        if mine & adapters.keys_of(self.session.orphans):
            return "session.orphans"
        for batch in self.batches:
            unread = [outcome.result or outcome.error for outcome in batch.unread]
            if mine & adapters.keys_of([*batch.pending, *unread]):
                return "its batch"
        return None

    def _uncaught(self, context):
        error = context.get("exception")
        self.audit.broke("nothing_uncaught", f"{context.get('message')} {error!r}")
