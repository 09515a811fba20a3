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
