"""
Watches the orders in the store: what was claimed, bought, told, recovered, forgotten.

Theory of operation: every attempt of the store belongs to the call that it was granted
to, and every purchase to the call that sent it (both by a context variable), hence
each purchase to its attempt. What the store says of an attempt is held against them.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from sim.keyed.forgotten import Forgotten

from apimodels_async import ImageResult, TaskHandle
from apimodels_async.errors import InvalidRequestError, OutcomeUnknownError

LEASE_S = 60.0
WAIT_S = LEASE_S + 900.0
"""A caller waits for another's order: its lease, and its tries."""
FREE = frozenset({"refused", "failed"})
LOST = frozenset({"intended", "unknown"})


def key_of(order):
    """Return the idempotency key of an order."""
    return f"k{order.number}"


class Keys:
    """All orders of the store."""

    def __init__(self, site, audit):
        self._site = site
        self._audit = audit
        self._sold = {}
        """Attempt -> its purchases."""
        self._owned = {}
        """Owner -> until when it counts as alive, by the store's clock."""
        self._owners = {}
        """Attempt -> who has sent it, or recovered it last."""
        self._given = {}
        """Attempt that its end was handed over of -> when."""
        self._promised = {}
        """Attempt -> what a caller was told who was told that it costs nothing."""
        self._told = {}
        """Number of an order -> the pictures its callers got."""
        self._had = set()
        """Pictures that somebody has."""
        self._acked = set()
        self.server = Forgotten(site, self)
        self.counts = Counter()

    # --- the store's side; each in the step in which its work is done

    @property
    def _now(self):
        return self._site.shared.now()

    def alive(self, owner):
        """Take down that an owner was heard of."""
        self._owned[owner] = self._now + timedelta(seconds=LEASE_S)

    def gone(self, owner):
        """Take down that an owner has gone."""
        self._owned.pop(owner, None)

    def reverted(self, leases, given, recovered):
        """Take down what the store has forgotten of owners and of what they did."""
        self._owned = leases
        for attempt in given:
            self._given.pop(attempt, None)
        for attempt in recovered:
            self._owners.pop(attempt, None)

    def claimed(self, ask, claim, owner):
        """Take down what a claim came to."""
        if claim.granted:
            self._owners[claim.record.attempt] = owner
            self.server.granted.add(claim.record.attempt)
        if ask is None:
            return
        if claim.granted:
            ask.attempt, ask.seen = claim.record.attempt, None
            self.counts["keyed orders"] += ask.key is not None
        else:
            ask.seen = claim.record.attempt

    def looked(self, ask, order, claim):
        """Take down that a caller has seen what its claim came to."""
        if ask is None or claim.granted:
            return
        now, record = self._site.world.now, claim.record
        if record.digest != order.digest:
            self.counts["other requests"] += 1
            return
        state = record.state.value
        if state == "intended" and record.owned:
            if not ask.under_way:
                ask.under_way, ask.looked_at = True, now
                self.counts["waits"] += 1
            elif now - ask.looked_at > WAIT_S:
                waited = f"{now - ask.looked_at:.0f} s for {order.idempotency_key}"
                self._audit.broke("nobody_waits_for_key", waited, ask.number)
        else:
            self.counts["lost" if state in LOST else "replays"] += 1

    def ended(self, attempt):
        """Hold what the store says of an attempt against what was bought."""
        state = self._state(attempt)
        for purchase in self._sold.get(attempt, ()) if state in FREE else ():
            if purchase.costs:
                detail = f"{purchase.key} is {state} in the store"
                self._audit.broke("key_kept", detail, purchase.order.number)

    def handed_over(self, attempt):
        """Take down that the store counts an attempt as dealt with."""
        self._given.setdefault(attempt, self._site.world.now)

    def forgot(self, key, *, gone):
        """Take down that a user risks paying twice."""
        if gone:
            self.counts["forgotten"] += 1
            self._audit.cases[int(key[1:])].allowed += 1

    def recovered(self, attempt, owner):
        """Take down that an order was handed to a later process."""
        audit = self._audit
        self.counts["recovered"] += 1
        audit.note("recovered", attempt)
        before = self._owners.get(attempt)
        if attempt in self._given:
            audit.broke("recovered_once", f"attempt {attempt} was dealt with before")
        if before not in {None, owner} and self._alive(before):
            audit.broke("recovered_once", f"attempt {attempt} is another's")
        self._owners[attempt] = owner

    def _alive(self, owner):
        until = self._owned.get(owner)
        return until is not None and until > self._now

    def _state(self, attempt):
        record = self._site.shared.attempt(attempt)
        return None if record is None else record.state.value

    # --- the vendor's side

    def bought(self, purchase, ask, case):
        """Take down an order of a process with a store."""
        audit, order = self._audit, purchase.order
        if ask.life.process.store:
            state = None if ask.attempt is None else self._state(ask.attempt)
            if state not in LOST and not self.server.has_no(ask.attempt):
                detail = f"order {order.number} is {state} in the store"
                audit.broke("record_before_order", detail, order.number)
            self._sold.setdefault(ask.attempt, []).append(purchase)
            self.server.bought[purchase] = ask.attempt
            purchase.must_be_free = self._promised.get(ask.attempt, False)
        if ask.key is None:
            return
        others = [
            other
            for other in case.bought
            if other is not purchase
            and not other.has_failed
            and not self.server.excuses(purchase, other)
        ]
        if len(others) >= case.allowed:
            named = [each.key for each in case.bought]
            detail = f"{named} for one key, {case.allowed} allowed"
            audit.broke("key_bought_once", detail, order.number)

    # --- the users' side

    def told(self, ask, case, product, mine):
        """Hold what a caller is told against what others of its key are told."""
        if ask.key is None:
            return
        if isinstance(product, ImageResult):
            self._agrees(ask, case, self._audit.by_url.get(product.url), product.url)
        elif isinstance(product, TaskHandle):
            if product.task_id:
                found = self._audit.by_key.get(product.task_id)
                self._agrees(ask, case, found, product.task_id)
        elif isinstance(product, OutcomeUnknownError):
            return
        elif product.charged is False and not isinstance(product, InvalidRequestError):
            self._denied(ask, product, mine)

    def _agrees(self, ask, case, purchase, name):
        audit, number = self._audit, ask.number
        if purchase is None or purchase not in case.bought:
            if number not in audit.forged:
                audit.broke("key_agrees", f"{ask.key} is told of {name}", number)
            return
        if purchase.twist != ask.twist:
            detail = f"{ask.key} brings another request's {name}"
            audit.broke("key_agrees", detail, number)
        told = self._told.setdefault(number, {})
        told[purchase.key] = purchase
        alive = [
            key
            for key, each in told.items()
            if not each.has_failed and not self.server.is_twin(each)
        ]
        if len(alive) > case.allowed:
            audit.broke("key_agrees", f"{ask.key} is {alive}", number)

    def _denied(self, ask, error, mine):
        """Take down that a caller was told that nothing was charged."""
        if ask.attempt is not None or not ask.under_way or ask.seen is None:
            return
        words = f"its caller was told {error!r}"
        self._promised[ask.seen] = words
        for purchase in self._sold.get(ask.seen, ()):
            if purchase not in mine:
                self._audit.must_be_free(purchase, words)

    def has(self, result):
        """Take down that somebody has a picture."""
        self._had.update(result.urls)

    def acks(self, attempt):
        """Take down that a recovered order is about to be dealt with."""
        self._acked.add(attempt)

    # --- the end

    def end(self):
        """Hold what the store has in the end against what was bought."""
        for attempt, purchases in self._sold.items():
            record = self._site.shared.attempt(attempt)
            if record is None and self.server.is_gone(attempt):
                self.counts["orders forgotten for good"] += len(purchases)
                continue
            for purchase in purchases:
                self._kept(purchase, record)
                self._recoverable(purchase, record)

    def _kept(self, purchase, record):
        audit, number = self._audit, purchase.order.number
        state = record and record.state.value
        named = record and record.task_id in {None, purchase.task_id}
        if purchase.costs and (state in {None, *FREE} or not named):
            if number not in audit.forged:
                detail = f"{purchase.key} is {state} {record and record.task_id}"
                audit.broke("key_kept", detail, number)
            return
        case, order = audit.cases[number], purchase.order
        twin = self.server.is_twin(purchase)
        if order.keyed and purchase.costs and case.allowed == 1 and not twin:
            found = self._site.shared.current(key_of(order))
            if found != record.attempt:
                detail = f"{key_of(order)} names {found}, not {record.attempt}"
                audit.broke("key_kept", detail, number)

    def _recoverable(self, purchase, record):
        """Whoever counts as having it has it, or it is handed over again."""
        attempt = record and record.attempt
        if record is None or not record.handed_over or attempt in self._acked:
            return
        if purchase.costs and purchase.url not in self._had:
            detail = f"{purchase.key} counts as handed over, and nobody has it"
            self._audit.broke("recovered_again", detail, purchase.order.number)
