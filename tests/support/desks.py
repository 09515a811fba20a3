"""Ordering without a session, over a transport that answers as a test says."""

from __future__ import annotations

from support.fakes import Rig

from apimodels_async import RetryPolicy
from apimodels_async._adapters import NoObserver
from apimodels_async._api.checks import BASE_URL
from apimodels_async._io.order_limit import LocalLimit
from apimodels_async._io.pacer import StartPacer
from apimodels_async._io.sender import Sender
from apimodels_async._lost_orders import LostOrders
from apimodels_async._ordering import Ordering
from apimodels_async.webhooks.expected import ExpectedCallbacks


class Record:
    """Where an order is written down: a list of what it is told."""

    idempotency_key = "msg7"
    leave = None
    encoded = None
    elsewhere = False

    def __init__(self, known=None):
        self.known, self.lines = known, []
        self.orders = self

    def hold_open(self, runner):
        """Need not be kept open."""

    async def begin(self, nonce):
        """Take down the nonce; return what is known of the order from before."""
        self.lines.append(("begin", nonce))
        return self.known

    async def accepted(self, task_id):
        """Take down the task."""
        self.lines.append(("accepted", task_id))

    async def ended(self, outcome):
        """Take down the end."""
        self.lines.append(("ended", outcome))

    async def may_have(self, _task_id):
        """Know of no other order."""
        return True

    def settled(self, outcome):
        """Take down how the task ended."""
        self.lines.append(("settled", outcome))

    def found(self, task_id):
        """Take down the task of an order that was lost."""
        self.lines.append(("found", task_id))

    def handed_over(self):
        """Take down that the caller has it."""
        self.lines.append(("handed over",))


class OrderingRig(Rig):
    """A rig that orders; with *callback*, callbacks are expected."""

    def __init__(self, script, *, callback=None, limit=None, observer=None, **more):
        super().__init__(script, **more)
        self.callback = callback
        self.callbacks = callback and ExpectedCallbacks(
            callback, self.tracker, self.clock, self.counters
        )
        limit = limit or LocalLimit()
        sender = Sender(
            self.transport, self.clock, RetryPolicy(), lambda: 1.0, limit, BASE_URL
        )
        self.ordering = Ordering(
            sender,
            self.tracker,
            StartPacer(),
            self.counters,
            self.callbacks,
            observer or NoObserver(),
            LostOrders(sender, self.tracker, self.counters, self.callbacks),
        )
