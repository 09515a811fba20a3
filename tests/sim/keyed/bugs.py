"""Bugs to plant in the store, or between it and the session."""

from __future__ import annotations

import attrs
from sim.adapters import SimAdapters, SimClock, attempts_of, lease_of

from apimodels_async.stores import OrderState

SLOW = 4000
"""How much longer a pause lasts that should be a short one."""


class _Stores(SimAdapters):
    """A store that does something of its own."""

    def store(self, store):
        self._memory = self._life.site.shared.memory
        self._claim, store.claim = store.claim, self.claim
        self._hand_out, store.hand_out = store.hand_out, self.hand_out
        self._ended, store.ended = store.ended, self.ended
        return store

    def claim(self, order, anew):
        return self._claim(order, anew)

    def hand_out(self, scope, owner):
        return self._hand_out(scope, owner)

    async def ended(self, attempt, state, **more):
        await self._ended(attempt, state, **more)


class SellsAgain(_Stores):
    """Grants every order anew."""

    def claim(self, order, anew):
        return self._claim(order, frozenset(OrderState))


class MixesOrders(_Stores):
    """Brings the task of another order."""

    def claim(self, order, anew):
        claim = self._claim(order, anew)
        others = [
            attempt.record.task_id
            for attempt in attempts_of(self._memory)
            if attempt.record.task_id not in {None, claim.record.task_id}
        ]
        if claim.granted or not claim.record.task_id or not others:
            return claim
        mixed = attrs.evolve(
            claim.record, state=OrderState.ACCEPTED, result=None, task_id=others[0]
        )
        return attrs.evolve(claim, record=mixed)


class WritesFailed(_Stores):
    """Takes down what was completed as failed."""

    async def ended(self, attempt, state, **more):
        if state is OrderState.COMPLETED:
            state = OrderState.FAILED
        await self._ended(attempt, state, **more)


class NeverTells(_Stores):
    """Says of every order that it is under way, and lets whoever asks wait long."""

    def clock(self):
        return _Slow(self._life)

    def claim(self, order, anew):
        claim = self._claim(order, anew)
        if claim.granted:
            return claim
        record = attrs.evolve(claim.record, state=OrderState.INTENDED, owned=True)
        return attrs.evolve(claim, record=record)


class _Slow(SimClock):
    async def sleep(self, seconds):
        await super().sleep(seconds * SLOW)


class TakesFromTheLiving(_Stores):
    """Hands out what others are still at."""

    def hand_out(self, scope, owner):
        leases = lease_of(self._memory)
        kept = {**leases}
        for other in [each for each in leases if each != owner]:
            del leases[other]
        try:
            return self._hand_out(scope, owner)
        finally:
            leases.update({**kept, **leases})


class ForgetsAcks(_Stores):
    """Hands out what was dealt with."""

    def hand_out(self, scope, owner):
        for attempt in attempts_of(self._memory):
            attempt.record = attrs.evolve(attempt.record, handed_over=False)
        return self._hand_out(scope, owner)


class LosesUnacked(_Stores):
    """Counts as dealt with what was only handed out."""

    def hand_out(self, scope, owner):
        found = self._hand_out(scope, owner)
        for attempt in attempts_of(self._memory):
            if found is not None and attempt.record.attempt == found.attempt:
                attempt.record = attrs.evolve(attempt.record, handed_over=True)
        return found
