"""
One run: a plan is carried out, from the first order to the last check.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from apimodels_async import PollPolicy, Timeouts
from apimodels_async.webhooks import Receiver
from sim import adapters, faults
from sim.audit import TASK_ID, Audit
from sim.batches import Budget, journal_of
from sim.invariants import Violation
from sim.network import Network, Weather
from sim.plan import Actor, Close, Death, Fault, Leave, Order, Process, Storm
from sim.users import act
from sim.vendor import Vendor
from sim.world import ProcessLoop, StuckError, World

SECRET = "s" * 32
RESTART_S = 5.0
CALL_S = 3000.0
"""Bound of a single call: its tries, the waits between, the deadline of its task."""


@dataclass
class Report:
    """
    What came of a run.
    """

    digest: str
    orders: int
    polls: int
    bought: int
    struck: dict
    violations: list[Violation] = field(default_factory=list)


class Site:
    """
    Everything there is in a run.
    """

    def __init__(self, plan, stop_at=None, show=None, bug=None):
        kinds = {kind: [] for kind in _KINDS}
        for item in plan:
            kinds[type(item)].append(item)
        actors = {actor.number for actor in kinds[Actor]}
        orders = {o.number: o for o in kinds[Order] if o.actor in actors}
        self.plan = kinds
        self.world = World()
        self.disk = adapters.SimDisk(self.world)
        self.weather = Weather(orders, kinds[Fault])
        options = {"stop_at": stop_at, "show": show}
        forged = self.weather.forged
        self.audit = Audit(self.world, self.disk, orders, forged, **options)
        self.vendor = Vendor(self.world, self.audit, self._call_back)
        self.bug = bug
        self.orders_of = {}
        for order in orders.values():
            self.orders_of.setdefault(order.actor, []).append(order)
        self.leaves = {leave.actor: leave for leave in kinds[Leave]}
        self.lives = {}
        """Number of a process -> its present life."""
        self.loops = {}
        self.to_come = Counter()
        """Number of a process -> users who are not there yet."""
        self.todo = {}
        """Actors whose work a journal keeps: they begin anew when a process died."""

    def run(self):
        """Carry the plan out, and return the report."""
        world, audit = self.world, self.audit
        for process in self.plan[Process]:
            self._begin(process)
        for actor in self.plan[Actor]:
            if actor.process in self.lives:
                self.to_come[actor.process] += 1
                world.at(actor.at, self._arrive, actor)
        for close in self.plan[Close]:
            world.at(close.at, self._close, close)
        for death in self.plan[Death]:
            world.at(death.at, self._count_down, death, death.steps)
        for storm in self.plan[Storm]:
            world.at(storm.at, self._storm, storm, storm.kind)
            world.at(storm.at + storm.seconds, self._storm, storm, None)
        try:
            with self._listening():
                self._to_the_end()
        finally:
            audit.over = True
            world.bury()
            for life in self.loops.values():
                adapters.disown(life.session)
            self.disk.close()
        bought = sum(len(case.bought) for case in audit.cases.values())
        struck = dict(sorted(self.weather.struck.items()))
        sizes = len(audit.cases), audit.polls, bought
        return Report(audit.digest, *sizes, struck, audit.violations)

    def _to_the_end(self):
        try:
            self.world.run()
        except StuckError as error:
            self.audit.broke("nobody_waits_for_ever", str(error))
        if self.audit.over:
            return
        for life in self.loops.values():
            waiting = [n for n, task in life.users.items() if not task.done()]
            if waiting and not life.loop.dead:
                detail = f"actors {waiting} of process {life.process.number}"
                self.audit.broke("nobody_waits_for_ever", detail)
            for task in life.loop.unread() if not life.loop.dead else ():
                self.audit.broke("nothing_uncaught", f"{task.exception()!r}")
        self.audit.end()

    def _begin(self, process, again=()):
        """Start a process, with what its journals have kept."""
        before = self.lives.get(process.number)
        life = Life(self, process, 0 if before is None else before.generation + 1)
        self.lives[process.number] = life
        self.loops[life.loop] = life
        for actor in again:
            life.start(actor)
        return life

    def _arrive(self, actor):
        """Start a user, in the process that runs now or in a new one."""
        life = self.lives[actor.process]
        if life.loop.dead:
            self.world.at(self.world.now + RESTART_S, self._arrive, actor)
            return
        self.to_come[actor.process] -= 1
        if life.closing and actor.number % 4:  # every fourth does not know
            life = self._begin(life.process)
        life.start(actor)

    def _close(self, close):
        life = self.lives.get(close.process)
        if life is not None:
            life.close()

    def _count_down(self, death, steps):
        life = self.lives.get(death.process)
        if life is None or life.loop.dead or life.ended:
            return
        if steps:
            life.loop.call_soon(self._count_down, death, steps - 1)
            return
        self.audit.note("dies", f"process {death.process}")
        self.weather.struck["death"] += 1
        life.die()
        mine = [a for a in self.todo.values() if a.number in life.users]
        self.world.at(self.world.now + RESTART_S, self._begin, life.process, mine)

    def _storm(self, storm, kind):
        self.audit.note("storm", storm.kind, kind)
        if storm.kind.endswith("disk") or storm.kind == "disk_full":
            self.weather.disk = kind
        else:
            self.weather.storm = kind

    def _call_back(self, purchase, nth):
        """Deliver the vendor's callback; return whether it was heard."""
        kind = self.weather.planned(purchase.order, "callback", nth)
        life = self.lives[purchase.process.process.number]
        if kind == "lost" or life.loop.dead or life.receiver is None:
            return False
        task_id = self._named_by(kind, purchase)
        body = f'{{"code":200,"data":{{"taskId":"{task_id}"}}}}'.encode()
        heard = [_at_once(life.receiver.deliver(purchase.callback, body))]
        if kind == "twice":
            heard.append(_at_once(life.receiver.deliver(purchase.callback, body)))
        self.audit.note("callback", purchase.key, heard)
        return heard[-1] == 200

    def _named_by(self, kind, purchase):
        """Return the task that a callback names."""
        if kind not in {"wrong", "forged"}:
            return purchase.task_id
        return next(
            task_id
            for task_id, other in self.vendor.tasks.items()
            if other is purchase
            or (other.process is purchase.process) == (kind == "wrong")
        )

    @contextmanager
    def _listening(self):
        ear = _Ear(self)
        logger = logging.getLogger(adapters.LOGGER)
        before = logger.propagate, logger.level
        logger.propagate = False
        logger.setLevel(logging.WARNING)
        logger.addHandler(ear)
        try:
            yield
        finally:
            logger.removeHandler(ear)
            logger.propagate = before[0]
            logger.setLevel(before[1])


_KINDS = (Process, Actor, Order, Fault, Leave, Storm, Close, Death)


class Life:
    """
    A process from its start to its end, whichever that is.
    """

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
        self.closing = self.closed = self.ended = False
        self.session, self.receiver = self._session(process, chance)

    def _session(self, process, chance):
        callback = receiver = None
        if process.callbacks:
            callback = adapters.SimCallback("https://us.example/hooks", secret=SECRET)
            callback.chance = chance
            receiver = Receiver(callback)
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
        )
        return outside.view(session), receiver

    def start(self, actor):
        """Start a user."""
        self.busy += 1
        self.loop.call_soon(self._start, actor)

    def _start(self, actor):
        orders = self.site.orders_of.get(actor.number, [])
        if not orders and actor.kind != "attach":
            self._finished(None)
            return
        if actor.kind == "batch":
            self._keep(actor, orders)
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
            self._step(task, leave, leave.amount)

    def _keep(self, actor, orders):
        path = journal_of(actor)
        if path is not None:
            self.site.todo[actor.number] = actor
        cases = self.audit.cases
        budget = cases[orders[0].number].batch or Budget(actor.max_cost)
        for order in orders:
            cases[order.number].journal, cases[order.number].batch = path, budget

    def _step(self, task, leave, left):
        if left:
            self.loop.call_soon(self._step, task, leave, left - 1)
        else:
            self._cancel(task, leave)

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
        if not self.busy and not self.site.to_come[self.process.number]:
            self.close()

    def close(self):
        """Close the session, if that has not begun."""
        if not self.closing and not self.loop.dead:
            self.closing = True
            self.audit.note("closing", f"process {self.process.number}")
            self.loop.call_soon(self._close)

    def _close(self):
        self._closer = self.loop.create_task(self._end(), name="user-closer")

    async def _end(self):
        try:
            await self.session.aclose()
        except Exception as error:  # noqa: BLE001  aclose() raises nothing
            self.audit.broke("typed_errors", f"aclose() raised {error!r}")
        self.closed = True
        while (
            self.busy
            or self.site.lives[self.process.number] is self
            and self.site.to_come[self.process.number]
        ):
            await asyncio.sleep(1.0)
        self.ended = True
        self.site.world.at(self.site.world.now + 0.5, self._check_left)

    def _check_left(self):
        left = [task.get_name() for task in self.loop.unfinished()]
        left += [f"{t.callback}" for t in self.site.world.timers_of(self.loop)]
        if left:
            self.audit.broke("nothing_left", ", ".join(left))

    def die(self):
        """End at once."""
        self.loop.dead = True
        self.disk.release(self)
        adapters.disown(self.session)
        for actor, task in self.users.items():
            orders = self.site.orders_of.get(actor, ())
            for order in orders if not task.done() else ():
                self.audit.cases[order.number].ended = True

    def place_of(self, purchase):
        """Return the lasting place in which a purchase can be found, or None."""
        orphans = adapters.keys_of(self.session.orphans)
        if purchase.key in orphans or adapters.digest(purchase.body) in orphans:
            return "session.orphans"
        for batch in self.batches:
            unread = [o.result or o.error for o in batch.unread]
            if purchase.key in adapters.keys_of([*batch.pending, *unread]):
                return "its batch"
        return None

    def disk_delay(self):
        """Return the seconds that a job of the journal takes."""
        slow = self.site.weather.disk == "slow_disk"
        return (3.0 if slow else 0.005) * self._chance.random()

    def disk_is_full(self):
        """Return whether nothing can be written, now."""
        full = self.site.weather.disk == "disk_full"
        self.site.weather.struck["disk full"] += full
        return full

    def _uncaught(self, context):
        error = context.get("exception")
        self.audit.broke("nothing_uncaught", f"{context.get('message')} {error!r}")


class _Ear(logging.Handler):
    """
    Hears what the library logs.
    """

    def __init__(self, site):
        super().__init__(logging.WARNING)
        self._site = site

    def emit(self, record):
        """Take down the task ids in a message, and look for the key."""
        text = self.format(record)
        self._site.audit.spelled(text, "in a log line")
        life = self._site.loops.get(asyncio._get_running_loop())
        if life is not None:
            life.logged.update(TASK_ID.findall(text))


def _at_once(coroutine):
    """Return what a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError


def simulate(plan, **options):
    """
    Carry *plan* out and return the report.

    Garbage is collected afterwards: what is thrown away in between must not run at a
    moment that the plan does not decide.
    """
    gc.disable()
    gc.freeze()  # what was there before need not be looked through each time
    try:
        return Site(plan, **options).run()
    finally:
        gc.collect()
        gc.unfreeze()
        gc.enable()
