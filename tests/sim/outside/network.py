"""
Carries requests between a process and the vendor, and what goes wrong on the way.

A request that has left goes on without its sender: who is cancelled or dies afterwards
changes nothing for the vendor.
"""

from __future__ import annotations

import json
from collections import Counter
from email.utils import format_datetime
from random import Random

import attrs
from sim import adapters
from sim.adapters import Failure, Kind, Phase, Reply, utc
from sim.keyed.ask import ASK
from sim.outside import faults

POLL = "images/generations?task_id="
NOT_FOUND = faults.refusal(404)
BUSY = faults.refusal(429, {"retry-after": "1"})
BALANCE = b'{"code":200,"data":{"balance":10.0,"total":20.0,"frozen":0}}'
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(64)
BUSY_BARE = faults.refusal(429)
DENIED = {"no_connection", "429", "503"}
"""What a storm does before the vendor sees anything."""


class Weather:
    """Chance, planned faults and storms: what all networks have in common."""

    def __init__(self, plan_orders, plan_faults):
        self.orders = plan_orders
        self.storm = None
        self.disk = None
        self.struck = Counter()
        self._chance = {}
        self._posts = Counter()
        self._fetches = Counter()
        self._faults = {}
        for fault in plan_faults:
            at = (fault.order, fault.where, fault.nth)
            self._faults.setdefault(at, fault.kind)
        self.faulty = {fault.order for fault in plan_faults}
        self.forged = {f.order for f in plan_faults if f.kind in {"wrong", "forged"}}

    def chance(self, order):
        """Return the order's own source of chance."""
        found = self._chance.get(order.number)
        if found is None:
            found = self._chance[order.number] = Random(order.seed)
        return found

    def planned(self, order, where, nth):
        """Return the kind of fault that strikes the *nth* request, or None."""
        if order.number not in self.faulty:
            return None
        kind = self._faults.get((order.number, where, nth))
        if kind is not None:
            self.struck[f"{where} {kind}"] += 1
        return kind

    def post(self, order):
        """Return the fault of the next paid request for *order*."""
        self._posts[order.number] += 1
        return self._over(self.planned(order, "create", self._posts[order.number]))

    def fetch(self, order):
        """Return the fault of the next download for *order*."""
        self._fetches[order.number] += 1
        return self.planned(order, "file", self._fetches[order.number])

    def poll(self, order, nth):
        """Return the fault of a poll."""
        kind = None
        if order.number in self.faulty:
            kind = self.planned(order, "poll", nth)
        return kind if self.storm is None else self._over(kind)

    def _over(self, kind):
        if self.storm is None:
            return kind
        self.struck[f"storm {self.storm}"] += 1
        return faults.WEATHER[self.storm]


class Network:
    """The way of one process to the vendor."""

    def __init__(self, process, world, vendor, audit, weather):
        self._process = process
        self._world = world
        self._vendor = vendor
        self._audit = audit
        self._weather = weather
        self._stray = None
        self.closed = False
        self.polled = {}
        """Task -> when it was asked for last, and as what."""

    def send(self, request, sent):
        """Carry one request; return what is to be awaited for what comes back."""
        path = request.path
        if self.closed:
            self._audit.broke("silent_after_close", f"{request.method} {path}")
        if request.kind is Kind.FREE:
            if path.startswith(POLL):
                return self._poll(path[len(POLL) :])
            return self._tell_balance()
        return self._post(request, sent)

    async def _tell_balance(self):
        await self._pause(0.1)
        return Reply(200, {}, BALANCE)

    async def _pause(self, seconds):
        future = self._process.loop.create_future()
        self._in(seconds, _set, future, None)
        return await future

    def _in(self, seconds, callback, *args):
        self._world.at(self._world.now + seconds, callback, *args)

    def _poll(self, task_id):
        # No coroutine: this is what happens most.
        world, purchase = self._world, self._vendor.tasks.get(task_id)
        entry = adapters.entry_of(self._process.session, task_id)
        self._audit.polled(self.polled, task_id, entry, purchase)
        future = self._process.loop.create_future()
        if purchase is None:
            world.at(world.now + 0.1, _set, future, NOT_FOUND)
            return future
        purchase.polls += 1
        chance = purchase.chance()
        kind = self._weather.poll(purchase.order, purchase.polls)
        if kind is None:
            when = world.now + 0.02 + 0.2 * chance
            world.at(when, self._told, future, purchase, world.now)
            return future
        seconds = faults.delay(kind, faults.READ_S, chance)
        world.at(world.now + seconds, self._spoilt, future, purchase, kind, chance)
        return future

    def _told(self, future, purchase, asked_at):
        reply = self._dated(self._vendor.answer(purchase, asked_at))
        self._audit.answered_poll(purchase, purchase.word_told)
        self._stray = reply
        if not future.done() and not self._process.loop.dead:
            future.set_result(reply)

    def _dated(self, reply):
        """Return *reply* with the vendor's time, where our own is off."""
        if not self._process.skew:
            return reply
        said = format_datetime(utc(self._world.now), usegmt=True)
        return attrs.evolve(reply, headers={**reply.headers, "date": said})

    def _spoilt(self, future, purchase, kind, chance):
        now, failure = self._world.now, faults.never_leaves(kind)
        self._audit.note("poll", purchase.key, kind)
        if failure is None:
            whole = self._dated(self._vendor.answer(purchase, now))
            if kind == "no_urls":
                failure = _without_urls(purchase, whole)
            else:
                failure = faults.spoil(kind, whole, self._stray, chance)
            if failure is whole:
                self._audit.answered_poll(purchase, purchase.word_told)
        if not self._process.loop.dead:
            _set(future, failure)

    async def _post(self, request, sent):
        fields = json.loads(request.body)
        order, ask = self._weather.orders[int(fields["prompt"][1:])], ASK.get()
        chance = self._weather.chance(order)
        kind = self._weather.post(order)
        patience = CREATE_S if request.kind is Kind.CREATE else faults.GENERATE_S
        self._audit.note("post", order.number, kind)
        await self._pause(0.03 * chance.random())
        failure = faults.never_leaves(kind)
        if failure is not None:
            return failure
        if sent.leave is not None and not sent.leave.held:
            self._weather.struck["lease run out"] += 1
            return EXPIRED
        sent.at = self._process.wall()
        future = self._process.loop.create_future()
        address = fields.get("callback_url") or fields.get("callBackUrl")
        flight = (future, order, request.body, address, kind, patience, ask)
        self._in(0.01 + 0.05 * chance.random(), self._arrive, *flight)
        return await future

    def _arrive(self, future, order, body, address, kind, patience, ask):
        chance = self._weather.chance(order).random()
        seconds = faults.delay(kind, patience, chance)
        purchase, whole = None, None
        if faults.acts(kind):
            if self._vendor.busy():
                self._weather.struck["vendor busy"] += 1
                whole = BUSY if order.number % 2 else BUSY_BARE
            else:
                purchase = self._vendor.take_on(
                    order, self._process, body, address, ask
                )
                purchase.chance = self._weather.chance(order).random
                whole = self._vendor.answer(purchase, self._world.now)
                if purchase.task_id is None:
                    seconds += 0.5 + chance
        self._in(seconds, self._arrived, future, purchase, whole, kind, chance)

    def _arrived(self, future, purchase, whole, kind, chance):
        answer = whole
        if kind is not None:
            answer = faults.spoil(kind, whole, self._stray, chance)
        if purchase is not None:
            purchase.answered_at = self._world.now
            if purchase.task_id is not None and kind is None:
                self._stray = whole
        if not self._process.loop.dead:
            _set(future, answer)

    async def fetch(self, address):
        """Return a file's HTTP status, what came of it, and whether that is all."""
        purchase = self._audit.by_url.get(address)
        if purchase is None:
            return 404, b"", True
        chance = self._weather.chance(purchase.order).random()
        kind = self._weather.fetch(purchase.order)
        await self._pause(100.0 if kind == "hangs" else 0.2 * chance)
        self._audit.note("file", purchase.key, kind)
        match kind:
            case "404" | "503":
                return int(kind), b"", True
            case "page":
                return 200, faults.PAGE, True
            case "cut":
                return 200, PICTURE[:20], False
            case "disk_full":
                return 200, None, False
        return 200, PICTURE, True


EXPIRED = Failure(
    sent=False, phase=Phase.ANSWER, reason="the claim on the order ran out"
)
CREATE_S = faults.CONNECT_S + 2 * faults.READ_S


def _set(future, value):
    if not future.done():
        future.set_result(value)


def _without_urls(purchase, whole):
    if purchase.word_told != "completed":
        return whole
    body = f'{{"taskId":"{purchase.task_id}","state":"completed"}}'
    return Reply(200, {}, f'{{"code":200,"data":{body}}}'.encode())
