"""Two sessions on one store, in any order of calls, cuts and crashes: paid once."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from support.fakes import FakeClock
from support.shops import CHARGING, Shop
from support.virtual_time import VirtualTimeLoop

from apimodels_async import ApiModelsError, ImageResult
from apimodels_async._core.money.orders import ORDERED_ANEW
from apimodels_async.stores import MemoryStore

KEYS = st.sampled_from(["a", "b"])
SESSIONS = st.sampled_from([0, 1])
FATES = st.sampled_from(
    ["task", "slow task", "fail", "picture", "sync", "refuse", "cut", "unsent", "hang"]
)


class Buyers(RuleBasedStateMachine):
    """Whatever two sessions do, no key is paid for twice unless it was forgotten."""

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.shop, self.callers, self.forgotten = Shop(), [], Counter()
        self.run(self.set_up())

    def run(self, work):
        """Do it, to the end."""
        return self.runner.run(work)

    async def set_up(self):
        """Open both sessions."""
        self.store = MemoryStore(clock=FakeClock().utcnow)
        self.sessions = [self.shop.open(self.store) for _ in range(2)]

    @rule(session=SESSIONS, key=KEYS, way=st.sampled_from(["generate", "submit"]))
    def order(self, session, key, way):
        """Begin to order something under a key."""

        async def begin():
            call = getattr(self.sessions[session].images, way)
            work = call(key, model="gpt-image-2", idempotency_key=key)
            self.callers.append((key, asyncio.create_task(work)))

        self.run(begin())

    @rule(fate=FATES)
    def decide(self, fate):
        """Decide what becomes of the next order that leaves."""
        self.shop.fates.append(fate)

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 5.0, 70.0]))
    def pass_time(self, seconds):
        """Let everybody go on."""
        self.run(asyncio.sleep(seconds))

    @rule(data=st.data())
    def cancel(self, data):
        """Cancel a caller."""
        waiting = [task for _, task in self.callers if not task.done()]
        if waiting:
            data.draw(st.sampled_from(waiting[:3])).cancel()
            self.run(asyncio.sleep(0))

    @rule(session=SESSIONS)
    def close(self, session):
        """Close a session, and open another one."""
        self.run(self.sessions[session].aclose())
        self.sessions[session] = self.shop.open(self.store)

    @rule(session=SESSIONS)
    def die(self, session):
        """Let a session count as dead, although it goes on."""
        parts = self.sessions[session]._runtime.parts
        if parts is not None:
            self.run(self.store.release(parts.orders.owner))

    @rule(session=SESSIONS)
    def recover(self, session):
        """Take over what was left."""

        async def recover():
            async for order in self.sessions[session].recover():
                assert order.record.may_be_charged

        self.run(recover())

    @rule(session=SESSIONS, key=KEYS)
    def forget(self, session, key):
        """Risk paying twice."""
        if self.run(self.sessions[session].forget(key)):
            self.forgotten[key] += 1

    @invariant()
    def is_paid_once(self):
        """A key has one order that may be charged, and one more for each forget."""
        paid = Counter(key for key, fate in self.shop.sent if fate in CHARGING)
        paid += Counter(key for key, fate in self.shop.sent if fate == "sync")
        for key, count in paid.items():
            assert count <= 1 + self.forgotten[key]

    def teardown(self):
        """Everybody ends, and every order that may be charged is on record."""

        async def end():
            for session in self.sessions:
                await session.aclose()
            return await asyncio.gather(
                *(task for _, task in self.callers), return_exceptions=True
            )

        ends = self.run(end())
        self.runner.close()
        for each in ends:
            known = (ApiModelsError, asyncio.CancelledError)
            assert isinstance(each, known) or not isinstance(each, BaseException)
        kept = Counter(
            attempt.record.idempotency_key
            for attempt in self.store._attempts.values()
            if attempt.record.state not in ORDERED_ANEW
        )
        paid = Counter(key for key, fate in self.shop.sent if fate in CHARGING)
        assert all(kept[key] >= count for key, count in paid.items())
        urls = {
            (key, each.url)
            for (key, _), each in zip(self.callers, ends, strict=True)
            if isinstance(each, ImageResult)
        }
        assert len(urls) <= 2 + self.forgotten.total()


def test_nothing_is_paid_for_twice():
    """Neither by cancelling, closing, dying and recovering, nor by all at once."""
    run_state_machine_as_test(
        Buyers, settings=settings(max_examples=60, stateful_step_count=30)
    )
