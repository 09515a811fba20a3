"""
Watches a run: what the vendor sold, what users were told, and whether both agree.

Theory of operation: every purchase belongs to a *case*, the story of one order. When a
user's call about it ends, what he was told is held against the purchases of that call.
What he was not given must be found elsewhere, and goes on a watch list that is looked
through from time to time, until the place it was found in is one that lasts.
"""

from __future__ import annotations

import re

from sim import adapters
from sim.invariants import Case, Record, ids_of, names, texts
from sim.keyed.ask import Ask
from sim.outside.faults import API_KEY, ECHO

from apimodels_async import ImageResult, TaskHandle
from apimodels_async.errors import ApiModelsError

SPACING_S = 2.0 - 1e-6
ROUND_S = 7.0
"""Seconds between two looks at the watch list."""
SETTLING_S = 75.0
"""After its answer an order may wait this long for its callback."""
TASK_ID = re.compile(r"\bt\d+\.\d+\b")


class Audit(Record):
    """All cases of a run."""

    def __init__(self, world, disk, orders, forged, **options):
        super().__init__(world, **options)
        self._disk = disk
        self.forged = forged
        self.keys = None
        self.cases = {number: Case(order.actor) for number, order in orders.items()}
        self.by_url = {}
        self.by_key = {}
        self._watched = {}
        self._looking = False
        self._searched = set()
        self.polls = 0

    # --- the vendor's side

    def bought(self, purchase):
        """Take down that the vendor has taken an order on."""
        case = self.cases[purchase.order.number]
        ask = purchase.asker
        purchase.ask = case.asks if ask is None else ask.serial
        purchase.asked_at = case.asked_at
        alive = sum(old.costs for old in case.bought)
        case.bought.append(purchase)
        self.by_url[purchase.url] = self.by_key[purchase.key] = purchase
        self.note("bought", purchase.order.number, purchase.key)
        if ask is not None:
            self.keys.bought(purchase, ask, case)
        keyed = ask is not None and ask.key is not None
        if purchase.costs and alive >= case.allowed and not keyed:
            keys = [each.key for each in case.bought]
            self.broke("bought_once", f"{keys} for one order", purchase.order.number)
        state = self._state(case, purchase.order.number)
        if case.journal is not None and state != "intended":
            detail = f"order {purchase.order.number} is {state} in the journal"
            self.broke("record_before_order", detail, purchase.order.number)
        if purchase.ask not in case.waiting:
            self._watch(purchase)

    def charged(self, purchase):
        """Take down that money has left the account."""
        self.note("charged", purchase.order.number, purchase.key)
        if purchase.must_be_free:
            self.broke(
                "truth_about_money",
                f"{purchase.key} is charged, but {purchase.must_be_free}",
                purchase.order.number,
            )
        case = self.cases[purchase.order.number]
        if case.batch is not None:
            case.batch.charge(self, purchase)

    def polled(self, polled, task_id, entry, purchase):
        """Take down that a session asks for a task."""
        now = self._world.now
        last, before = polled.get(task_id, (-9.0, None))
        polled[task_id] = now, entry
        self.polls += 1
        if now - last < SPACING_S and not (purchase is not None and purchase.told):
            name = "poll_spacing" if before is entry else "respacing"
            self.broke(name, f"{task_id} after {now - last:.3f} s")

    def answered_poll(self, purchase, word):
        """Take down that a poll was answered."""
        self.note("poll", purchase.key, word)
        if word in {"completed", "failed", "withdrawn"}:
            purchase.told = True

    # --- the users' side

    def asks(self, number, life, **more):
        """Take down that a user orders, and return that call."""
        case = self.cases[number]
        case.asks += 1
        case.asked_at = self._world.now
        case.waiting[case.asks] = life
        self.note("asks", number, case.asks)
        return Ask(number, case.asks, life, **more)

    def tell(self, number, product, process, ask=None):
        """Take down what a user gets for an order: a result, a handle, or an error."""
        case = self.cases[number]
        serial = case.asks if ask is None else ask.serial
        case.waiting.pop(serial, None)
        now = [each for each in case.bought if each.ask == serial]
        if ask is not None:
            self.keys.told(ask, case, product, now)
        if isinstance(product, ImageResult):
            self.note("result", number, product.task_id or product.url)
            self._own(number, case, product)
        elif isinstance(product, TaskHandle):
            self.note("handle", number, product.task_id)
        else:
            case.end = f"was told {type(product).__name__}"
            self.note("error", number, repr(product))
            self.read(product, process)
            self._money(number, self._meant(case, product, now, ask), product)
            self._own_task(number, case, product)
        for purchase in now if case.journal is None else ():
            if not names(product, purchase):
                self._watch(purchase)

    def _meant(self, case, error, now, ask):
        """Return the purchases that an error may be about, its key's others too."""
        if ask is None or ask.key is None:
            return now
        if getattr(error, "charged", None):
            return case.bought
        named = self.by_key.get(getattr(error, "task_id", None))
        return now if named is None or named in now else [*now, named]

    def _own(self, number, case, result):
        self.keys.has(result)
        if result.url not in {purchase.url for purchase in case.bought}:
            name = "forged_callback" if number in self.forged else "own_result"
            self.broke(name, f"order {number} got {result.url}", number)

    def _own_task(self, number, case, error):
        named, bought = (
            getattr(error, "task_id", None),
            {purchase.key for purchase in case.bought},
        )
        if named and named not in bought and number not in self.forged:
            self.broke("own_task", f"order {number} is told of {named}", number)

    def _money(self, number, bought, error):
        charged = getattr(error, "charged", None)
        if charged is False:
            for purchase in bought:
                self.must_be_free(purchase, f"its user was told {error!r}")
        if charged and not any(purchase.charged for purchase in bought):
            detail = f"order {number} was not charged, but {error!r}"
            self.broke("truth_about_money", detail, number)

    def must_be_free(self, purchase, words):
        """Take down that somebody was told so."""
        purchase.must_be_free = words
        if purchase.charged:
            self.charged(purchase)

    def later(self, number, task_id, product, process):
        """Take down what the handle of a task brings a user."""
        purchase = self.by_key.get(task_id)
        self.note("later", task_id, type(product).__name__)
        if not isinstance(product, ImageResult):
            self.read(product, process)
            if purchase is not None:
                self._money(number, [purchase], product)
        elif purchase is not None and purchase.url not in product.urls:
            self.broke("own_result", f"{task_id} became {product.url}", number)
        else:
            self.keys.has(product)
            self._watched.pop(task_id, None)  # somebody has it now

    def gone(self, number, ask=None):
        """Take down that a user who ordered has left without being told anything."""
        case = self.cases[number]
        serial = case.asks if ask is None else ask.serial
        case.waiting.pop(serial, None)
        case.end = "left"
        self.note("gone", number)
        for purchase in case.bought if case.journal is None else ():
            if purchase.ask == serial:
                self._watch(purchase)

    def read(self, error, process=None):
        """Look at an error that a user gets."""
        if process is not None:
            process.named.update(ids_of(error))
        if not isinstance(error, ApiModelsError):
            self.broke("typed_errors", f"a user got {error!r}")
        text = "".join(texts(error, 0))
        if type(error) not in self._searched and API_KEY not in text:
            self._searched.add(type(error))  # one of each: frames take long
            text = adapters.locals_of(error)
        self.spelled(text, f"in {type(error).__name__}")

    def spelled(self, text, where):
        """Look for the key in a text that leaves the library."""
        if API_KEY in text:
            echo = f"{ECHO} {API_KEY}" in text
            self.broke("echo_nowhere" if echo else "key_nowhere", where)

    # --- what nobody was given

    def _watch(self, purchase):
        if purchase.costs:
            self._watched[purchase.key] = purchase
            if not self._looking:
                self._looking = True
                self._world.at(self._world.now + ROUND_S, self._look)

    def _look(self):
        self._looking = False
        for key, purchase in list(self._watched.items()):
            verdict = self._find(purchase)
            if verdict is None:
                continue  # it is, but not for ever
            del self._watched[key]
            self.note("found", key, verdict)
            if not verdict:
                number = purchase.order.number
                session = "closed" if purchase.process.closed else "open"
                detail = (
                    f"{key} of order {number} is nowhere, its user "
                    f"{self.cases[number].end}, the session is {session}"
                )
                self.broke("findable", detail, number)
        if self._watched:
            self._looking = True
            self._world.at(self._world.now + ROUND_S, self._look)

    def _find(self, purchase):
        """Return where it is for good; None: for now it is all right; "": nowhere."""
        process, key = purchase.process, purchase.key
        if process.loop.dead:
            return "lost with its process, unless a store has it"
        if key in process.named:
            return "an error"
        place = process.place_of(purchase)
        if place is not None:
            return place
        if not process.closed:
            if adapters.entry_of(process.session, key) is not None:
                return None
            answered, now = purchase.answered_at, self._world.now
            if answered is None or now < answered + SETTLING_S + process.slept:
                return None
        return "a warning" if key in process.logged else ""

    def _state(self, case, number):
        return self._disk.state_of(case.journal, f'"prompt":"o{number}"')

    def end(self):
        """Look at what is left when everybody is through."""
        self.keys.end()
        for number, case in sorted(self.cases.items()):
            if case.journal is None:
                continue
            state = self._state(case, number)
            alive = [purchase.key for purchase in case.bought if purchase.costs]
            if alive and state in {None, "refused", "failed"}:
                detail = f"{alive} of order {number} is {state} in the journal"
                self.broke("findable", detail, number)
