"""The synchronous session: the same calls, waited for."""

from __future__ import annotations

import _thread
import asyncio
import inspect
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest
from anyio import from_thread
from anyio.from_thread import start_blocking_portal
from support.raw import CREATED, RawServer, envelope, respond

import apimodels_async
from apimodels_async import (
    ConfigurationError,
    InvalidRequestError,
    OutcomeUnknownError,
    PollPolicy,
    SessionClosedError,
    TaskState,
    TaskTimeoutError,
    Verdict,
    batch,
    stores,
    sync,
)
from apimodels_async.emulator import Emulator

TASK = {"model": "gpt-image-2"}
ANYIO = from_thread.__file__


@pytest.fixture
def served():
    """Serve the API from a thread of its own."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Emulator(speed=50)) as emulator,
    ):
        yield emulator


@pytest.fixture
def blocking(served):
    """Open a synchronous session on the emulator."""
    with sync.Session(
        base_url=served.base_url,
        api_key=served.api_key,
        polling=PollPolicy.unchecked(interval=0.05),
    ) as session:
        yield session


def public(cls):
    """Return the public members of *cls*: functions, and fgets of properties."""
    return {
        name: getattr(member, "fget", member)
        for base in reversed(cls.__mro__[:-1])
        for name, member in vars(base).items()
        if not name.startswith("_") and not inspect.ismemberdescriptor(member)
    }


def blocking_twin(function):
    """Return the signature that the synchronous twin of *function* must have."""
    signature = inspect.signature(function)
    brought = str(signature.return_annotation)
    return signature.replace(return_annotation=brought.replace("Async", ""))


def sections(function):
    """Return what *function* takes, returns and raises, by its docstring."""
    text = inspect.getdoc(function).replace(OTHER_LOOP, "")
    begins = [text.find(f"\n{name}:\n") for name in ("Args", "Returns", "Raises")]
    return text[min((at for at in begins if at >= 0), default=len(text)) :]


OTHER_LOOP = (
    "\n    ConfigurationError: Awaited in another event loop than the session's."
)
"""Cannot happen here."""
PAIRS = [
    (apimodels_async.Session, sync.Session),
    (apimodels_async.Images, sync.Images),
    (apimodels_async.TaskHandle, sync.TaskHandle),
    (stores.RecoveredOrder, sync.RecoveredOrder),
    (batch.Batch, sync.Batch),
]


@pytest.mark.parametrize(("there", "here"), PAIRS)
def test_names_and_signatures_are_the_same(there, here):
    """Each asynchronous call has its synchronous twin with the same parameters."""
    theirs, ours = public(there), public(here)
    if "aclose" in theirs:
        theirs["close"] = theirs.pop("aclose")

    assert set(theirs) == set(ours)
    for name, function in theirs.items():
        assert blocking_twin(function) == blocking_twin(ours[name]), name


@pytest.mark.parametrize(("there", "here"), PAIRS)
def test_what_is_said_of_a_call_is_said_in_whole(there, here):
    """A docstring here says all that the asynchronous one does, and points to none."""
    theirs, ours = public(there), public(here)
    theirs["close"] = theirs.pop("aclose", None)

    for name, function in ours.items():
        assert sections(theirs[name]) == sections(function), name
    for each in (here, *ours.values()):
        text = inspect.getdoc(each)
        assert not re.search(r"As ``|asynchronous|async (with|for)", text), text
    for name in inspect.signature(sync.Session).parameters:
        assert re.search(rf"\b{name}\b", sync.Session.__doc__), name


def test_a_handle_shows_itself_as_the_asynchronous_one_does(blocking):
    """A notebook shows the state of a handle, and its picture once there is one."""
    handle = blocking.images.submit("a moose", **TASK)
    result = handle.result()

    html = handle._repr_mimebundle_()["text/html"]
    assert f'src="{result.url}"' in html
    assert handle._repr_mimebundle_(exclude={"text/html"}) == {
        "text/plain": repr(handle)
    }


def test_pictures_are_shown_as_by_the_asynchronous_one(blocking):
    """A grid for a notebook; elsewhere its caller is warned. A batch shows itself."""
    with blocking.images.batch(["a fox"]) as outcomes:
        assert "under way" in outcomes._repr_html_()
        with pytest.warns(UserWarning, match="no notebook") as told:
            shown = blocking.show(list(outcomes))

    assert told[0].filename == __file__
    assert 'src="data:image/webp;base64,' in shown._repr_html_()
    assert "ended" in outcomes._repr_html_()


def test_settings_are_the_same():
    """The constructor takes what the asynchronous one takes, a lent pool excepted."""
    theirs = dict(inspect.signature(apimodels_async.Session).parameters)
    del theirs["http"]

    assert theirs == dict(inspect.signature(sync.Session).parameters)


def test_pictures_and_files(blocking, served, tmp_path):
    """A picture is made, stored, uploaded and edited without a single await."""
    fox = blocking.images.generate("a fox", seed=1)
    path = blocking.download(fox, tmp_path / "fox")
    edited = blocking.images.edit("at sunset", images=[blocking.upload(path)])
    moose = blocking.images.generate("a moose", **TASK)

    assert path.stat().st_size > 0
    assert edited.model == "sparkpix-image-edit"
    assert moose.task_id in served.tasks
    assert blocking.base_url == served.base_url
    assert blocking.balance().balance == served.balance
    assert {"gpt-image-2"} <= {model.id for model in blocking.models()}
    assert blocking.stats().completed == 1
    assert blocking.pending == ()
    assert blocking.durations() == {}
    assert blocking.orphans == ()
    assert repr(blocking).startswith("<sync <Session open")


@pytest.fixture
def keep(served, tmp_path):
    """Open synchronous sessions with one store."""

    def keep():
        return sync.Session(
            base_url=served.base_url,
            api_key=served.api_key,
            polling=PollPolicy.unchecked(interval=0.05),
            store=tmp_path / "orders.sqlite",
        )

    return keep


def test_an_idempotency_key_is_bought_once(keep, served, tmp_path):
    """The same key again brings the same picture or task, also to another session."""
    with keep() as session:
        fox = session.images.generate("a fox", idempotency_key="fox")
        url = session.upload(session.download(fox, tmp_path / "fox"))
        dusk = session.images.edit("at dusk", images=[url], idempotency_key="dusk")
        moose = session.images.submit("a moose", **TASK, idempotency_key="moose")
        moose.result()
    with keep() as session:
        again = session.images.generate("a fox", idempotency_key="fox")
        edited = session.images.edit("at dusk", images=[url], idempotency_key="dusk")
        handle = session.images.submit("a moose", **TASK, idempotency_key="moose")

    assert (again.urls, edited.urls) == (fox.urls, dusk.urls)
    assert handle.done
    assert len(served.generations) + len(served.tasks) == 3


def test_history_find_and_forget(keep, served):
    """What was ordered is listed newest first, and a forgotten key is ordered anew."""
    with keep() as session:
        for prompt in ("a fox", "a hare"):
            session.images.generate(prompt, idempotency_key=prompt)
        listed = [order.prompt for order in session.history()]
        first = next(session.history(state="completed", text="FOX"))

        assert session.find("a fox").attempt == first.attempt
        assert session.forget("a fox")
        assert session.find("a fox") is None
        session.images.generate("a fox", idempotency_key="a fox")

    assert listed == ["a hare", "a fox"]
    assert len(served.generations) == 3


def test_what_an_earlier_session_left_is_recovered_until_it_is_acked(keep):
    """An order whose end nobody saw comes back with its result, until somebody acks."""
    with keep() as session:
        left = session.images.submit("a moose", **TASK, idempotency_key="moose")
    for _ in range(2):
        with keep() as session:
            (order,) = session.recover()
            result = order.result()
    with keep() as session:
        (order,) = session.recover()
        order.ack()
    with keep() as session:
        assert list(session.recover()) == []

    assert result.task_id == order.task_id == left.task_id
    assert (order.idempotency_key, order.prompt) == ("moose", "a moose")
    assert order.record.model == order.model == order.request.model == "gpt-image-2"
    assert order.state is stores.OrderState.COMPLETED
    assert repr(order).startswith("<RecoveredOrder moose completed")


def test_a_handle_waits_and_shows_states(blocking):
    """A handle gives result, states and token; attached again, the same result."""
    handle = blocking.images.submit("a moose", **TASK)
    states = [event.state for event in handle]
    result = handle.result()
    again = blocking.images.attach(handle.to_token())

    assert states[-1] is handle.state is TaskState.COMPLETED
    assert handle.done
    assert repr(handle) == f"<TaskHandle {handle.task_id} completed>"
    assert again.result(timeout=10).urls == result.urls


def test_a_timeout_leaves_the_task(blocking):
    """A waiter's own patience ends with TaskTimeoutError; the task stays tracked."""
    handle = blocking.images.submit("a moose [stuck]", **TASK)

    with pytest.raises(TaskTimeoutError):
        handle.result(timeout=0.01)
    assert not handle.done


def test_a_batch_reads_a_generator_that_uses_the_session(blocking):
    """The source is read apart from the session's thread, and may call the session."""

    def prompts():
        for number in range(3):
            blocking.balance()
            yield f"card {number}"

    with blocking.images.batch(prompts(), max_pending=2) as outcomes:
        found = sorted(outcome.index for outcome in outcomes)

    assert found == [0, 1, 2]
    assert outcomes.spent > 0
    assert (outcomes.reserved, outcomes.pending, outcomes.unread) == (0, (), ())


def test_what_cannot_be_iterated_is_no_source(blocking):
    """As in the asynchronous session."""
    for source in (5, None, list, apimodels_async.SparkPixImage(prompt="fox")):
        with pytest.raises(InvalidRequestError, match="a list or an iterator"):
            blocking.images.batch(source)


def test_leaving_a_batch_early_keeps_its_handles(blocking, served):
    """Paid tasks of a batch that was left are there as synchronous handles."""
    with blocking.images.batch(
        [
            apimodels_async.ImageRequest(
                "gpt-image-2", f"{n} [stuck]" if n else "quick"
            )
            for n in range(3)
        ]
    ) as outcomes:
        next(outcomes)

    assert all(isinstance(each, sync.TaskHandle) for each in outcomes.pending)


def test_many_threads_share_one_session(blocking):
    """Calls of several threads run at once on one session."""
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(blocking.images.generate, map(str, range(8))))

    assert len({result.url for result in made}) == 8


@pytest.fixture
def keyboard():
    """Have Ctrl-C raise KeyboardInterrupt, also where SIGINT came in ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_one_wait_only(keyboard):
    """Ctrl-C leaves the session usable; the paid order goes on and is kept."""
    interrupted = asyncio.Event()
    done = {"taskId": "clraw1", "state": "completed", "resultUrls": ["https://a/b"]}

    async def answer(request, peer):
        if request.method == "GET":
            return await respond(envelope(done))(request, peer)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        await interrupted.wait()
        return await respond(CREATED)(request, peer)

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(RawServer(answer)) as server,
        sync.Session("k", base_url=server.base_url) as blocking,
    ):
        with pytest.raises(KeyboardInterrupt):
            blocking.images.submit("a moose", **TASK)
        portal.call(interrupted.set)
        wait_until(lambda: blocking.orphans)
        (orphan,) = blocking.orphans

        assert orphan.result().task_id == "clraw1"
        assert len(server.posts) == 1


def wait_until(ready):
    """Return once *ready* holds; the test's own timeout bounds it."""
    while not ready():
        time.sleep(0.005)


class Interrupt:
    """Ctrl-C at one line of the way into the session's thread."""

    def __init__(self, line):
        self.left = line

    def __call__(self, frame, event, _):
        """Trace a frame."""
        code = frame.f_code
        if not code.co_qualname.startswith("_Loop.") and code.co_filename != ANYIO:
            return None
        self.left -= event == "line"
        if self.left < 0:
            sys.settrace(None)
            raise KeyboardInterrupt
        return self


def test_an_interrupt_at_any_line_loses_no_picture(blocking, served):
    """Wherever Ctrl-C comes, what was paid for is returned or an orphan."""
    returned, before = 0, sys.gettrace()
    for line in itertools.count():
        sys.settrace(Interrupt(line))
        try:
            blocking.images.generate("a fox")
            returned = 1
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)
        blocking.balance()  # the loop has been there: what is sent by now is all
        wait_until(lambda: not blocking.stats().under_way)
        found = [each.url for each in blocking.orphans]

        assert len(found) + returned == len(served.generations), line
        if returned:
            break
    assert found


def test_what_arrives_with_an_interrupt_is_kept(blocking, keyboard):
    """A result that was there when Ctrl-C came is an orphan, not lost."""

    async def call():
        result = await blocking._inner.images.generate("a fox")
        _thread.interrupt_main()  # raised in the main thread once it wakes up
        return result

    with pytest.raises(KeyboardInterrupt):
        blocking._portal.call(call)

    (orphan,) = blocking.orphans
    assert orphan.url.startswith("http")


def test_what_arrives_after_an_interrupt_is_kept(blocking, keyboard):
    """A result that could not be cancelled any more is an orphan, too."""
    interrupted = threading.Event()

    async def call():
        with anyio.CancelScope(shield=True):
            result = await blocking._inner.images.generate("a fox")
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            while not interrupted.is_set():  # noqa: ASYNC110  another thread's event
                await asyncio.sleep(0.005)
        return result

    with pytest.raises(KeyboardInterrupt):
        blocking._portal.call(call)
    interrupted.set()
    wait_until(lambda: blocking.orphans)

    (orphan,) = blocking.orphans
    assert orphan.url.startswith("http")


def test_an_unknown_outcome_is_reconciled(blocking, served):
    """What became of a cut order is found out as by the asynchronous session."""
    served.fault("create", "drop", after=False)
    blocking.balance()
    with pytest.raises(OutcomeUnknownError) as caught:
        blocking.images.submit("a moose", **TASK)

    assert blocking.reconcile(caught.value).verdict is Verdict.NOT_CHARGED


def test_after_closing_calls_are_refused_with_the_ids(blocking):
    """A closed session refuses each call and names the tasks to attach again."""
    handle = blocking.images.submit("a moose [stuck]", **TASK)
    blocking.close()
    blocking.close()

    with pytest.raises(SessionClosedError) as caught:
        blocking.balance()
    assert caught.value.task_ids == (handle.task_id,)
    assert blocking.stats().submitted == 1
    told = []
    for call in (
        lambda: blocking.images.generate("late"),
        lambda: blocking.images.batch(["late"]).__enter__(),
        lambda: list(blocking.images.batch(["late"])),
        handle.result,
        lambda: blocking.images.attach(handle.to_token()),
    ):
        with pytest.raises(SessionClosedError) as caught:
            call()
        told.append((caught.value.charged, caught.value.task_id))
    # What was not sent is not charged; what was may be.
    assert told == [(False, None)] * 3 + [(None, handle.task_id)] * 2


def test_closed_unused_it_refuses_too(served):
    """A session that was closed before its first call refuses that call."""
    session = sync.Session("key", base_url=served.base_url)
    assert session.take_orphans() == ()
    session.close()

    with pytest.raises(SessionClosedError):
        session.balance()


async def test_it_blocks_a_running_loop_but_works(blocking):
    """Inside a running event loop, as in a notebook, a call returns its result."""
    assert blocking.images.generate("a fox").urls


def test_in_the_sessions_own_thread_a_call_is_refused(blocking):
    """A callback that runs in the session's thread cannot wait for the session."""

    def price(_request):
        blocking.balance()

    with (
        pytest.raises(RuntimeError, match="event loop thread"),
        blocking.images.batch(["a fox"], price=price, max_cost=1) as outcomes,
    ):
        list(outcomes)


def test_an_observer_sees_orders(blocking):
    """An observer surrounds each order, as with the asynchronous session."""
    from contextlib import contextmanager

    seen = []

    class Observer:
        @contextmanager
        def ordering(self, request, idempotency_key=None):
            seen.append(request.prompt)
            yield seen.append

    blocking.observe(Observer())
    blocking.images.generate("a fox")

    assert seen == ["a fox"]


def program(code, served, *, flags=("-W", "error")):
    """Run a program that uses the emulator; return its outcome."""
    environment = {
        **os.environ,
        "APIMODELS_BASE_URL": served.base_url,
        "APIMODELS_API_KEY": served.api_key,
    }
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env=environment,
    )


def test_left_open_it_is_closed_at_exit(served):
    """A script that never closes its session ends by itself and without a word."""
    done = program(
        "from apimodels_async.sync import Session; session = Session();"
        "session.images.submit('a moose [stuck]', model='gpt-image-2'); print('on')",
        served,
    )

    assert (done.returncode, done.stdout) == (0, "on\n")
    assert "Traceback" not in done.stderr


def test_forgotten_it_warns(served):
    """A session that is dropped while open warns, and the process still ends."""
    done = program(
        "import gc; from apimodels_async.sync import Session\n"
        "session = Session(); session.balance(); del session; gc.collect()",
        served,
        flags=("-W", "always"),
    )

    assert done.returncode == 0
    assert done.stderr.count("never closed") == 1


def test_after_a_fork_it_says_so(served):
    """A forked child is told to make its own session, and ends without hanging."""
    done = program(
        "import os, sys; from apimodels_async.sync import Session\n"
        "from apimodels_async import ConfigurationError\n"
        "with Session() as session:\n"
        "    session.balance()\n"
        "    child = os.fork()\n"
        "    if child:\n"
        "        print(os.waitpid(child, 0)[1], session.balance().currency)\n"
        "    else:\n"
        "        try:\n"
        "            session.balance()\n"
        "        except ConfigurationError as error:\n"
        "            sys.exit(0 if 'fork' in str(error) else 1)\n",
        served,
        flags=(),
    )

    assert (done.stdout, done.returncode) == ("0 USD\n", 0)


def test_a_bad_setting_is_refused_at_once():
    """A session without a key is refused before any thread starts."""
    with pytest.raises(ConfigurationError):
        sync.Session()


def test_orphans_can_be_taken(blocking, keyboard):
    """Taking the orphans empties the list, of either kind."""
    assert blocking.take_orphans() == ()

    async def call():
        result = await blocking._inner.images.generate("a fox")
        _thread.interrupt_main()
        return result

    with pytest.raises(KeyboardInterrupt):
        blocking._portal.call(call)

    (orphan,) = blocking.take_orphans()
    assert orphan.url.startswith("http")
    assert blocking.orphans == blocking.take_orphans() == ()


def test_all_pictures_are_stored(blocking, tmp_path):
    """download_all is there as in the asynchronous session."""
    result = blocking.images.generate("a fox")

    (path,) = blocking.download_all(result, tmp_path)

    assert path.is_file()


def test_an_order_is_followed_by_its_key_and_acked_by_hand(keep, served):
    """Another session has it by its key, and it is recovered until it is acked."""
    with keep() as session:
        moose = session.images.submit(
            "a moose", **TASK, idempotency_key="moose", manual_ack=True
        ).result()
    with keep() as session:
        handle = session.images.follow("moose", manual_ack=True)
        assert handle.result() == moose
    with keep() as session:
        assert [order.idempotency_key for order in session.recover()] == ["moose"]
        assert session.ack("moose")
        assert not session.ack("hare")
    with keep() as session:
        assert list(session.recover()) == []

    assert len(served.tasks) == 1
