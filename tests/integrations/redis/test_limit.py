"""Orders of one account wait for each other, over all processes."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
import time
from contextlib import AsyncExitStack

import pytest
from support.redis import ABSENT, FOUND, RedisServer
from support.waiting import until

from apimodels_async import ConfigurationError, ConnectionFailedError
from apimodels_async.integrations import redis as door
from apimodels_async.integrations.redis import RedisLimit

KEY = "{apimodels}:limit"
RIGHTS = "evalsha script get set time publish subscribe ping @connection"
NUMBERS = """
local state = cmsgpack.unpack(redis.call('GET', KEYS[1]))
local out, workers = 0, 0
for _, worker in pairs(state.workers) do
  out, workers = out + worker.held, workers + 1
end
return {out, workers}
"""
HOLD = """
import asyncio, sys
from apimodels_async.integrations.redis import RedisLimit
async def main(url, pending, lease, count):
    limit = RedisLimit.unchecked(url, pending=int(pending), lease_s=float(lease))
    for _ in range(int(count)):
        await limit.acquire()
    print("held", flush=True)
    await limit.acquire()
    print("one more", flush=True)
asyncio.run(main(*sys.argv[1:]))
"""


def numbers(server):
    """Return how many permits are out, and how many workers the server knows."""
    with server.client() as client:
        return client.eval(NUMBERS, 1, KEY)


@pytest.fixture
async def make(server):
    """Return a maker of limits, each like one of another process; all are closed."""
    async with AsyncExitStack() as stack:

        async def make(url=None, *, count=2, lease_s=60, away_s=30, **options):
            kept = {"lease_s": lease_s, "away_s": away_s}
            return [
                await stack.enter_async_context(
                    RedisLimit.unchecked(url or server.url, **kept, **options)
                )
                for _ in range(count)
            ]

        yield make


async def hold(server, *words):
    """Start a program that holds permits; return it once it does."""
    command = [sys.executable, "-c", HOLD, server.url, *map(str, words)]
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(*command, stdout=pipe)
    assert await program.stdout.readline() == b"held\n"
    return program


async def kill(program):
    """End a program as the kernel would."""
    program.kill()
    await program.communicate()


def end(permits):
    """Let orders end well."""
    for permit in permits:
        permit.taken()
        permit.release()


async def test_orders_are_free_until_the_first_429(make):
    """Hundreds of permits are had at once, by either of two."""
    permits = [
        permit
        for limit in await make()
        for permit in await asyncio.gather(*(limit.acquire() for _ in range(300)))
    ]

    assert len(permits) == 600
    end(permits)


async def test_one_429_holds_all_back(make):
    """After a Retry-After of 1.5 s to one process, no other starts within 1.5 s."""
    one, other = await make()
    permit = await one.acquire()
    began = time.monotonic()
    permit.throttled(1.5)
    await asyncio.sleep(0.2)
    end([await other.acquire()])

    assert time.monotonic() - began > 1.4


async def test_while_the_pace_is_found_out_one_order_is_under_way(make):
    """After a first 429 one process tries, and the others wait for its answer."""
    one, other = await make()
    (await one.acquire()).throttled(None)
    probe = await one.acquire()
    waiting = [asyncio.create_task(limit.acquire()) for limit in (one, other)]
    await asyncio.sleep(1.5)
    assert not any(task.done() for task in waiting)
    probe.taken()
    end([probe, *await asyncio.gather(*waiting)])


async def test_a_probe_that_was_never_answered_holds_nobody_up(make):
    """The one order that all wait for may be cancelled before it was answered."""
    one, other = await make()
    (await one.acquire()).throttled(None)
    probe = await one.acquire()
    waiting = asyncio.create_task(other.acquire())
    await asyncio.sleep(0.2)
    assert not waiting.done()
    probe.release()

    end([await waiting])


async def test_so_many_are_pending_over_all(make, server):
    """With pending=3 a fourth order waits, wherever it comes from."""
    one, other = await make(pending=3)
    held = [await one.acquire(), await one.acquire(), await other.acquire()]
    waiting = [asyncio.create_task(limit.acquire()) for limit in (one, other)]
    await asyncio.sleep(0.3)
    assert not any(task.done() for task in waiting)
    held[0].release()
    held[0].release()  # again, it changes nothing
    done, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.sleep(0.1)

    assert (len(done), len(left), numbers(server)[0]) == (1, 1, 3)
    end(held)
    end([await task for task in waiting])


async def test_orders_of_a_process_go_as_they_came(make):
    """Whoever came first goes first, and who was cancelled is left out."""
    (limit,), came = await make(count=1, per_second=50), []

    async def order(number):
        permit = await limit.acquire()
        came.append(number)
        end([permit])

    orders = [asyncio.create_task(order(number)) for number in range(10)]
    await until(lambda: came)
    orders[8].cancel()
    await asyncio.wait(orders)

    assert came == [0, 1, 2, 3, 4, 5, 6, 7, 9]


async def test_nobody_starves(make):
    """A process with one order is next but one, however many wait in another."""
    for options in ({"pending": 2}, {"per_second": 100}):
        busy, quiet = await make(name=f"{{{options}}}", **options)
        went = []

        async def order(limit, went=went):
            permit = await limit.acquire()
            went.append(limit)
            await asyncio.sleep(0.001)
            end([permit])

        crowd = [asyncio.create_task(order(busy)) for _ in range(1000)]
        await until(lambda went=went: len(went) > 4)
        for _ in range(3):
            before = len(went)
            await order(quiet)
            # A few went while its question was on the way.
            assert went[before:].count(busy) < 100
        for task in crowd:
            task.cancel()
        await asyncio.wait(crowd)
        await asyncio.gather(busy.aclose(), quiet.aclose())


async def test_cancelling_at_any_step_takes_no_permit(make, server):
    """A cancelled order gives its turn back, whatever was under way."""
    one, other = await make(pending=1)
    for steps in range(40):
        held = await one.acquire()
        waiting = asyncio.create_task(one.acquire())
        await asyncio.sleep(0)
        held.release()
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        if not waiting.cancelled():
            waiting.result().release()
        (await other.acquire()).release()

    await until(lambda: numbers(server)[0] == 0)


async def test_what_a_killed_process_had_comes_back(make, server):
    """After kill -9 its permits are another's once its lease has run out."""
    program = await hold(server, 2, 1.5, 2)
    (limit,) = await make(count=1, pending=2, lease_s=1.5)
    waiting = asyncio.create_task(limit.acquire())
    await asyncio.sleep(2)
    assert not waiting.done()  # it lives, and renews
    await kill(program)

    end([await waiting])
    assert numbers(server)[1] == 1


async def test_a_killed_process_that_waited_holds_up_nobody_for_long(make, server):
    """Its turn is another's after 2 s, long before its lease runs out."""
    (limit,) = await make(count=1, pending=2)
    held = await limit.acquire()
    program = await hold(server, 2, 60, 1)
    await until(lambda: numbers(server) == [2, 2])
    await asyncio.sleep(0.2)  # it waits for one more
    await kill(program)
    waiting = asyncio.create_task(limit.acquire())
    await asyncio.sleep(0.1)
    held.release()

    async with asyncio.timeout(20):
        end([await waiting])


async def test_a_process_that_slept_beyond_its_lease_says_again_what_it_has(
    make, server
):
    """What it had was given to others; from then on it counts again."""
    program = await hold(server, 2, 1, 2)
    (limit,) = await make(count=1, pending=2, lease_s=1)
    program.send_signal(signal.SIGSTOP)
    permits = [await limit.acquire(), await limit.acquire()]
    assert numbers(server)[0] == 2
    program.send_signal(signal.SIGCONT)
    await until(lambda: numbers(server)[0] == 4)
    permits.pop().release()
    waiting = asyncio.create_task(limit.acquire())
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await kill(program)

    end([*permits, await waiting])


async def test_a_lost_answer_loses_no_permit(make, server, proxy):
    """Where the answer that brings permits is lost, they are given again, once."""
    (limit,) = await make(proxy.url, count=1, pending=5)
    end([await limit.acquire()])
    proxy.answers_lost = 2
    permits = await asyncio.gather(*(limit.acquire() for _ in range(5)))
    await until(lambda: numbers(server)[0] == 5)
    proxy.answers_lost = 1
    end(permits)

    await until(lambda: numbers(server)[0] == 0)


async def test_a_probe_whose_leave_was_lost_is_let_go_again(make, proxy):
    """While the pace is found out, an answer that was lost blocks nobody."""
    (limit,) = await make(proxy.url, count=1)
    (await limit.acquire()).throttled(None)
    waiting = asyncio.create_task(limit.acquire())
    await asyncio.sleep(0.5)
    proxy.answers_lost = 1

    async with asyncio.timeout(20):
        end([await waiting])


async def test_leave_that_came_after_half_a_lease_is_asked_for_again(
    make, proxy, server
):
    """By then it may be another's."""
    server.ask("CONFIG", "RESETSTAT")
    (limit,) = await make(proxy.url, count=1, lease_s=1.0, pending=1)
    proxy.held.clear()
    waiting = asyncio.create_task(limit.acquire())
    await asyncio.sleep(0.7)
    proxy.held.set()
    await waiting

    assert numbers(server)[0] == 1
    with server.client() as client:
        steps = client.info("commandstats")["cmdstat_evalsha"]
    assert steps["calls"] - steps["failed_calls"] >= 2


async def test_leave_that_comes_too_late_is_given_back(make, proxy, server):
    """Cancelled while its leave was on the way, a probe holds nobody up."""
    (limit,), (other,) = await make(proxy.url, count=1), await make(count=1)
    (await limit.acquire()).throttled(None)
    await asyncio.sleep(1.2)  # from here on one may try
    proxy.held.clear()
    order = asyncio.create_task(limit.acquire())
    await asyncio.sleep(0.1)
    order.cancel()
    await asyncio.wait([order])
    proxy.held.set()
    await until(lambda: numbers(server) == [0, 1])

    async with asyncio.timeout(20):
        end([await other.acquire()])


async def test_an_end_counts_once_however_often_it_is_said(make, server, proxy):
    """What is said again because its answer was lost is not counted again."""
    (limit,) = await make(proxy.url, count=1)
    permit = await limit.acquire()
    await asyncio.sleep(0.1)
    proxy.answers_lost = 2
    end([permit])
    await until(lambda: not proxy.answers_lost)
    end([await limit.acquire()])
    await until(lambda: numbers(server)[0] == 0)
    with server.client() as client:
        taken = client.eval(
            "return cmsgpack.unpack(redis.call('GET', KEYS[1])).pace.taken", 1, KEY
        )

    assert taken == 2


async def test_cuts_are_survived(make, server, proxy):
    """With all connections cut now and then, every order goes, and none too many."""
    limits, out, peak = await make(proxy.url, pending=4), 0, 0

    async def order(limit):
        nonlocal out, peak
        permit = await limit.acquire()
        out += 1
        peak = max(peak, out)
        await asyncio.sleep(0.01)
        out -= 1
        end([permit])

    orders = [asyncio.create_task(order(limits[n % 2])) for n in range(120)]
    for _ in range(4):
        await asyncio.sleep(0.3)
        proxy.cut()
    await asyncio.gather(*orders)

    assert peak <= 4
    await until(lambda: numbers(server)[0] == 0)


async def test_a_server_that_forgets_is_told_again(make, mortal, caplog):
    """Restarted with nothing in it, it knows of all permits within seconds."""
    one, other = await make(mortal.url, pending=4)
    held = [await one.acquire(), await one.acquire(), await other.acquire()]
    mortal.kill()
    waiting = asyncio.create_task(one.acquire())
    await asyncio.sleep(0.7)
    mortal.start()
    held.append(await waiting)
    await until(lambda: numbers(mortal) == [4, 2])

    assert "does not answer" in caplog.text
    end(held)


async def test_orders_fail_unsent_when_the_server_stays_away(make, mortal, caplog):
    """They wait for some time, then fail; what comes later fails soon."""
    (limit,) = await make(mortal.url, count=1, away_s=1.0)
    permit = await limit.acquire()
    mortal.kill()
    began = time.monotonic()
    with pytest.raises(ConnectionFailedError, match="no order is sent") as caught:
        await limit.acquire()
    assert time.monotonic() - began > 0.9
    with pytest.raises(ConnectionFailedError):
        await limit.acquire()
    permit.release()
    mortal.start()
    end([await limit.acquire()])

    assert caught.value.charged is False
    await until(lambda: numbers(mortal)[0] == 0)


async def test_a_server_that_hangs_is_one_that_is_away(make, proxy, monkeypatch):
    """Where nothing comes back, an order fails after the time for one answer."""
    url = f"{proxy.url}?socket_timeout=0.2"
    (limit,) = await make(url, count=1, away_s=0.5)
    end([await limit.acquire()])
    proxy.held.clear()
    with pytest.raises(ConnectionFailedError):
        await limit.acquire()
    proxy.held.set()

    end([await limit.acquire()])


async def test_what_is_refused_fails_at_once_and_shows_no_password(caplog, capfd):
    """A wrong password is a matter of set-up, and is in no text."""
    caplog.set_level(logging.DEBUG)
    if not FOUND:
        pytest.skip(ABSENT)
    with RedisServer(("--requirepass", "the right one")) as server:
        limit = RedisLimit(f"{server.url}?password=canary%2Fpassword")
        async with limit:
            with pytest.raises(ConfigurationError, match="username-password") as caught:
                await limit.acquire()

    texts = (str(caught.value), repr(limit), repr(vars(limit)), caplog.text)
    assert not any("canary" in text for text in texts)


async def test_a_clock_that_was_set_back_holds_up_nobody(make, server):
    """Where the server was an hour ahead, orders go on all the same."""
    (limit,) = await make(count=1, per_second=100)
    end([await limit.acquire()])
    ahead = """
    local state = cmsgpack.unpack(redis.call('GET', KEYS[1]))
    state.now, state.pace.next_at = state.now + 3600, state.pace.next_at + 3600
    redis.call('SET', KEYS[1], cmsgpack.pack(state))
    """
    with server.client() as client:
        client.eval(ahead, 1, KEY)

    async with asyncio.timeout(20):
        end([await limit.acquire(), await limit.acquire()])


async def test_who_may_not_publish_asks_instead(make, server):
    """Without the right to call others, they come by themselves, a little later."""
    with server.client() as client:
        client.acl_setuser(
            *("plain", True),
            passwords=["+word"],
            commands=["+@all"],
            keys=["*"],
            reset_channels=True,
        )
        one, other = await make(f"{server.url}?username=plain&password=word", pending=1)
        held = await one.acquire()
        waiting = asyncio.create_task(other.acquire())
        await asyncio.sleep(0.1)
        held.release()
        end([await waiting])
        await asyncio.gather(one.aclose(), other.aclose())
        client.acl_deluser("plain")


async def test_the_rights_in_the_docs_are_enough(make, server, caplog):
    """A user with no more than docs/guides/web-apps.md names is all that it needs."""
    with server.client() as client:
        client.acl_setuser(
            *("small", True),
            passwords=["+word"],
            commands=[f"+{each}" for each in RIGHTS.split()],
            keys=["{apimodels}:*"],
            channels=["{apimodels}:*"],
        )
        client.script_flush()
        one, other = await make(f"{server.url}?username=small&password=word", pending=1)
        held = await one.acquire()
        waiting = asyncio.create_task(other.acquire())
        await asyncio.sleep(0.1)
        held.release()
        end([await waiting])
        await asyncio.gather(one.aclose(), other.aclose())
        client.acl_deluser("small")

    assert caplog.text == ""


async def test_each_event_loop_has_its_own_part(make, server):
    """One object serves several loops in threads, and one bound holds for all."""
    (limit,) = await make(count=1, pending=2)
    permits = [await limit.acquire()]

    async def elsewhere():
        async with limit:
            permit = await limit.acquire()
            assert numbers(server) == [2, 2]
            end([permit])

    await run_in_thread(elsewhere)
    end(permits)


async def run_in_thread(work):
    """Run *work* in another thread with a loop of its own."""
    ended = []

    def run():
        ended.append(asyncio.run(work()))

    thread = threading.Thread(target=run)
    thread.start()
    await until(lambda: not thread.is_alive())
    assert ended == [None]


FORK = """
import asyncio, os, sys
from apimodels_async.integrations.redis import RedisLimit
limit = RedisLimit(sys.argv[1])
async def child():
    async with limit:
        (await limit.acquire()).release()
async def main():
    permit = await limit.acquire()
    pid = os.fork()
    if not pid:
        permit.release()
        asyncio._set_running_loop(None)
        asyncio.set_event_loop(None)
        asyncio.run(child())
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_forked_child_has_its_own_part(server):
    """It gives nothing of its parent's back, and takes permits of its own."""
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", FORK, server.url), stdout=pipe
    )
    assert await program.stdout.readline() == b"0\n"

    assert numbers(server)[0] == 1
    await kill(program)


async def test_closing_says_the_last_and_fails_who_waits(server):
    """After the block nothing is out or left open, and who waits is told."""
    async with RedisLimit(server.url, pending=1) as limit:
        permit = await limit.acquire()
        waiting = asyncio.create_task(limit.acquire())
        await asyncio.sleep(0.1)
        end([permit])
        waiting_too = asyncio.create_task(limit.acquire())
        await asyncio.sleep(0)
        await limit.aclose()
        await limit.aclose()
    ended = await asyncio.gather(waiting, waiting_too, return_exceptions=True)

    assert [type(each) for each in ended].count(ConfigurationError) >= 1
    assert numbers(server)[0] == 0


LEAVE = """
import asyncio, sys
from apimodels_async.integrations.redis import RedisLimit
async def order(limit):
    permit = await limit.acquire()
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0)  # by now the limit's own task has ended
        permit.release()
async def main():
    limit = RedisLimit(sys.argv[1], pending=3)
    orders = [asyncio.create_task(order(limit)) for _ in range(6)]
    await asyncio.sleep(0.5)
asyncio.run(main())
"""


async def test_a_loop_that_ends_leaves_nothing_open(server):
    """A program that ends with orders out and waiting has nothing to complain of."""
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", LEAVE, server.url),
        stderr=pipe,
    )
    _, said = await program.communicate()

    assert (program.returncode, said) == (0, b"")


async def test_a_server_that_stays_away_is_not_asked_for_ever(make, mortal):
    """Once who waited has failed and nothing is out, nobody asks any more."""
    (limit,) = await make(mortal.url, count=1, away_s=0.2)
    mortal.kill()
    with pytest.raises(ConnectionFailedError):
        await limit.acquire()
    await until(
        lambda: (
            not [t for t in asyncio.all_tasks() if t.get_name() == "apimodels-limit"]
        )
    )


async def test_it_closes_itself_when_nothing_is_left(server):
    """Some seconds after the last order, neither task nor connection is there."""
    limit = RedisLimit(server.url)
    end([await limit.acquire()])

    def is_over():
        return not [
            task for task in asyncio.all_tasks() if "apimodels" in task.get_name()
        ]

    assert not is_over()
    await until(is_over)
    end([await limit.acquire()])
    await limit.aclose()


def test_a_loop_that_ended_is_forgotten(running_server):
    """An object that serves one loop after the other keeps the last one's part."""
    limit = RedisLimit(running_server.url)

    async def order():
        (await limit.acquire()).release()

    for _ in range(3):
        asyncio.run(order())
    assert len(limit._workers) == 1


def test_what_makes_no_sense_is_refused():
    """Numbers that are no bounds, and addresses that are none, show no password."""
    for options in ({"pending": 0}, {"pending": 1.5}, {"per_second": True}):
        with pytest.raises(ConfigurationError, match="RedisLimit"):
            RedisLimit("redis://localhost", **options)
    for url in ("http://localhost", "redis://:can/ary@localhost", "orders.sqlite"):
        with pytest.raises(ConfigurationError) as caught:
            RedisLimit(url)
        assert "can" not in str(caught.value)
        assert caught.value.__context__ is None


def test_the_door_has_what_it_says():
    """Both names are had by asking, and no others."""
    assert {"RedisLimit", "RedisRelay"} <= set(dir(door))
    with pytest.raises(AttributeError, match="RedisQueue"):
        _ = door.RedisQueue
