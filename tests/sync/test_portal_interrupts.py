"""Ctrl-C at every line of the way into the session's thread and back."""

from __future__ import annotations

import _thread
import itertools
import signal
import sys
import time
from pathlib import Path

import pytest

from apimodels_async import ImageRequest, PollPolicy, sync
from apimodels_async.testing import serve_emulator

HERE = Path(sync.__file__).parent
TASK = {"model": "gpt-image-2"}


@pytest.fixture
def served():
    """Serve the API from a thread of its own."""
    with serve_emulator(speed=1000) as emulator:
        yield emulator


@pytest.fixture
def blocking(served):
    """Open a synchronous session on the emulator."""
    with sync.Session(
        base_url=served.base_url,
        api_key=served.api_key,
        polling=PollPolicy.unchecked(interval=0.02),
    ) as session:
        session.balance()
        yield session


@pytest.fixture(autouse=True)
def keyboard():
    """Have Ctrl-C raise KeyboardInterrupt, also where SIGINT came in ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupt:
    """SIGINT before one line, or call, of the package's synchronous part."""

    def __init__(self, line, events):
        self.left = line
        self.events = events

    def __call__(self, frame, event, _):
        """Trace a frame."""
        if Path(frame.f_code.co_filename).parent != HERE:
            return None
        self.left -= event in self.events
        if self.left < 0:
            sys.settrace(None)
            signal.raise_signal(signal.SIGINT)
        return self


def interrupted(line, call, events=("line", "call")):
    """Run *call*, interrupted before that line; return whether it was."""
    before = sys.gettrace()
    sys.settrace(Interrupt(line, events))
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def at_every_line(call, *events):
    """Yield after each run of *call*, interrupted a line later each time."""
    for line in itertools.count():
        cut = interrupted(line, call, events or ("line", "call"))
        yield line
        if not cut:
            return


def settle(blocking):
    """Wait until nothing is under way."""
    blocking.balance()  # the loop has been there: what is sent by now is all
    while blocking.stats().under_way or blocking.pending:
        time.sleep(0.005)


def ids(found):
    """Return the ids of handles."""
    return {each.task_id for each in found}


def ordered(served):
    """Return the ids of all tasks."""
    return {order.task_id for order in served.record.orders}


def test_a_handle_is_returned_or_an_orphan(blocking, served):
    """Wherever Ctrl-C comes in submit, the paid task is in one place."""
    box = []
    for line in at_every_line(
        lambda: box.append(blocking.images.submit("a moose", **TASK))
    ):
        settle(blocking)
        assert ids(box) | ids(blocking.orphans) == ordered(served), line


def test_orphans_are_taken_or_still_there(blocking):
    """Wherever Ctrl-C comes while they are taken, none is gone."""
    keep = blocking._inner._runtime.open
    box = []

    async def make():
        for each in box:
            keep().ordering.keep(each)

    box.append(blocking._portal.call(lambda: submitted(blocking)))
    blocking._portal.call(make)
    taken = []
    # Python looks for signals where a call begins, not between all lines.
    for line in at_every_line(lambda: taken.append(blocking.take_orphans()), "call"):
        there = ids(blocking.orphans) | ids(itertools.chain(*taken))
        assert there == ids(box), line
    assert blocking.orphans == ()


async def submitted(blocking):
    """Submit in the session's own loop."""
    return await blocking._inner.images.submit("a moose", **TASK)


def test_an_outcome_is_returned_or_unread(blocking):
    """An outcome that arrives with Ctrl-C stays in its batch, and is next."""
    with blocking.images.batch(["a fox"]) as outcomes:
        box = []
        inner = outcomes._inner

        async def read():
            outcome = await inner.__anext__()
            _thread.interrupt_main()
            return outcome

        with pytest.raises(KeyboardInterrupt):
            box.append(blocking._portal.call(read, give_back=inner._put_back))
        blocking.balance()
        (unread,) = outcomes.unread

        assert next(outcomes) is unread
        assert box == []


def test_a_batch_whose_entering_was_interrupted_is_left(blocking, served):
    """Wherever Ctrl-C comes, it stops ordering, and what it ordered is an orphan."""
    made = []

    def enter():
        items = [ImageRequest("gpt-image-2", f"moose {n}") for n in range(2)]
        made.append(blocking.images.batch(items))
        with made[-1] as outcomes:
            made.append(outcomes)

    for line in at_every_line(enter):
        settle(blocking)
        known = ids(blocking.orphans)
        for batch in made:
            known |= ids(batch.pending) | {each.result.task_id for each in batch.unread}
        assert known == ordered(served), line


def test_an_interrupted_close_can_be_repeated(served):
    """Closed again after Ctrl-C at any line, the session and its thread have ended."""

    def check(line):
        session = served.sync_session()
        session.images.submit("a [stuck] moose", **TASK)
        cut = interrupted(line, session.close)
        session.close()

        assert not session._portal.forgotten
        assert not session._portal._loop._thread.is_alive()
        return cut

    lines = itertools.takewhile(check, itertools.count())
    assert len(list(lines)) > 5


def test_an_interrupted_call_that_bought_nothing_leaves_nothing(served):
    """In a session without an order so far there is nothing to keep."""
    session = served.sync_session()

    async def call():
        _thread.interrupt_main()
        return 1

    with pytest.raises(KeyboardInterrupt):
        session._portal.call(call)
    assert session.orphans == session.take_orphans() == ()
    session.close()
    assert session.take_orphans() == ()
