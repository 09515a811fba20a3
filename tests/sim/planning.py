"""Makes the plan of a seed: how often what happens, and what goes wrong how often."""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from random import Random

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

ORDERS = 150
"""Orders in one run; campaigns make many runs."""
TASK_MODELS = ("gpt-image-2", "flux-2-klein-4b", "brand-new-model")
SYNC_MODELS = ("sparkpix-image", "sparkpix-image-edit")
FATES = {
    "completed": 80,
    "failed": 8,
    "stuck": 1,
    "strange": 4,  # a word nobody knows on the way
    "withdrawn": 1,  # ends with a word nobody knows, and a reason
    "instant": 4,  # done in the answer to the order
    "null_url": 1,
}
CREATE_FAULTS = {
    "no_connection": 6,
    "bad_certificate": 1,
    "lost_before": 4,
    "lost_after": 4,
    "cut": 4,
    "hangs_before": 2,
    "hangs_after": 2,
    "slow": 4,
    "shifted": 4,
    "400": 2,
    "401": 1,
    "402": 1,
    "403": 1,
    "404": 1,
    "409": 1,
    "429": 6,
    "429_wait": 4,
    "429_long": 1,
    "408_after": 1,
    "500": 2,
    "502_after": 3,
    "503": 2,
    "307": 1,
    "200_402": 1,
    "200_429": 2,
    "200_500_after": 2,
    "garbage_after": 2,
    "half_json_after": 2,
    "empty_after": 1,
    "zipped_after": 1,
}
POLL_FAULTS = {
    "lost_before": 6,
    "cut": 5,
    "hangs_before": 1,
    "slow": 6,
    "429": 2,
    "429_wait": 1,
    "500": 5,
    "502": 5,
    "503": 1,
    "404": 5,
    "403_page": 1,
    "200_500": 2,
    "garbage": 5,
    "half_json": 3,
    "empty": 2,
    "zipped": 1,
    "shifted": 8,
    "no_urls": 5,
    "no_connection": 5,
    "307": 1,
}
KEY_FAULTS = {"401": 3, "200_401": 2, "403": 2, "echo": 1}
FILE_FAULTS = {"404": 3, "503": 3, "cut": 4, "page": 2, "hangs": 1, "disk_full": 2}
CALLBACK_FAULTS = {"lost": 4, "twice": 2, "wrong": 3, "forged": 1}
STORMS = {"down": 4, "429": 3, "503": 3, "slow": 3, "disk_full": 2, "slow_disk": 2}
STORE_STORMS = {"disk_full": 2, "slow_disk": 2, "flaky_disk": 3}
OUTAGES = {"cut": 3, "hangs": 2, "away": 2, "crash": 3, "failover": 4}
MANNERS = {
    "await": 8,
    "events": 3,
    "pair": 3,
    "patience": 4,
    "forget": 2,
    "token": 2,
}


def make(seed, orders=ORDERS, *, redis=False):
    """
    Return the plan of *seed*, with *orders* orders.

    Args:
        redis: Whether its processes have their store on a Redis server, which fails.
    """
    return _Maker(Random(seed), orders, redis=redis).make()


class _Maker:
    def __init__(self, rng, orders, *, redis):
        self._rng = rng
        self._wanted = orders
        self._plan = []
        self._orders = 0
        self._actors = 0
        self._span = 10.0 + orders * rng.uniform(0.03, 0.2)
        self._faulty = rng.choice((0.0, 0.2, 0.4, 0.7))
        self._stores = rng.random() < 0.5 or redis
        self._redis = redis
        self._touchy = rng.random() < 0.1  # the key may be refused

    def make(self):
        rng = self._rng
        processes = [self._process(n) for n in range(rng.choice(self._sizes()))]
        self._plan += processes
        self._stored = [each for each in processes if each.store]
        while self._orders < self._wanted:
            self._actor(rng.choice(processes))
        for process in processes:
            if rng.random() < 0.25:
                patience = rng.choice((None, None, rng.uniform(0, 3)))
                close = Close(process.number, self._moment(2.0), patience)
                self._plan.append(close)
            while rng.random() < 0.3:
                death = Death(process.number, self._moment(2.0), rng.randrange(40))
                self._plan.append(death)
        while rng.random() < 0.4:
            storm = Storm(self._moment(2.0), rng.uniform(1, 10), self._pick(STORMS))
            self._plan.append(storm)
        for process in self._stored:
            self._upset(process)
        if self._redis:
            self._serve()
        return tuple(self._plan)

    def _serve(self):
        """Plan the server that the store is on, and what happens to it."""
        rng = self._rng
        server = Server(
            rng.getrandbits(32),
            flush=rng.choice(("always", "everysec")),
            waits=rng.random() < 0.6,
            replicas=rng.choice((0, 0, 1)),
            trouble=rng.choice((0.0, 0.01, 0.05)),
        )
        self._plan.append(server)
        while rng.random() < 0.8:
            seconds = rng.choice((rng.uniform(0, 3), rng.uniform(0, 30)))
            kind = self._pick(OUTAGES)
            self._plan.append(Outage(self._moment(2.0), seconds, kind, rng.random()))

    def _sizes(self):
        return (1, 2, 2, 3, 3) if self._stores else (1, 1, 1, 2, 3)

    def _upset(self, process):
        """Plan what stores are there for: deaths, stopped processes, wrong clocks."""
        rng, number = self._rng, process.number
        while rng.random() < 0.5:
            death = Death(number, self._moment(4.0), rng.randrange(40))
            self._plan.append(death)
        while rng.random() < 0.3:
            seconds = rng.choice((rng.uniform(1, 60), rng.uniform(50, 200)))
            nap = Nap(number, self._moment(2.0), seconds, rng.random() < 0.5)
            self._plan.append(nap)
        while rng.random() < 0.3:
            whose = rng.choice((number, number, None))
            jump = Jump(whose, self._moment(2.0), rng.uniform(-300, 300))
            self._plan.append(jump)
        while rng.random() < 0.3:
            kind = self._pick(STORE_STORMS)
            self._plan.append(Storm(self._moment(2.0), rng.uniform(1, 20), kind))

    def _moment(self, share=1.0):
        return self._rng.uniform(0, self._span * share)

    def _pick(self, weights):
        names, sums = _cumulated(tuple(weights.items()))
        return self._rng.choices(names, cum_weights=sums)[0]

    def _process(self, number):
        rng = self._rng
        return Process(
            number,
            seed=rng.getrandbits(32),
            interval=rng.choice((2.0, 2.5, 2.5, 3.0)),
            deadline=rng.choice((100.0, 200.0)),
            connections=rng.choice((4, 20, 100, 100)),
            callbacks=rng.random() < 0.3,
            learned=rng.random() < 0.2,
            **self._store(),
        )

    def _store(self):
        rng = self._rng
        if not self._stores or rng.random() < 0.15:
            return {}
        return {
            "store": True,
            "trouble": rng.choice((0.0, 0.0, 0.01, 0.05)),
            "acks": rng.choice((1.0, 0.7, 0.3)),
        }

    def _actor(self, process):
        rng, self._actors = self._rng, self._actors + 1
        number, at = self._actors, self._moment()
        if rng.random() < 0.06:
            actor = Actor(number, process.number, at, "batch", **self._batch())
            for _ in range(rng.randint(3, 30)):
                self._order(number, process)
        elif rng.random() < 0.05:
            actor = Actor(number, process.number, at, "attach", self._pick(MANNERS))
            self._plan.append(actor)
            return
        else:
            kind = rng.choice(("generate", "submit"))
            actor = Actor(
                number,
                process.number,
                at,
                kind,
                self._pick(MANNERS),
                again=rng.random() < 0.3,
                download=rng.random() < 0.15,
                **self._keyed(process),
            )
            keyed = process.store and rng.random() < 0.6
            self._order(number, process, tasks_only=kind == "submit", keyed=keyed)
        self._plan.append(actor)
        if rng.random() < 0.25:
            self._plan.append(self._leave(actor))
        order = self._last
        while order.keyed and order.actor == number and rng.random() < 0.45:
            self._repeat(order, at)

    def _keyed(self, process):
        rng = self._rng
        if not process.store:
            return {}
        return {"retries": rng.randrange(3), "returns": rng.random() < 0.5}

    def _repeat(self, order, at):
        """Plan that somebody orders the same again, somewhere."""
        rng, self._actors = self._rng, self._actors + 1
        process = rng.choice(self._stored)
        sync = order.model in SYNC_MODELS
        late = rng.choice((0.0, 0.0, rng.uniform(0, 3), rng.uniform(0, 100)))
        actor = Actor(
            self._actors,
            process.number,
            at + late,
            "generate" if sync else rng.choice(("generate", "submit")),
            self._pick(MANNERS),
            again=rng.random() < 0.3,
            of=order.number,
            twist=rng.random() < 0.1,
            **self._keyed(process),
        )
        self._plan.append(actor)
        if rng.random() < 0.15:
            self._plan.append(self._leave(actor))

    def _batch(self):
        rng = self._rng
        journal = rng.random() < 0.5
        return {
            "journal": journal,
            "max_pending": rng.choice((1, 3, 8, 20)),
            "max_cost": rng.choice((None, None, 0.1, 0.3)),
            # A journal's files are looked for in a thread, and there is none.
            "download": not journal and rng.random() < 0.3,
            "reruns": rng.randrange(3) if journal else 0,
            "resubmit": rng.random() < 0.3,
        }

    def _leave(self, actor):
        rng = self._rng
        hows = ("steps", "steps", "time", "timeout")
        how = rng.choice((*hows, "break") if actor.kind == "batch" else hows)
        amount = {
            "steps": int(rng.choice((60, 1000, 5000)) * rng.random()),
            "break": rng.randrange(5),
        }.get(how, rng.choice((rng.uniform(0, 1), rng.uniform(0, 60))))
        return Leave(actor.number, how, amount, twice=rng.random() < 0.2)

    def _order(self, actor, process, *, tasks_only=False, keyed=False):
        rng, self._orders = self._rng, self._orders + 1
        number = self._orders
        sync = not tasks_only and rng.random() < 0.2
        order = Order(
            number,
            actor,
            seed=rng.getrandbits(32),
            model=rng.choice(SYNC_MODELS if sync else TASK_MODELS),
            queue_s=rng.uniform(0, 5),
            work_s=rng.uniform(3, 90),
            fate=self._pick(FATES),
            keyed=keyed,
        )
        self._plan.append(order)
        self._last = order
        while rng.random() < self._faulty:
            self._plan.append(self._fault(order, process))

    def _fault(self, order, process):
        rng, roll = self._rng, self._rng.random()
        if roll < 0.25:
            nth = rng.choice((1, 1, 1, 2))
            return Fault(order.number, "create", nth, self._pick(CREATE_FAULTS))
        if roll < 0.8:
            table = KEY_FAULTS if self._touchy and roll < 0.4 else POLL_FAULTS
            nth = 1 + int(rng.expovariate(0.25))
            return Fault(order.number, "poll", nth, self._pick(table))
        if roll < 0.9 and process.callbacks:
            kind = self._pick(CALLBACK_FAULTS)
            return Fault(order.number, "callback", rng.randint(1, 2), kind)
        return Fault(order.number, "file", rng.randint(1, 2), self._pick(FILE_FAULTS))


@cache
def _cumulated(weights):
    """Return the names, and the sums of their weights so far."""
    names, shares = zip(*weights, strict=True)
    return names, tuple(accumulate(shares))
