"""A store beside a plain mapping: whatever is done to both, they say the same."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.orders import PICTURE, SCOPE, begin, make_store
from support.redis import SERVERS, needs_redis

from apimodels_async._core.money.orders import BEFORE, ENDED, ORDERED_ANEW
from apimodels_async.stores import HistoryQuery, OrderState

KEYS = st.sampled_from(["a", "b", "c"])
OWNERS = st.sampled_from(["us", "them"])
ENDS = st.sampled_from([each for each in OrderState if each in BEFORE])
INTENDED = OrderState.INTENDED


class Orders(RuleBasedStateMachine):
    """Everything that sessions do to a store, in any order."""

    kind = "memory"

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.store = make_store(self.kind, self.folder)
        self.run(self.store.open())
        self.attempts, self.current, self.alive = {}, {}, set()

    def run(self, work):
        """Do it, to the end."""
        return self.runner.run(work)

    def some(self, data):
        """Return the number of an attempt."""
        return data.draw(st.sampled_from(sorted(self.attempts)))

    @rule(key=KEYS, owner=OWNERS)
    def begin(self, key, owner):
        """Ask for leave to order."""
        claim = self.run(begin(self.store, key, owner=owner))
        self.alive.add(owner)
        number = self.current.get(key)
        free = number is None or self.attempts[number]["state"] in ORDERED_ANEW
        assert claim.granted is free
        if free:
            assert claim.record.attempt > max(self.attempts, default=0)
            self.current[key] = claim.record.attempt
            self.attempts[claim.record.attempt] = {
                "key": key,
                "owner": owner,
                "state": INTENDED,
                "given": False,
            }
        else:
            assert claim.record.attempt == number

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), state=ENDS)
    def say(self, data, state):
        """Say what became of an attempt, old or new."""
        number = self.some(data)
        if state is OrderState.ACCEPTED:
            self.run(self.store.accepted(number, "t1"))
        else:
            result = PICTURE if state is OrderState.COMPLETED else None
            self.run(self.store.ended(number, state, result=result))
        if self.attempts[number]["state"] in BEFORE[state]:
            self.attempts[number]["state"] = state

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def hand_over(self, data):
        """Say that somebody has it."""
        number = self.some(data)
        self.run(self.store.handed_over(number))
        self.attempts[number]["given"] = True

    @rule(key=KEYS)
    def forget(self, key):
        """Let a key name nothing."""
        known = self.current.pop(key, None) is not None
        assert self.run(self.store.forget(SCOPE, key)) is known

    @rule(owner=OWNERS)
    def release(self, owner):
        """Let an owner go."""
        self.run(self.store.release(owner))
        self.alive.discard(owner)

    @rule(owner=OWNERS)
    def recover(self, owner):
        """Take over what a dead one left."""
        found = self.run(self.store.recover(SCOPE, owner))
        self.alive.add(owner)
        left = [
            number
            for number, each in sorted(self.attempts.items())
            if each["state"] not in ORDERED_ANEW
            and not each["given"]
            and each["owner"] not in self.alive
        ]
        assert (found and found.attempt) == (left[0] if left else None)
        if left:
            taken = self.attempts[left[0]]
            taken["owner"] = owner
            if taken["state"] is INTENDED:  # whether it was sent, nobody knows
                taken["state"] = OrderState.UNKNOWN

    @rule()
    def prune(self):
        """Delete what has ended."""
        old = {n for n, each in self.attempts.items() if each["state"] in ENDED}
        assert self.run(self.store.prune(timedelta(seconds=-1))) == len(old)
        self.attempts = {n: a for n, a in self.attempts.items() if n not in old}
        self.current = {k: n for k, n in self.current.items() if n not in old}

    @rule()
    def reopen(self):
        """Close it and open it again."""
        self.run(self.store.aclose())
        self.run(self.store.open())

    @invariant()
    def says_the_same(self):
        """Every attempt is listed as it is, and every key names what it names."""
        found = self.run(
            self.store.history(SCOPE, HistoryQuery(), before=None, limit=1000)
        )
        assert [record.attempt for record in found] == sorted(self.attempts)[::-1]
        for record in found:
            known = self.attempts[record.attempt]
            assert record.state is known["state"]
            assert record.handed_over is known["given"]
            assert record.owned is (known["owner"] in self.alive)
            assert record.idempotency_key == known["key"]
        for key in ("a", "b", "c"):
            named = self.run(self.store.find(SCOPE, key))
            assert (named and named.attempt) == self.current.get(key)

    def teardown(self):
        """Leave nothing behind."""
        self.run(self.store.aclose())
        self.runner.close()
        shutil.rmtree(self.folder)


class SqliteOrders(Orders):
    """The same, in a file."""

    kind = "sqlite"


def test_a_store_in_memory_is_a_plain_mapping():
    """Whatever is done to it, it says what a mapping would."""
    run_state_machine_as_test(Orders)


def test_a_store_in_a_file_is_a_plain_mapping():
    """Also when it is closed and opened in between."""
    few = settings(max_examples=12, stateful_step_count=25)
    run_state_machine_as_test(SqliteOrders, settings=few)


class RedisOrders(Orders):
    """The same, in a server."""

    kind = SERVERS[0]


@needs_redis
def test_a_store_on_redis_is_a_plain_mapping():
    """As any other store."""
    few = settings(max_examples=40, stateful_step_count=25)
    run_state_machine_as_test(RedisOrders, settings=few)
