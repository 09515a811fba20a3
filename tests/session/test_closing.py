"""The life of a session: opening, one loop, closing, and what is told to whom."""

from __future__ import annotations

import asyncio
import gc
import itertools
import subprocess
import sys
import threading

import pytest
from support.cases import check_all
from support.raw import (
    CREATED,
    PICTURE,
    RawServer,
    by_method,
    hang,
    respond,
    slowly,
)
from support.waiting import until

import apimodels_async
from apimodels_async import (
    ConfigurationError,
    Session,
    SessionClosedError,
    SessionStats,
)
from apimodels_async._adapters import Adapters

TASK = {"model": "gpt-image-2"}
FOREVER = by_method(POST=respond(), GET=respond())


def run(code, *, quiet=True):
    """Run a program in a process of its own; return what it printed."""
    program = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        program, check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0
    assert not (quiet and done.stderr)
    return done.stdout.split()


async def test_a_session_names_what_is_pending(emulator, connect):
    """The ids of pending tasks are there while they are, and to the end."""
    session = connect(emulator)
    assert session.pending == ()
    handles = [
        await session.images.submit(f"moose {number} [slow]", model="gpt-image-2")
        for number in range(3)
    ]
    assert session.pending == tuple(handle.task_id for handle in handles)
    for handle in handles:
        await handle
    assert session.pending == ()


async def test_closing_tells_waiters_what_to_attach(emulator, connect):
    """Each waiter, stream and later call gets SessionClosedError with all ids."""
    session = connect(emulator)
    handles = [
        await session.images.submit(f"moose {n} [stuck]", **TASK) for n in range(3)
    ]
    ids = tuple(handle.task_id for handle in handles)

    async def read(handle):
        return [event async for event in handle]

    waiters = [asyncio.create_task(handle.result()) for handle in handles]
    waiters.append(asyncio.create_task(read(handles[0])))
    await asyncio.sleep(0.02)
    await session.aclose()
    ended = await asyncio.gather(*waiters, handles[0], return_exceptions=True)

    assert {type(error) for error in ended} == {SessionClosedError}
    assert {error.task_ids for error in ended} == {ids}
    assert {error.charged for error in ended} == {None}
    for call in (
        session.images.submit("a moose", **TASK),
        session.images.generate("a fox"),
        session.balance(),
    ):
        with pytest.raises(SessionClosedError) as caught:
            await call
        assert caught.value.task_ids == ids
    with pytest.raises(SessionClosedError):
        session.images.attach(ids[0])
    with pytest.raises(SessionClosedError):
        async with session:
            pass

    other = connect(emulator)
    emulator.advance(1)
    assert other.images.attach(ids[0]).task_id == ids[0]


async def test_closing_twice_and_unopened(emulator, connect):
    """aclose is idempotent, also at once from two tasks, and before any use."""
    session = connect(emulator)
    assert repr(session) == "<Session unopened | pending 0 | 0/100 connections>"
    assert session.stats() == SessionStats()
    assert session.orphans == ()
    await session.aclose()
    await session.aclose()
    with pytest.raises(SessionClosedError):
        await session.balance()

    used = connect(emulator)
    await used.balance()
    await asyncio.gather(used.aclose(), used.aclose())
    assert repr(used).startswith("<Session closed")
    assert used.stats().connections == 0
    assert emulator.requests[-1].path.endswith("balance")


async def test_closing_lets_a_paid_request_finish(connect):
    """A picture under way when aclose is called still reaches its caller."""
    answer = slowly(
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(PICTURE), PICTURE),
        first=100,
        pause=0.002,
    )
    async with RawServer(answer) as server:
        session = connect(server)
        order = asyncio.create_task(session.images.generate("a fox"))
        await server.arrived.wait()
        await session.aclose()

        assert order.done()
        assert (await order).url == "https://files.example/a.png"


async def test_closing_in_a_burst_of_orders_loses_none(emulator, connect):
    """Closed while 500 orders begin: each is made and told, or was never sent."""
    session = connect(emulator)
    await session.balance()
    orders = [
        asyncio.create_task(session.images.submit(f"moose {number}", **TASK))
        for number in range(500)
    ]
    await asyncio.sleep(0)
    await session.aclose()
    ended = await asyncio.gather(*orders, return_exceptions=True)

    closed = [end for end in ended if isinstance(end, SessionClosedError)]
    made = [end.task_id for end in ended if not isinstance(end, BaseException)]
    assert len(closed) + len(made) == len(ended)
    assert closed
    assert sorted(made) == sorted(emulator.tasks)


async def test_closing_with_many_requests_in_flight_is_quick(connect):
    """Two hundred polls in flight do not hold the close for long."""
    async with RawServer(by_method(POST=respond(), GET=hang)) as server:
        session = connect(server, timeouts=apimodels_async.Timeouts(read=60))
        handles = [session.images.attach(f"cl{n}") for n in range(200)]
        waiters = [asyncio.create_task(handle.result()) for handle in handles]
        await until(lambda: server.in_hand == 64)
        await session.aclose()  # each of them would be awaited for a minute
        ended = await asyncio.gather(*waiters, return_exceptions=True)

        assert {type(error) for error in ended} == {SessionClosedError}
        assert server.most_in_hand == 64


async def test_the_users_own_exception_passes_unwrapped(emulator):
    """A KeyError inside the block is a KeyError outside, and the session is closed."""
    with pytest.raises(KeyError):  # noqa: PT012
        async with Session(
            base_url=emulator.base_url, api_key=emulator.api_key
        ) as session:
            await session.images.submit("a moose", **TASK)
            raise KeyError

    assert repr(session).startswith("<Session closed")


async def test_a_closed_session_names_what_it_left(emulator, connect, caplog):
    """The ids pending at the close are logged."""
    session = connect(emulator)
    handle = await session.images.submit("a moose [stuck]", **TASK)
    await session.aclose()

    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert handle.task_id in record.message


async def test_a_tracker_that_broke_refuses_before_money_is_spent(connect, caplog):
    """After the tracker ended, a submit is refused unsent."""
    async with RawServer(FOREVER) as server:
        session = connect(server)
        handle = await session.images.submit("a moose", **TASK)
        [tracker] = [
            task
            for task in asyncio.all_tasks()
            if task.get_name() == "apimodels-tracker"
        ]
        tracker.cancel()
        with pytest.raises(SessionClosedError):
            await handle
        with pytest.raises(SessionClosedError) as caught:
            await session.images.submit("a moose", **TASK)

        assert caught.value.task_ids == ("clraw1",)
        assert len(server.posts) == 1


async def test_a_tracker_that_breaks_during_an_order_keeps_its_id(connect):
    """An order accepted by a session whose tracker just ended still gives its id."""

    async def answer(request, peer):
        task = next(
            t for t in asyncio.all_tasks() if t.get_name() == "apimodels-tracker"
        )
        task.cancel()
        await asyncio.sleep(0.02)
        await respond(CREATED)(request, peer)

    async with RawServer(answer) as server:
        handle = await connect(server).images.submit("a moose", **TASK)

        assert handle.task_id == "clraw1"
        with pytest.raises(SessionClosedError):
            await handle


# --- where it may be used ---------------------------------------------------------


def test_without_a_loop_it_says_so():
    """Used from plain code, a session explains that it needs a running loop."""
    session = Session("sk_x", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ConfigurationError, match="running event loop"):
        session.images.attach("clx")


async def test_on_another_loop_it_says_so(emulator, connect):
    """Used on a second loop, in a second thread, it is refused before any send."""
    session = connect(emulator)
    await session.balance()
    before = len(emulator.requests)
    errors = []

    async def use():
        try:
            await session.balance()
        except ConfigurationError as error:
            errors.append(error)

    thread = threading.Thread(target=asyncio.run, args=[use()])
    thread.start()
    await until(lambda: not thread.is_alive())
    thread.join()

    assert "another event loop" in str(errors[0])
    assert len(emulator.requests) == before


def test_after_a_fork_it_says_so():
    """In a child process the parent's session is refused, with the reason."""
    code = """
import asyncio, logging, os
logging.disable()
from apimodels_async import ConfigurationError, Session
session = Session("sk_x", base_url="http://127.0.0.1:9/v1")

async def use():
    try:
        session.images.attach("cl1")
    except ConfigurationError as error:
        return "fork" if "fork" in str(error) else str(error)
    return "fine"

async def main():
    print(await use(), flush=True)
    child = os.fork()
    if not child:
        asyncio._set_running_loop(None)
        asyncio.set_event_loop(None)
        loop = asyncio.new_event_loop()
        print(loop.run_until_complete(use()), flush=True)
        loop.close()
        os._exit(0)
    os.waitpid(child, 0)
    await session.aclose()

asyncio.run(main())
"""
    assert run(code) == ["fine", "fork"]


async def test_another_process_is_told_by_its_number(emulator, connect):
    """What counts is the process that opened the session, whatever the loop."""
    session = connect(emulator)
    parts = session._runtime.open()
    parts.pid += 1  # as a child sees it
    with pytest.raises(ConfigurationError, match="fork"):
        await session.balance()
    parts.pid -= 1

    assert emulator.requests == []


def test_a_second_asyncio_run_says_so():
    """A session kept between two asyncio.run calls is refused on the second."""
    code = """
import asyncio
from apimodels_async import ConfigurationError, Session
session = Session("sk_x", base_url="http://127.0.0.1:9/v1")

async def use():
    try:
        session.images.attach("cl1")
        print("fine")
    except ConfigurationError as error:
        print("refused" if "another event loop" in str(error) else error)

asyncio.run(use())
asyncio.run(use())
"""
    # It was never closed, which is complained about, and not this test's matter.
    assert run(code, quiet=False) == ["fine", "refused"]


async def test_a_forgotten_close_is_warned_about_once(emulator):
    """A session dropped while open gives one ResourceWarning with its pending ids."""
    session = Session(base_url=emulator.base_url, api_key=emulator.api_key)
    handle = await session.images.submit("a moose [stuck]", **TASK)
    runtime = session._runtime
    with pytest.warns(ResourceWarning) as caught:  # noqa: PT031
        del session
        gc.collect()

    # What other tests left to the collector may be told here as well.
    told = [str(each.message) for each in caught]
    assert sum(handle.task_id in each for each in told) == 1, told
    await runtime.aclose()


async def test_a_forgotten_idle_session_is_warned_about_too(emulator):
    """Without tasks the warning says none; a closed or unused session is silent."""
    Session(base_url=emulator.base_url, api_key=emulator.api_key)
    async with Session(base_url=emulator.base_url, api_key=emulator.api_key):
        pass
    session = Session(base_url=emulator.base_url, api_key=emulator.api_key)
    await session.balance()
    runtime = session._runtime
    with pytest.warns(ResourceWarning, match="pending: none") as caught:  # noqa: PT031
        del session
        gc.collect()

    told = [str(each.message) for each in caught]
    assert sum("pending: none" in each for each in told) == 1, told
    await runtime.aclose()


def test_a_session_that_could_not_be_made_is_dropped_silently():
    """A refused configuration leaves nothing to warn about."""
    with pytest.raises(ConfigurationError):
        Session()
    gc.collect()


def test_a_count_out_of_range_is_refused():
    """Connections and polls are whole numbers of at least one."""

    def check(name, value):
        with pytest.raises(ConfigurationError, match=name):
            Session("sk_x", **{name: value})

    check_all(
        itertools.product(
            ["max_connections", "max_polls"], [0, -1, 1.5, True, "9", None]
        ),
        check,
    )


def test_importing_is_light():
    """The package, and Session itself, load neither aiohttp nor cattrs."""
    code = """
import sys
import apimodels_async
print({"aiohttp", "cattrs"} & set(sys.modules) or "light")
from apimodels_async import Session
print({"aiohttp", "cattrs"} & set(sys.modules) or "light")
Session("sk_x")
print({"aiohttp", "cattrs"} & set(sys.modules) or "light")
"""
    assert run(code) == ["light", "light", "light"]


async def test_closing_from_another_loop_is_refused_also_while_it_closes(
    emulator, connect
):
    """A second loop is told where to close, and the closing goes on."""
    emulator.fault("sync", "slow", seconds=0.3)
    session = connect(emulator)
    order = asyncio.create_task(session.images.generate("a fox"))
    await until(lambda: emulator.requests)
    closing = asyncio.create_task(session.aclose())
    await asyncio.sleep(0)

    def elsewhere():
        asyncio.run(session.aclose())

    with pytest.raises(ConfigurationError, match="another event loop"):
        await asyncio.to_thread(elsewhere)
    await closing
    assert (await order).url


async def test_what_cannot_observe_is_refused(session):
    """It is said at once, and not by the next order."""
    for wrong in (None, 5, print):
        with pytest.raises(ConfigurationError, match=r"with ordering\(\), not"):
            session.observe(wrong)


def test_an_option_of_a_wrong_kind_is_refused():
    """A number where an object belongs is told by the option's name, at once."""
    for name in ("polling", "retry", "timeouts", "callback", "limit"):
        with pytest.raises(ConfigurationError, match=f"{name}= takes"):
            Session("sk_x", **{name: 2})


async def test_orphans_can_be_taken(emulator, connect):
    """Taking the orphans empties the list; before any use there are none."""
    session = connect(emulator)
    assert session.take_orphans() == ()
    order = asyncio.create_task(session.images.generate("a moose [stuck]", **TASK))
    await until(lambda: session.pending)
    order.cancel()
    await asyncio.wait([order])
    (task_id,) = emulator.tasks

    assert [orphan.task_id for orphan in session.take_orphans()] == [task_id]
    assert session.orphans == ()


async def test_one_warning_names_pending_tasks_and_orphans(emulator, connect, caplog):
    """What is pending and what cancelled callers left is said in one line."""
    session = connect(emulator)
    handle = await session.images.submit("a moose [stuck]", **TASK)
    emulator.fault("sync", "slow", seconds=0.2, after=True)
    order = asyncio.create_task(session.images.generate("a fox"))
    await until(lambda: session.stats().under_way and len(emulator.requests) > 1)
    order.cancel()
    await asyncio.wait([order])
    await session.aclose()

    (line,) = [
        record.getMessage() for record in caplog.records if "closed" in record.msg
    ]
    assert handle.task_id in line
    assert session.orphans[0].url in line


def test_a_session_whose_loop_has_ended_closes_at_once():
    """aclose() in a later loop says what was pending, and raises nothing."""
    code = """
import asyncio, logging
from apimodels_async import Session
logging.basicConfig(format="%(message)s", stream=__import__("sys").stdout)

async def begin():
    session = Session("sk_x", base_url="http://127.0.0.1:9/v1")
    session.images.attach("clx1")
    return session

session = asyncio.run(begin())
asyncio.run(session.aclose())
asyncio.run(session.aclose())
"""
    said = " ".join(run(code, quiet=False))
    assert said.startswith(
        "session closed with 1 task pending; attach them again: clx1"
    )
    assert said.count("session closed") == 1


class Stuck(Adapters):
    """The real ones, but for a transport that cannot be closed."""

    def transport(self, *args, **options):
        """Return the way to the API."""
        return StuckTransport(super().transport(*args, **options))


class StuckTransport:
    """Passes everything on, and raises where it is closed."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def aclose(self):
        """Close, and raise."""
        await self._inner.aclose()
        msg = "no such connection"
        raise RuntimeError(msg)


class StuckSession(Session):
    """A session on a ``Stuck`` network."""

    def _make_adapters(self):
        return Stuck()


async def test_what_cannot_be_closed_keeps_nothing_untold(emulator, caplog):
    """Pending tasks are named, whatever closing the connections raises."""
    session = StuckSession(emulator.api_key, base_url=emulator.base_url)
    handle = await session.images.submit("a moose [slow]", **TASK)
    with pytest.raises(RuntimeError, match="no such connection"):
        await session.aclose()

    assert f"attach them again: {handle.task_id}" in caplog.text
