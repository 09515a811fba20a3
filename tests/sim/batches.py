"""Users of batches: they read outcomes, leave early, and run the same batch again."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

from sim.outside.vendor import PRICES

from apimodels_async import ImageRequest, SparkPixEdit, SparkPixImage
from apimodels_async.errors import ApiModelsError

PAUSE_S = 30.0
"""Until a batch that was stopped is run again."""
LOST = frozenset({"unknown", "intended"})


def request_for(order, *, twist=False):
    """Return the request value for an order of the plan, or nearly that."""
    prompt, extra = f"o{order.number}", {"note": "twisted"} if twist else {}
    if order.model == "sparkpix-image":
        return SparkPixImage(prompt=prompt, extra=extra)
    if order.model == "sparkpix-image-edit":
        return SparkPixEdit(
            prompt=prompt, images=("https://example.com/a.jpg",), extra=extra
        )
    return ImageRequest(order.model, prompt, {"resolution": "1K", **extra})


class Budget:
    """What a batch has cost so far, over all its runs."""

    def __init__(self, actor):
        self._limit = actor.max_cost
        again = actor.journal and actor.resubmit
        self._name = "budget_of_reruns" if again else "budget_kept"
        self._spent = 0.0

    def charge(self, audit, purchase):
        """Take down a charge."""
        self._spent += purchase.price
        if self._limit is not None and self._spent > self._limit + 1e-6:
            detail = f"{self._spent:.3f} spent of {self._limit}"
            audit.broke(self._name, detail, purchase.order.number)


def price_of(request):
    """Return the vendor's price of a request."""
    model = getattr(request, "model", None)
    if model is None:
        edit = hasattr(request, "images")
        model = "sparkpix-image-edit" if edit else "sparkpix-image"
    return Decimal(str(PRICES[model]))


def journal_of(actor):
    """Return the path of the actor's journal, or None."""
    return Path(f"/journals/{actor.number}") if actor.journal else None


async def run_batch(life, actor, orders, leave):
    """Run a batch, and once or twice again if that is planned and it was stopped."""
    for nth in range(1 + actor.reruns):
        if nth:
            await asyncio.sleep(PAUSE_S)
        run = _Run(life, actor, orders, leave)
        run.allow_again()
        if await run.through():
            return


class _Run:
    """One run of a batch."""

    def __init__(self, life, actor, orders, leave):
        self._life = life
        self._audit = life.audit
        self._actor = actor
        self._orders = orders
        self._leave = leave if leave is not None and leave.how == "break" else None
        self._read = 0
        self._seen = {}
        """Number of each order that has its outcome -> place in the sequence."""

    def allow_again(self):
        """Take down what this run may buy twice, because its user says so."""
        path = journal_of(self._actor)
        for order in self._orders if path and self._actor.resubmit else ():
            state = self._life.disk.state_of(path, f'"prompt":"o{order.number}"')
            if state in LOST:
                self._audit.cases[order.number].allowed += 1

    def _source(self):
        for order in self._orders:
            ahead = self._read - len(self._seen)
            if ahead >= self._actor.max_pending + 1:
                self._audit.broke("batch_bound", f"{ahead} read ahead")
            self._read += 1
            self._audit.asks(order.number, self._life)
            yield request_for(order)

    async def through(self):
        """Return whether nothing is left to do."""
        try:
            return await self._through()
        except ApiModelsError as error:
            self._audit.read(error, self._life)
            return False
        finally:
            for order in self._orders[: self._read]:
                if order.number not in self._seen:
                    self._audit.gone(order.number)

    async def _through(self):
        actor, images = self._actor, self._life.session.images
        batch = images.batch(
            self._source(),
            max_pending=actor.max_pending,
            max_cost=actor.max_cost,
            price=price_of,
            journal=journal_of(actor),
            download_to="/pictures" if actor.download else None,
            retry_failed=actor.resubmit,
            resubmit_unknown=actor.resubmit,
        )
        self._life.batches.append(batch)
        async with batch as outcomes:
            async for outcome in outcomes:
                self._take(outcome)
                if self._leave and len(self._seen) >= self._leave.amount:
                    self._life.site.weather.struck["break"] += 1
                    return True
        if len(self._seen) != len(self._orders):
            detail = f"{len(self._seen)} outcomes of {len(self._orders)} orders"
            self._audit.broke("batch_complete", detail)
        return True

    def _take(self, outcome):
        number = self._orders[outcome.index].number
        if number in self._seen:
            self._audit.broke("batch_complete", f"order {number} ended twice", number)
        self._seen[number] = len(self._seen)
        self._audit.tell(number, outcome.result or outcome.error, self._life)
        if outcome.result is not None and outcome.error is not None:
            self._audit.read(outcome.error, self._life)
