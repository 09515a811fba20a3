"""One run: a plan is carried out, from the first order to the last check."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass

from sim import adapters
from sim.audit import TASK_ID, Audit
from sim.keyed.keys import Keys
from sim.life import Life
from sim.outside.disk import SimDisk
from sim.outside.network import Weather
from sim.outside.store import Shared
from sim.outside.vendor import Vendor
from sim.plan import (
    Actor,
    Close,
    Death,
    Fault,
    Jump,
    Leave,
    Nap,
    Order,
    Outage,
    Process,
    Server,
    Storm,
)
from sim.world import StuckError, World

RESTART_S = 5.0
RECOVERER = -1
"""Number of the first process's user who takes up what earlier ones left."""
APART_S = 4.0
"""Two orders are told from each other by times of the API in whole seconds."""


@dataclass
class Report:
    """What came of a run."""

    digest: str
    orders: int
    polls: int
    bought: int
    struck: dict
    """Kind of fault -> how often it struck."""
    violations: list
    keyed: dict
    """What became of orders with a key -> how often."""


class Site:
    """Everything there is in a run."""

    def __init__(self, plan, stop_at=None, show=None, bug=None):
        kinds = {kind: [] for kind in _KINDS}
        for item in plan:
            kinds[type(item)].append(item)
        actors = {actor.number for actor in kinds[Actor]}
        orders = {o.number: o for o in kinds[Order] if o.actor in actors}
        self.plan = kinds
        self.world = World()
        self.disk = SimDisk(self.world)
        self.weather = Weather(orders, kinds[Fault])
        options = {"stop_at": stop_at, "show": show}
        forged = self.weather.forged
        self.audit = Audit(self.world, self.disk, orders, forged, **options)
        self.skews = Counter()
        """Number of a process (None: all, and the store) -> seconds it is ahead."""
        self.audit.keys = Keys(self, self.audit)
        self.shared = self._share(*kinds[Server])
        self.vendor = Vendor(self.world, self.audit, self._call_back)
        self.bug = bug
        self.orders_of = {}
        for order in orders.values():
            self.orders_of.setdefault(order.actor, []).append(order)
        for actor in kinds[Actor]:
            if actor.of in orders:
                self.orders_of[actor.number] = [orders[actor.of]]
        self.leaves = {leave.actor: leave for leave in kinds[Leave]}
        self.lives = {}
        """Number of a process -> its present life."""
        self.loops = {}
        self.to_come = Counter()
        """Number of a process -> users who are not there yet."""
        self.todo = {}
        """Actors whose work a journal keeps: they begin anew when a process died."""

    def _share(self, settings=None):
        """Return the store of all processes: in memory, or on a server that fails."""
        if settings is None:
            return Shared(self)
        from sim.redis.store import SharedServer

        shared = SharedServer(self, settings)
        for outage in self.plan[Outage]:
            self.world.at(outage.at, shared.server.strike, outage)
        return shared

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
        for nap in self.plan[Nap]:
            world.at(nap.at, self._nap, nap)
        for jump in self.plan[Jump]:
            world.at(jump.at, self._jump, jump)
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
        placed = sum(case.asks > 0 for case in audit.cases.values())
        bought = sum(len(case.bought) for case in audit.cases.values())
        struck = dict(sorted(self.weather.struck.items()))
        sizes = placed, audit.polls, bought
        keyed = dict(sorted(audit.keys.counts.items()))
        return Report(audit.digest, *sizes, struck, audit.violations, keyed)

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
        if before is not None and before.loop.dead and process.store:
            life.start(Actor(RECOVERER - process.number, process.number, 0, "recover"))
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
            self.weather.struck["early close"] += 1
            life.close(close.patience)

    def _count_down(self, death, steps):
        life = self.lives.get(death.process)
        if life is None or life.loop.dead or life.ended:
            return
        if steps:
            life.loop.after_turns(steps, self._count_down, death, 0)
            return
        self.audit.note("dies", f"process {death.process}")
        self.weather.struck["death"] += 1
        life.die()
        mine = [a for a in self.todo.values() if a.number in life.users]
        self.world.at(self.world.now + RESTART_S, self._begin, life.process, mine)

    def _nap(self, nap):
        life = self.lives.get(nap.process)
        if life is None or life.loop.halted or life.ended:
            return
        self.audit.note("sleeps", f"process {nap.process}")
        self.weather.struck["process sleeps"] += 1
        life.loop.halt()
        life.slept += nap.seconds
        lost = nap.seconds if nap.suspended else 0.0
        self.world.at(self.world.now + nap.seconds, life.loop.go_on, lost)

    def _jump(self, jump):
        self.audit.note("clock", jump.process, jump.seconds)
        self.weather.struck["clock is set"] += 1
        self.skews[jump.process] += jump.seconds

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
        if kind == "lost" or life.loop.halted or life.receiver is None:
            return False
        task_id = self._named_by(kind, purchase)
        body = f'{{"code":200,"data":{{"taskId":"{task_id}"}}}}'.encode()
        heard = [_at_once(life.receiver.deliver(purchase.callback, body))]
        if kind == "twice":
            heard.append(_at_once(life.receiver.deliver(purchase.callback, body)))
        self.audit.note("callback", purchase.key, heard)
        return heard[-1] == 200

    def _named_by(self, kind, purchase):
        """
        Return the task that a callback names.

        "wrong" is one that the process called knows to be another order's; "forged" one
        that only its time tells from the order's own.
        """
        called = self.lives[purchase.process.process.number]
        for task_id, other in self.vendor.tasks.items():
            known = other.process is called
            apart = other.made < purchase.asked_at - APART_S
            if (kind == "wrong" and known) or (kind == "forged" and apart):
                return task_id
        return purchase.task_id

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


_KINDS = (
    *(Process, Actor, Order, Fault, Leave, Storm, Close, Death, Nap, Jump),
    *(Server, Outage),
)


class _Ear(logging.Handler):
    """Hears what the library logs."""

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
