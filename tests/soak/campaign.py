"""One run of many orders through a chaos proxy, and the figures of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
from soak.checker import Books, Intent, check, found_again, leaks
from support.proxy import PAID_KINDS, ChaosProxy, draw_schedule, shrink
from support.serving import served_callback
from support.sessions import KEY

from apimodels_async import (
    ApiModelsError,
    PollPolicy,
    RetryPolicy,
    Session,
    TaskHandle,
    Timeouts,
)
from apimodels_async.emulator import Emulator

SECRET_WORD = "moonlit-canary-prompt"
IN_FLIGHT = 40
SERVICE_S = 0.02
INTERVAL_S = 0.05
PATIENCE_S = 4.0  # the emulator calls within 20 ms, and again after 1 s
HOW = ("generate", "submit", "edit", "generate-model")


@dataclass
class Report:
    """What a run came to."""

    seed: int
    history: list
    broken: list
    """Invariants violated, in words."""
    faults: Counter
    """How often each misdeed was done to a paid POST."""
    fates: Counter
    posts: int
    charged: int
    twice: int
    tries: int | None = None
    """Tries of paid POSTs, and how many never left; only of a lent pool."""
    not_sent: int | None = None
    seconds: float = 0.0
    left: list = field(default_factory=list)


class _Notes(logging.Handler):
    """Keeps what is logged, message, arguments and traceback."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.texts = []

    def emit(self, record):
        """Keep one record."""
        self.texts.append(f"{record.getMessage()} {record.args!r}")
        if record.exc_info:
            self.texts.append("".join(traceback.format_exception(*record.exc_info)))


@contextlib.contextmanager
def listening():
    """Give the texts of all that is logged meanwhile, by anyone."""
    root, notes = logging.getLogger(), _Notes()
    before = root.level
    root.addHandler(notes)
    root.setLevel(logging.DEBUG)
    try:
        yield notes.texts
    finally:
        root.setLevel(before)
        root.removeHandler(notes)


def error_texts(error, *, local=False):
    """Return every text that an exception can be made to show, locals on demand."""
    frames = traceback.TracebackException.from_exception(
        error, capture_locals=local, compact=False
    )
    texts = [str(error), repr(error), f"{error}", repr(vars(error)), *frames.format()]
    for chained in (error.__cause__, error.__context__):
        texts += error_texts(chained, local=local) if chained is not None else []
    return texts


class Tries:
    """
    Counts tries of paid POSTs, and those whose headers left, by aiohttp's own trace.
    """

    def __init__(self):
        self.made = self.sent = 0
        self.trace = aiohttp.TraceConfig()
        self.trace.on_request_start.append(self._start)
        self.trace.on_request_headers_sent.append(self._left)

    async def _start(self, _session, _context, params):
        self.made += params.method == "POST"

    async def _left(self, _session, _context, params):
        self.sent += params.method == "POST"


async def run(  # noqa: PLR0913  what a run can vary in
    seed,
    intents,
    *,
    schedule=None,
    lent=False,
    in_flight=IN_FLIGHT,
    gets=0.2,
    down=0.3,
    attempts=6,
    fresh=False,
    kinds=PAID_KINDS,
    called_back=False,
):
    """Order *intents* pictures through a schedule of faults; return the report."""
    if schedule is None:
        schedule = draw_schedule(seed, intents, gets=gets, down=down, kinds=kinds)
    random.seed(seed)  # the session's jitter
    started = time.monotonic()
    history = [
        Intent(number, HOW[number % 4], f"{SECRET_WORD} intent-{number}. end")
        for number in range(intents)
    ]
    tries, gate = Tries(), asyncio.Semaphore(in_flight)
    emulator = Emulator(
        api_key=KEY, credits=str(intents), service_times={"*": SERVICE_S}, seed=seed
    )
    async with contextlib.AsyncExitStack() as stack:
        logged = stack.enter_context(listening())
        await stack.enter_async_context(emulator)
        proxy = await stack.enter_async_context(ChaosProxy(emulator, schedule))
        http = None
        if lent:
            connector = aiohttp.TCPConnector(force_close=fresh)
            http = await stack.enter_async_context(
                aiohttp.ClientSession(connector=connector, trace_configs=[tries.trace])
            )
        callback = None
        if called_back:
            callback = await stack.enter_async_context(
                served_callback(interval=1.0, patience=PATIENCE_S)
            )
        session = Session(
            base_url=proxy.base_url,
            api_key=KEY,
            polling=PollPolicy.unchecked(interval=INTERVAL_S, deadline=30),
            retry=RetryPolicy(attempts=attempts, base=0.05, cap=0.5),
            timeouts=Timeouts(connect=5, read=2.5, generate=2.5),
            fresh_connections=fresh and not lent,
            http=http,
            callback=callback,
        )

        async def place_in_turn(intent):
            async with gate:
                await place(session, intent)
                if intent.number % 10 == 0:
                    with contextlib.suppress(ApiModelsError):
                        await session.balance()

        async with session:
            await asyncio.gather(*map(place_in_turn, history))
        left = [
            task.get_name()
            for task in asyncio.all_tasks()
            if task.get_name().startswith("apimodels-")
        ]
        await asyncio.sleep(2 * SERVICE_S)
        emulator.advance(60)
        await asyncio.sleep(0.01)
        posts = proxy.posts
        done = [
            fault.kind for name, fault in proxy.done if fault and name[:4] == "post"
        ]
        books = Books.of(emulator)
    longest = time.monotonic() - started
    broken = check(history, books, polls_max=longest / INTERVAL_S + 3)
    if called_back:
        broken += found_again(history, books)
    broken += [f"I7 left running: {name}" for name in left]
    errors = [intent.error for intent in history if intent.error is not None]
    shown = [*logged, *(text for error in errors for text in error_texts(error))]
    inner = [text for error in errors for text in error_texts(error, local=True)]
    # The caller's own frames hold its prompt; no frame may hold the key.
    seen = leaks(shown, KEY, SECRET_WORD) + leaks(inner, KEY)
    broken += [f"I8 {text[:200]}" for text in seen[:5]]
    charges = Counter(work.prompt for work in books.works if work.charged)
    return Report(
        seed=seed,
        history=history,
        broken=broken,
        faults=Counter(done),
        fates=Counter(intent.fate for intent in history),
        posts=posts,
        charged=sum(charges.values()),
        twice=sum(count > 1 for count in charges.values()),
        tries=tries.made if lent else None,
        not_sent=tries.made - tries.sent if lent else None,
        seconds=longest,
        left=left,
    )


async def least(report, **options):
    """Return the seed, and the smallest schedule that still breaks an invariant."""
    seed, count = report.seed, len(report.history)

    async def fails(schedule):
        return bool((await run(seed, count, schedule=schedule, **options)).broken)

    drawn = {name: options[name] for name in ("down", "kinds") if name in options}
    found = await shrink(draw_schedule(seed, count, **drawn), fails)
    lines = [f"    {name}: {fault}" for name, fault in found.items()]
    return "\n".join([f"seed {seed}, smallest schedule that fails:", *lines])


async def place(session, intent):
    """Order one picture and note what came of it."""
    images = session.images
    try:
        match intent.how:
            case "generate":
                result = await images.generate(intent.prompt)
            case "edit":
                picture = ["https://files.example/a.png"]
                result = await images.edit(intent.prompt, images=picture)
            case "submit":
                handle = await images.submit(intent.prompt, model="gpt-image-2")
                assert isinstance(handle, TaskHandle)
                intent.task_id = handle.task_id
                result = await handle
            case _:
                result = await images.generate(intent.prompt, model="gpt-image-2")
                intent.task_id = result.task_id
        intent.url = result.url
    except ApiModelsError as error:
        intent.error = error
    intent.ended += 1
