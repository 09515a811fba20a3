"""
The calls of the asynchronous session, each cut at every moment.

A cut comes between two iterations of the event loop, the k-th and the next, or after a
random time. What a call returned is written down in the step in which it returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from functools import partial
from pathlib import Path

import anyio
from soak.accounts import listening
from support.waiting import until

from apimodels_async import (
    ApiModelsError,
    ImageRequest,
    Session,
    SparkPixImage,
    Timeouts,
)

TASK = "gpt-image-2"
PICTURE = ["https://files.example/a.png"]
LANES = 12  # calls at once, where they are cut at random moments
SMALL = {"width": 256, "height": 256}  # drawing is what takes long
BATCH = 6  # items
ENOUGH_S = 0.1
GROUP = 8  # calls of a session that is closed, or of a loop that ends
AT_A_STEP = ("cancel", "twice", "timeout", "scope", "sibling")
AT_A_TIME = ("cancel", "timeout", "fail_after", "wait_for")


class TurnLoop(asyncio.SelectorEventLoop):
    """An event loop that calls back between two of its iterations."""

    def __init__(self):
        super().__init__()
        self.turn = 0
        self._alarms = []

    def after(self, turns, callback):
        """Call *callback* after that many iterations."""
        self._alarms.append((self.turn + turns, callback))

    def _run_once(self):
        super()._run_once()
        self.turn += 1
        due = [each for each in self._alarms if each[0] <= self.turn]
        if due:
            self._alarms = [each for each in self._alarms if each[0] > self.turn]
            for _, callback in due:
                callback()


def run(main):
    """Run a coroutine on a loop of that kind."""
    with asyncio.Runner(loop_factory=TurnLoop) as runner:
        return runner.run(main)


# --- cuts --------------------------------------------------------------------------


async def cut_at_step(account, kind, turns, call):
    """Run *call* and cut it after that many iterations."""
    loop = asyncio.get_running_loop()
    try:
        match kind:
            case "timeout":
                async with asyncio.timeout(None) as limit:
                    loop.after(turns, partial(_expire, limit))
                    await call()
            case "scope":
                with anyio.CancelScope() as scope:
                    loop.after(turns, scope.cancel)
                    await call()
                account.cut[kind] += scope.cancelled_caught
            case "sibling":
                async with asyncio.TaskGroup() as group:
                    ours = group.create_task(call())
                    failing = loop.create_future()
                    group.create_task(_raise_from(failing))
                    loop.after(turns, partial(_fail, failing))
                    ours.add_done_callback(lambda _: _end(failing))
            case _:
                task = loop.create_task(call())
                loop.after(turns, task.cancel)
                if kind == "twice":
                    loop.after(turns + 1, task.cancel)
                await asyncio.wait([task])
                task.result()
    except* (asyncio.CancelledError, TimeoutError, KeyError):
        account.cut[kind] += 1


def _expire(limit):
    with contextlib.suppress(RuntimeError):  # it is over
        limit.reschedule(asyncio.get_running_loop().time())


async def _raise_from(failing):
    await failing


def _fail(failing):
    if not failing.done():
        failing.set_exception(KeyError("a sibling's"))


def _end(failing):
    if not failing.done():
        failing.set_result(None)


async def cut_at_time(account, kind, seconds, call):
    """Run *call* and cut it after that time."""
    loop = asyncio.get_running_loop()
    try:
        match kind:
            case "timeout":
                async with asyncio.timeout(seconds):
                    await call()
            case "fail_after":
                with anyio.fail_after(seconds):
                    await call()
            case "wait_for":  # what many users have
                await asyncio.wait_for(call(), seconds)  # noqa: TID251
            case _:
                task = loop.create_task(call())
                loop.call_later(seconds, task.cancel)
                await asyncio.wait([task])
                task.result()
    except (asyncio.CancelledError, TimeoutError):
        account.cut[kind] += 1


# --- single calls --------------------------------------------------------------------


async def noted(account, prompt, making):
    """Await a call and write down, in the step of its return, what it gave."""
    try:
        account.note("returned", await making)
    except ApiModelsError as error:
        account.note("error", error, prompt)


async def measure(call, times=8):
    """Return how many iterations and seconds a call takes, the most of some."""
    loop, turns, seconds = asyncio.get_running_loop(), 0, 0.0
    await call()  # imports
    for _ in range(times):
        turn, began = loop.turn, loop.time()
        await call()
        turns = max(turns, loop.turn - turn)
        seconds = max(seconds, loop.time() - began)
    return turns, seconds


async def every_moment(account, orders, seed, call):
    """Cut *call* after each number of iterations in turn, then at random moments."""
    rng = random.Random(seed)
    turns, seconds = await measure(call)
    while account.orders < orders // 2:
        for turn in range(turns + 2):
            kind = AT_A_STEP[sum(account.cut.values()) % len(AT_A_STEP)]
            await cut_at_step(account, kind, turn, call)
    await at_random(account, seconds, rng, call, lambda: account.orders < orders)


async def at_random(account, seconds, rng, call, more):
    """Cut *call* at random moments, several at once, while there is *more*."""

    async def lane():
        while more():
            kind = rng.choice(AT_A_TIME)
            await cut_at_time(account, kind, rng.uniform(0, 1.5 * seconds), call)

    await asyncio.gather(*(lane() for _ in range(LANES)))


async def settle(account, session, batches=()):
    """Wait until nothing is under way or pending, and write down what is left."""
    await until(lambda: not (session.stats().under_way or session.pending))
    note_end(account, session, batches)


async def _single(account, served, orders, seed, make):
    async with Session(**served.options) as session:

        async def call():
            prompt = account.prompt()
            await noted(account, prompt, make(session, prompt))

        await every_moment(account, orders, seed, call)
        await settle(account, session)


def _surface(make):
    def surface(account, served, orders, seed):
        run(_single(account, served, orders, seed, make))

    return surface


def _generate(session, prompt):
    return session.images.generate(prompt)


def _generate_task(session, prompt):
    return session.images.generate(prompt, model=TASK)


def _edit(session, prompt):
    return session.images.edit(prompt, images=PICTURE)


def _submit(session, prompt):
    return session.images.submit(prompt, model=TASK)


MAKERS = (_generate, _generate_task, _edit, _submit)
generate, generate_task, edit, submit = map(_surface, MAKERS)


def download(account, served, orders, seed):
    """Download what was ordered; a picture is in its user's hands all the time."""
    with tempfile.TemporaryDirectory() as folder:
        run(_download(account, served, orders, seed, Path(folder)))


async def _download(account, served, orders, seed, folder):
    rng = random.Random(seed)
    async with Session(**served.options) as session:
        ready = []

        async def order():
            prompt = account.prompt()
            result = await session.images.generate(prompt, seed=1, **SMALL)
            account.note("returned", result)
            ready.append((result, folder / f"{account.orders}"))

        async def call():
            if not ready:  # another lane was faster
                return
            result, target = ready.pop()
            save = session.download_all if len(ready) % 2 else session.download
            with contextlib.suppress(ApiModelsError):
                await save(result, target)

        # Ordering is another surface's.
        await asyncio.gather(*(order() for _ in range(LANES)))
        turns, seconds = await measure(call)
        for _ in range(orders // LANES):
            await asyncio.gather(*(order() for _ in range(LANES)))
            if account.orders < orders // 2:
                for _ in range(LANES):
                    cuts = sum(account.cut.values())
                    kind = AT_A_STEP[cuts % len(AT_A_STEP)]
                    await cut_at_step(account, kind, cuts % (turns + 2), call)
            await at_random(account, seconds, rng, call, lambda: ready)
        await settle(account, session)
    for file in folder.iterdir():
        if file.suffix != ".jpg" or not file.read_bytes().endswith(b"\xff\xd9"):
            account.faults.append(f"left on disk: {file.name}")


# --- batches -------------------------------------------------------------------------


def _items(account, *, saved):
    """Yield the requests of one batch, as far as they are read."""
    for number in range(BATCH):
        if saved or number % 2:
            yield SparkPixImage(prompt=account.prompt(), seed=1, **SMALL)
        else:
            yield ImageRequest(TASK, account.prompt())


async def _iterate(account, outcomes, leave):
    read = 0
    async for outcome in outcomes:
        account.note("returned", outcome)
        read += 1
        if read == leave:
            account.cut["break"] += 1
            break


async def _with_timeouts(account, outcomes, rng):
    while True:
        try:
            async with asyncio.timeout(rng.random() * 0.01):
                account.note("returned", await anext(outcomes))
        except TimeoutError:
            account.cut["timeout of anext"] += 1
        except StopAsyncIteration:
            return


def note_batch(account, batch):
    """Write down what a batch holds, of either session."""
    for outcome in batch.unread:
        account.note("unread", outcome)
    for handle in batch.pending:
        account.note("pending", handle)


async def _batches(account, served, orders, seed, folder, *, journal, saved):
    rng = random.Random(seed)
    async with Session(**served.options) as session:
        held = []

        async def call():
            number = len(held)
            place = folder / str(number)
            batch = session.images.batch(
                _items(account, saved=saved),
                max_pending=3,
                journal=place.with_suffix(".sqlite") if journal else None,
                download_to=place if saved else None,
            )
            held.append(batch)
            try:
                async with batch as outcomes:
                    if number % 5 == 1:
                        await _with_timeouts(account, outcomes, rng)
                    else:
                        await _iterate(account, outcomes, number % 5)
            except ApiModelsError as error:
                account.note("error", error)

        await every_moment(account, orders, seed, call)
        await settle(account, session, held)


def _batch_surface(*, journal=False, saved=False):
    def surface(account, served, orders, seed):
        with tempfile.TemporaryDirectory() as folder:
            how = {"journal": journal, "saved": saved}
            run(_batches(account, served, orders, seed, Path(folder), **how))

    return surface


batch = _batch_surface()
batch_journal = _batch_surface(journal=True)
batch_files = _batch_surface(journal=True, saved=True)


# --- the end of a session, and of a loop ----------------------------------------------


async def _order_all(account, session, held):
    """Begin some orders of each kind, and a batch; return the tasks that wait."""
    loop, tasks, images = asyncio.get_running_loop(), [], session.images
    for number in range(GROUP):
        prompt = account.prompt()
        making = MAKERS[number % 4](session, prompt)
        tasks.append(loop.create_task(noted(account, prompt, making)))

    async def consume():
        batch = images.batch(_items(account, saved=False), max_pending=3)
        held.append(batch)
        with contextlib.suppress(ApiModelsError):
            async with batch as outcomes:
                await _iterate(account, outcomes, 0)

    tasks.append(loop.create_task(consume()))
    return tasks


def _options(served, rng):
    """Return options of a session; every other one does not wait for what is out."""
    close = rng.choice([0.002, 20])
    timeouts = Timeouts(connect=20, read=20, generate=20, download=20, close=close)
    return {**served.options, "timeouts": timeouts}


def note_end(account, session, held):
    """Write down where what is left can be found after the end."""
    for batch in held:
        note_batch(account, batch)
    for orphan in session.take_orphans():
        account.note("orphans", orphan)


def aclose(account, served, orders, seed):
    """Close sessions whose orders are under way; cut the closing itself."""
    with listening() as lines:
        run(_aclose(account, served, orders, seed))
    account.note_text("log", "\n".join(lines), served.works())
    account.unnamed.pop("log", None)  # what has no id is in the error, or an orphan


async def _aclose(account, served, orders, seed):
    rng, number, turns = random.Random(seed), 0, 60
    while account.orders < orders:
        number += 1
        session, held = Session(**_options(served, rng)), []
        tasks = await _order_all(account, session, held)
        await asyncio.sleep(rng.uniform(0, 0.15))
        if number % 2:
            kind = AT_A_STEP[number // 2 % len(AT_A_STEP)]
            await cut_at_step(account, kind, number // 2 % turns, session.aclose)
        else:
            kind = AT_A_TIME[number // 2 % len(AT_A_TIME)]
            await cut_at_time(account, kind, rng.uniform(0, 0.02), session.aclose)
        await session.aclose()
        await asyncio.wait(tasks)
        for task in tasks:
            task.result()
        note_end(account, session, held)


ENDS = ("returned", "raised", "cancelled", "all cancelled", "stopped")


def loop_end(account, served, orders, seed):
    """End the loop under a session; its orphans do not count, only the log does."""
    rng, number, kept = random.Random(seed), 0, []
    with listening() as lines:
        while account.orders < orders:
            end = ENDS[number % len(ENDS)]
            number += 1
            account.cut[end] += 1
            turns, held = rng.randrange(160), []
            loop = TurnLoop()
            main = _program(account, _options(served, rng), end, turns, held)
            if end == "stopped":
                # Nobody cancels its tasks. They are kept: to collect them would be a
                # cancellation of a kind, and crashes some releases of Python.
                loop.run_until_complete(main)
                kept.append(asyncio.all_tasks(loop))
                loop.close()
            else:
                with (
                    contextlib.suppress(KeyError, asyncio.CancelledError),
                    asyncio.Runner(loop_factory=lambda loop=loop: loop) as runner,
                ):
                    runner.run(main)
            for batch in [each for each in held if not isinstance(each, Session)]:
                note_batch(account, batch)
            held.clear()
    account.note_text("log", "\n".join(lines), served.works())


async def _program(account, options, end, turns, held):
    """One program: it orders, and ends while its orders are under way."""
    loop = asyncio.get_running_loop()
    reached = loop.create_future()
    loop.after(turns, partial(_end, reached))
    loop.call_later(ENOUGH_S, _end, reached)  # an idle loop does not turn
    if end == "cancelled":  # as Ctrl-C does it, inside of `async with`
        async with Session(**options) as session:
            await _order_all(account, session, held)
            await reached
            asyncio.current_task().cancel()
            await asyncio.sleep(60)
    session = Session(**options)
    held.append(session)
    await _order_all(account, session, held)
    await reached
    if end == "raised":
        raise KeyError(end)
    if end == "all cancelled":  # the usual recipe for a graceful end
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
