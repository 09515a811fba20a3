"""The ledger under any order of events, in virtual time."""

from __future__ import annotations

import math

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from apimodels_async._core.polling.entry import Entry
from apimodels_async._core.polling.grid import TICK_S
from apimodels_async._core.polling.ledger import SPREAD_MAX, Ledger
from apimodels_async.errors import (
    ApiModelsError,
    AuthenticationError,
    ConnectionFailedError,
    GenerationFailedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    SessionClosedError,
    TaskNotFoundError,
    TaskTimeoutError,
    TransportTimeoutError,
    UnexpectedResponseError,
)
from apimodels_async.models import ImageResult, TaskSnapshot, TaskState

EPSILON = 1e-6
GRACE_S = 30.0

# name of an answer -> what the API or the network says about one task
ANSWERS = {
    "pending": lambda task_id: TaskSnapshot(task_id, TaskState.PENDING),
    "processing": lambda task_id: TaskSnapshot(task_id, TaskState.PROCESSING),
    "unknown word": lambda task_id: TaskSnapshot(task_id, TaskState("moderating")),
    "completed": lambda task_id: TaskSnapshot(
        task_id, TaskState.COMPLETED, ImageResult(urls=(f"https://a/{task_id}",))
    ),
    "failed": lambda task_id: TaskSnapshot(
        task_id, TaskState.FAILED, error=GenerationFailedError("no", task_id=task_id)
    ),
    "404": lambda _: NotFoundError("unknown", status=404, code=404),
    "no urls": lambda task_id: UnexpectedResponseError(
        "no URLs", task_id=task_id, status=200, charged=True
    ),
    "500": lambda _: ServerError("down", status=500),
    "429": lambda _: RateLimitError("slow", status=429, retry_after=3.0),
    "timeout": lambda _: TransportTimeoutError("silence"),
    "reset": lambda _: ConnectionFailedError("reset"),
    "html": lambda _: UnexpectedResponseError("html", status=200),
    "firewall": lambda _: PermissionDeniedError("html", status=403),
}
KEY_REFUSED = {
    "401": AuthenticationError("no", status=401, code=401),
    "403": PermissionDeniedError("no", status=403, code=403),
}
STRIKES = {"404", "no urls"}
SILENCE = {"timeout", "reset"}
SAID = [*sorted(ANSWERS), *["404", "no urls", "pending"] * 4]  # three in a row are rare


class LedgerMachine(RuleBasedStateMachine):
    """A tracker that does anything in any order, and remembers what must hold."""

    flying = Bundle("flying")  # entries being polled
    late = Bundle("late")  # entries that were answered or settled before

    def __init__(self):
        super().__init__()
        self.now = 1000.0
        self.count = 0
        self.pending = {}  # task id -> entry
        self.polled = set()  # ids of entries whose poll is under way
        self.settled = {}  # entry -> outcome
        self.strikes = {}  # entry -> answers of the same kind in a row
        self.draws = []
        self.refusals = []  # of the key, since the last good answer

    @initialize(
        interval=st.sampled_from([2.0, 2.5, 3.0]),
        deadline=st.sampled_from([20.0, 90.0, 1800.0]),
    )
    def start(self, interval, deadline):
        self.interval, self.deadline = interval, deadline
        self.ledger = Ledger(interval, deadline, self.draw)

    def draw(self):
        return self.draws.pop() if self.draws else 0.0

    # --- what may happen ----------------------------------------------------------

    def _watch(self, entry):
        self.ledger.watch(entry, self.now)
        self.pending[entry.task_id] = entry
        self.strikes[entry] = []

    @rule(attached=st.booleans())
    def watch(self, attached):
        """Take up a task that is new to the ledger."""
        self.count += 1
        self._watch(Entry(f"clx{self.count}", attached=attached))

    @precondition(lambda self: any(e.task_id not in self.pending for e in self.settled))
    @rule(data=st.data())
    def attach_again(self, data):
        """Take up a task that has ended before."""
        ended = sorted({entry.task_id for entry in self.settled} - {*self.pending})
        self._watch(Entry(data.draw(st.sampled_from(ended)), attached=True))

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def hint(self, data):
        """Hear that a task may have ended, whether it is being polled or not."""
        entry = self.pending[data.draw(st.sampled_from([*self.pending]))]
        self.ledger.hint(entry, self.now)

    @rule(seconds=st.floats(0, 5) | st.floats(0, 100) | st.just(2.5))
    def pass_time(self, seconds):
        """Let time go by."""
        self.now += seconds

    @rule(which=st.sampled_from(["next_due", "next_deadline"]))
    def pass_time_exactly(self, which):
        """Sleep as long as the ledger says, if it says anything."""
        self.now = max(self.now, min(getattr(self.ledger, which)(), self.now + 3600))

    @rule(target=flying, lag=st.floats(0, 3))
    def take_due(self, lag):
        """Start the polls that are due, some time after they were handed out."""
        entries = self.ledger.due(self.now)
        assert sorted({e.task_id for e in entries}) == sorted(
            e.task_id for e in entries
        )
        self.now += lag
        for entry in entries:
            assert not entry.done
            assert entry is self.pending[entry.task_id]
            assert entry not in self.polled, "two polls of one task"
            assert self.now >= entry.started_at + self.interval - EPSILON
            self.polled.add(entry)
            entry.started_at = self.now
        return multiple(*entries)

    @rule(
        target=late,
        entry=consumes(flying),
        answer=st.sampled_from(SAID),
        draw=st.floats(0, 1),
    )
    def answer(self, entry, answer, draw):
        """Answer a poll, whether its task is still pending or not."""
        self.draws = [draw]
        was_pending = entry not in self.settled
        self.polled.discard(entry)
        found = self.ledger.apply(entry, ANSWERS[answer](entry.task_id), self.now)
        if not was_pending:
            assert found == []
            return entry
        if isinstance(ANSWERS[answer](entry.task_id), TaskSnapshot):
            self.refusals.clear()
        if answer not in SILENCE:
            again = self.strikes[entry][:1] == [answer]
            self.strikes[entry] = [*(self.strikes[entry] if again else []), answer]
        young = not entry.attached and self.now < entry.watched_at + GRACE_S
        ends = answer in {"completed", "failed"} or (
            answer in STRIKES
            and len(self.strikes[entry]) >= 3
            and (answer == "no urls" or not young)
        )
        assert ([entry] if ends else []) == found
        if ends:
            self._settles(found)
            kind = {
                "completed": ImageResult,
                "failed": GenerationFailedError,
                "404": TaskNotFoundError,
                "no urls": UnexpectedResponseError,
            }[answer]
            assert kind is type(entry.outcome)
        else:
            wait = entry.due_at - entry.started_at
            assert wait >= self.interval - EPSILON
            late = self.now - entry.started_at
            longest = max(late, self.interval * (1 + SPREAD_MAX))
            assert wait <= longest + TICK_S + EPSILON
        return entry

    @rule(entry=late, answer=st.sampled_from(sorted(ANSWERS)))
    def answer_twice(self, entry, answer):
        """Answer a poll of a settled task once more, as a broken tracker might."""
        if entry in self.settled:
            reply = ANSWERS[answer](entry.task_id)
            assert self.ledger.apply(entry, reply, self.now) == []

    @rule(entry=consumes(flying), how=st.sampled_from(sorted(KEY_REFUSED)))
    def refuse_key(self, entry, how):
        """Answer a poll with a refused key."""
        was_pending = entry not in self.settled
        self.polled.discard(entry)
        found = self.ledger.apply(entry, KEY_REFUSED[how], self.now)
        if not was_pending:
            assert found == []
            return
        self.strikes[entry] = []
        self.refusals.append(self.now)
        lasted = self.now - self.refusals[0]
        if len(self.refusals) < 3 or lasted < self.interval:
            assert found == []
            return
        assert len(self.pending) == len(found)
        assert {entry.outcome.charged for entry in found} == {None}
        self.refusals.clear()
        self._settles_all(found, type(KEY_REFUSED[how]))

    @rule()
    def expire(self):
        """Settle what is past its deadline: exactly that."""
        overdue = {
            entry
            for entry in self.pending.values()
            if self.now >= entry.watched_at + self.deadline
        }
        found = self.ledger.expire(self.now)
        assert overdue == {*found}
        for entry in found:
            assert TaskTimeoutError is type(entry.outcome)
            assert entry.task_id == entry.outcome.task_id
        self._settles(found)

    @precondition(lambda self: len(self.settled) > 3)
    @rule()
    def close(self):
        """Close the ledger; it may go on, as a new session would."""
        found = self.ledger.close(
            SessionClosedError("closed", task_ids=(*self.ledger,))
        )
        assert len(self.pending) == len(found)
        self._settles_all(found, SessionClosedError)

    def _settles_all(self, found, kind):
        self._settles(found)
        errors = [entry.outcome for entry in found]
        assert {kind} >= {type(error) for error in errors}
        assert [entry.task_id for entry in found] == [e.task_id for e in errors]
        assert len(found) == len({id(error) for error in errors})

    def _settles(self, found):
        for entry in found:
            assert entry not in self.settled, "settled twice"
            assert isinstance(entry.outcome, (ImageResult, ApiModelsError))
            self.settled[entry] = entry.outcome
            del self.pending[entry.task_id]

    # --- what always holds --------------------------------------------------------

    @invariant()
    def no_id_is_lost(self):
        """Every task that was watched is pending or settled."""
        assert [*self.pending] == [*self.ledger]
        assert len(self.pending) == len(self.ledger)
        for task_id, entry in self.pending.items():
            assert entry is self.ledger.get(task_id)
            assert not entry.done

    @invariant()
    def no_outcome_changes(self):
        """How a task ended never changes."""
        for entry, outcome in self.settled.items():
            assert outcome is entry.outcome

    @invariant()
    def nobody_is_forgotten(self):
        """The next due time is never after that of any task not being polled."""
        waiting = [e for e in self.pending.values() if e not in self.polled]
        due = min((entry.due_at for entry in waiting), default=math.inf)
        assert self.ledger.next_due() <= due + EPSILON
        for entry in waiting:
            since = max(entry.watched_at, entry.started_at)
            assert entry.due_at >= entry.started_at + self.interval - EPSILON
            longest = self.interval * (1 + SPREAD_MAX)
            assert entry.due_at <= max(since, self.now) + longest + TICK_S + EPSILON

    @invariant()
    def no_deadline_is_missed(self):
        """The next deadline is never after that of any pending task."""
        first = min(
            (e.watched_at + self.deadline for e in self.pending.values()),
            default=math.inf,
        )
        assert self.ledger.next_deadline() <= first

    def teardown(self):
        """In the end everything is found: what waits is due, and all of it expires."""
        if not hasattr(self, "ledger"):
            return
        waiting = {e for e in self.pending.values() if e not in self.polled}
        self.now += self.interval * (1 + SPREAD_MAX) + TICK_S
        assert waiting == {*self.ledger.due(self.now)}
        self.now += self.deadline
        assert {*self.pending.values()} == {*self.ledger.expire(self.now)}
        assert len(self.ledger) == 0
        assert math.inf == self.ledger.next_deadline()


LedgerMachine.TestCase.settings = settings(stateful_step_count=60)
TestLedger = LedgerMachine.TestCase
