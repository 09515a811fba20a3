"""What must hold in every run, and what is known not to hold yet."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

from apimodels_async import ImageResult, TaskHandle
from apimodels_async.errors import OutcomeUnknownError

DEPTH_MAX = 8
"""Causes of causes."""
GATING = {
    # A user's order is bought once, unless he was told that its fate is unknown and
    # asked again.
    "bought_once": True,
    # What was paid for can be found: it was returned, or is named by an error, by
    # orphans, batch.unread, batch.pending, session.pending, the journal, or, once the
    # session has ended, by a warning.
    "findable": True,
    # Every call of a user's ends.
    "nobody_waits_for_ever": True,
    # A session asks for one task at most every two seconds.
    "poll_spacing": True,
    # ... also one that had ended for us and was taken up again.
    "respacing": True,
    # The API key is in no error, log line or repr, nor in a traceback's locals.
    "key_nowhere": True,
    # As above, also when the vendor repeats the key in what he says.
    "echo_nowhere": True,
    # Once a session is closed and its users are through, nothing of ours runs or waits.
    "nothing_left": True,
    # Users see our errors and their own cancellation, nothing else.
    "typed_errors": True,
    # An error that says "not charged" is right for ever; one that says "charged", too.
    "truth_about_money": True,
    # A result is that of the very order.
    "own_result": True,
    # An error about an order names that order's task, if any.
    "own_task": True,
    # ... also if a callback to its address names another task.
    "forged_callback": True,
    # What a download returns is on the disk, whole.
    "file_whole": True,
    # A handle's events are the states in their order, each once, the last one terminal.
    "events_in_order": True,
    # A batch that is read to its end gives every item one outcome.
    "batch_complete": True,
    # A batch reads no further ahead of its reader than max_pending.
    "batch_bound": True,
    # A batch costs no more than max_cost, unknown outcomes included.
    "budget_kept": True,
    # ... also one that is run again and orders anew what was unknown.
    # Known: the first order's price is forgotten with its record (seed 574).
    "budget_of_reruns": False,
    # With a journal, the record is on the disk before the order reaches the vendor.
    "record_before_order": True,
    # An idempotency key is bought once over all processes, unless what it bought has
    # failed, or somebody has let it be forgotten.
    "key_bought_once": True,
    # All callers of a key are told of the same task and picture; none is told of
    # another request's, nor that the order he waits for costs nothing, and it does.
    "key_agrees": True,
    # What is paid for is not refused or failed in the store, and its key names it.
    "key_kept": True,
    # A caller of a key that another sends is told what became of it, in time.
    "nobody_waits_for_key": True,
    # What is recovered is one living process's, and nobody's once it is dealt with.
    "recovered_once": True,
    # What nobody got and nobody has acked is recovered again.
    "recovered_again": True,
    # What a Redis server promised to keep is kept, in a crash and over a failover.
    "durable_kept": True,
    # After aclose() no request is made.
    "silent_after_close": True,
    # Nothing ends in the event loop's own handler for what nobody caught.
    "nothing_uncaught": True,
}
"""Name -> whether a run that breaks it fails."""


@dataclass(frozen=True)
class Violation:
    """One invariant that did not hold."""

    name: str
    detail: str
    at: float
    order: int | None = None

    def __str__(self):
        return f"{self.name} at {self.at:.3f} s: {self.detail}"


class Case:
    """The story of one order."""

    __slots__ = (
        "actor",
        "allowed",
        "asked_at",
        "asks",
        "batch",
        "bought",
        "end",
        "journal",
        "waiting",
    )

    def __init__(self, actor):
        self.actor = actor
        self.allowed = 1
        self.asks = self.asked_at = 0
        self.bought = []
        self.waiting = {}
        """Serial number of each call that waits for it -> the process it is in."""
        self.end = "never ordered it"
        """What its user did or was told last."""
        self.journal = None
        self.batch = None

    def leave(self, life):
        """End all calls of a process."""
        self.waiting = {n: at for n, at in self.waiting.items() if at is not life}


class Record:
    """The trace of a run: a hash of everything that happened, and the violations."""

    def __init__(self, world, stop_at=None, show=None):
        self._world = world
        self._stop_at = stop_at
        self._show = show
        self._hash = hashlib.blake2b(digest_size=16)
        self.violations = []
        self.counts = Counter()
        self.over = False
        """Whether the run has ended: what is still heard does not count."""

    def note(self, what, subject, detail=""):
        """Take down one event."""
        if self.over:
            return
        line = f"{self._world.now:.6f} {what} {subject} {detail}\n"
        self._hash.update(line.encode())
        if self._show is not None:
            self._show(line[:-1])

    def broke(self, name, detail, order=None):
        """Take down that *name* does not hold."""
        if self.over:
            return
        violation = Violation(name, detail, self._world.now, order)
        self.counts[name] += 1
        if self.counts[name] == 1:
            self.violations.append(violation)
        self.note("BROKEN", name, detail)
        if name == self._stop_at:
            self.over = self._world.stopped = True

    @property
    def digest(self):
        """The hash so far."""
        return self._hash.hexdigest()


def names(product, purchase):
    """Return whether what a user was given names *purchase*."""
    if isinstance(product, ImageResult):
        return purchase.url in product.urls
    if isinstance(product, TaskHandle):
        return product.task_id in {"", purchase.task_id}
    if isinstance(product, OutcomeUnknownError) and product.task_id is None:
        return True
    return purchase.key in ids_of(product)


def ids_of(error):
    """Return the task ids that an error carries."""
    found = getattr(error, "task_ids", ())
    task_id = getattr(error, "task_id", None)
    return {*found, task_id} if task_id else set(found)


def texts(error, depth):
    """Yield what an error, its causes and its members say."""
    if error is None or depth > DEPTH_MAX:
        return
    yield f"{error} {error!r} {vars(error) if hasattr(error, '__dict__') else ''}"
    for inner in (error.__cause__, error.__context__):
        yield from texts(inner, depth + 1)
