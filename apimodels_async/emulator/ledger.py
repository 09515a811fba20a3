"""
All work of the emulator, from acceptance to its one settlement.

Rules: everything that changes a task's fate or the account is in this file. A
task is settled at most once; only a completed one is charged, at that moment;
what was held for a failed one is given back. A stuck one stays for ever, and
so does what is held for it.
"""

import asyncio
import random
import string
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from math import inf
from typing import Any

from attrs import define, field, frozen

from apimodels_async.emulator.catalogue import Model
from apimodels_async.emulator.money import Account
from apimodels_async.emulator.timeline import Timeline
from apimodels_async.emulator.values import (
    KEPT_POLL_TIMES,
    KEPT_RECORDS,
    EmulatedTask,
    Failure,
    RefusalError,
    RequestRecord,
    Sketch,
)

PENDING_SHARE = 0.2  # of the service time; a guess, the docs give no figure
_ID_LETTERS = string.ascii_lowercase + string.digits

REFUSED = Failure("Content policy violation", "CONTENT_MODERATION", retryable=False)
BUSY = Failure("Upstream is busy, try again later", "UPSTREAM_BUSY", retryable=True)


@frozen(kw_only=True)
class Order:
    """
    What was asked for, checked and ready to be made.
    """

    endpoint: str
    model: Model
    prompt: str
    params: dict[str, Any]
    service_s: float
    price: Decimal
    sketches: tuple[Sketch, ...] = ()
    layers: tuple[dict[str, Any], ...] = ()
    callback_url: str | None = None
    record: RequestRecord | None = None
    twist: str | None = None


@frozen
class Fate:
    """
    How a piece of work is going to end.
    """

    failure: Failure | None = None
    service_s: float = 0.0
    empty: bool = False


def fate(order: Order) -> Fate:
    """
    Decide the end of *order* from the fault that hit it and its prompt's tags.

    Tags: ``[refused]`` fails moderation, ``[fail]`` fails upstream, ``[stuck]``
    never ends; ``[slow]`` takes ten times as long (see Durations).
    """
    twist, prompt = order.twist, order.prompt
    if twist == "completed":
        return Fate(service_s=0.0)
    if twist == "stuck" or "[stuck]" in prompt:
        return Fate(service_s=inf)
    if twist == "refused" or "[refused]" in prompt:
        return Fate(REFUSED, order.service_s)
    if "[fail]" in prompt:
        return Fate(BUSY, order.service_s)
    return Fate(None, order.service_s, empty=twist == "no_result")


@define(eq=False)
class Ledger:
    """
    Tasks by id, their timers, and the account they are paid from.

    Synchronous generations are entered too, apart from `tasks`: their ids are
    shown only in callbacks, and can be polled.
    """

    timeline: Timeline
    account: Account
    rng: random.Random
    origin: Callable[[], str]
    on_settled: Callable[[EmulatedTask], None]
    tasks: dict[str, EmulatedTask] = field(factory=dict)
    generations: dict[str, EmulatedTask] = field(factory=dict)
    """Synchronous ones, by an id of the same form."""

    pending: int = 0
    peak_pending: int = 0
    completed: int = 0
    failed: int = 0
    _waiters: dict[str, asyncio.Future[None]] = field(factory=dict)

    def open(self, order: Order, *, listed: bool = True) -> EmulatedTask:
        """
        Accept *order*: hold its price, enter it, and set its timer.

        Raises:
            RefusalError: 402, the balance is too low. Nothing was entered.
        """
        if not self.account.reserve(order.price):
            left = self.account.balance
            msg = f"Insufficient credits: {order.price} needed, {left} left"
            raise RefusalError(402, msg)
        task = self._enter(order)
        _shelve(self.tasks if listed else self.generations, task)
        self.pending += listed
        self.peak_pending = max(self.peak_pending, self.pending)
        if task.due_at <= self.timeline.now():
            self._settle(task, listed=listed)
        else:
            settle = partial(self._settle, task, listed=listed)
            self.timeline.at(task.due_at, settle)
        return task

    def find(self, task_id: str) -> EmulatedTask | None:
        """
        Return the task with that id, brought up to date.
        """
        self.timeline.run_due()
        return self.tasks.get(task_id) or self.generations.get(task_id)

    def note_poll(self, task_id: str, at: float) -> None:
        """
        Count a poll that arrived, whatever it is answered.
        """
        if task := self.find(task_id):
            task.polls += 1
            if len(task.poll_times) < KEPT_POLL_TIMES:
                task.poll_times.append(at)

    async def finished(self, task: EmulatedTask) -> None:
        """
        Wait until *task* is settled.
        """
        if task.settled:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[task.id] = waiter
        await waiter

    def new_token(self, length: int = 23) -> str:
        """
        Return letters for an id or a file name.
        """
        return "".join(self.rng.choices(_ID_LETTERS, k=length))

    def _enter(self, order: Order) -> EmulatedTask:
        now = self.timeline.now()
        end = fate(order)
        names = [f"{self.new_token()}.{sketch.format}" for sketch in order.sketches]
        urls = [f"{self.origin()}/files/images/{name}" for name in names]
        failed_or_empty = end.failure is not None or end.empty
        layers = [
            {"url": url, **layer}
            for url, layer in zip(urls[1:], order.layers, strict=False)
        ]
        return EmulatedTask(
            id="cl" + self.new_token(),
            model=order.model.id,
            prompt=order.prompt,
            params=order.params,
            created_ms=self.timeline.epoch_ms(now),
            price=order.price,
            endpoint=order.endpoint,
            starts_at=now + PENDING_SHARE * end.service_s,
            due_at=now + end.service_s,
            clock=self.timeline.now,
            sketches=tuple(zip(names, order.sketches, strict=True)),
            urls=() if failed_or_empty else tuple(urls),
            layers=[] if failed_or_empty else layers,
            failure=end.failure,
            callback_url=order.callback_url,
            record=order.record,
        )

    def _settle(self, task: EmulatedTask, *, listed: bool) -> None:
        task.settled = True
        task.completed_ms = self.timeline.epoch_ms(task.due_at)
        self.pending -= listed
        if task.failure is None:
            self.account.capture(task.price)
            task.charged = True
            self.completed += 1
            if task.record is not None:
                task.record.charged = True
        else:
            self.account.release(task.price)
            self.failed += 1
        self.on_settled(task)
        waiter = self._waiters.pop(task.id, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)


def _shelve(shelf: dict[str, EmulatedTask], task: EmulatedTask) -> None:
    """
    Enter *task*; the oldest settled one leaves when the shelf is full.
    """
    shelf[task.id] = task
    if len(shelf) > KEPT_RECORDS:
        oldest = next((key for key, old in shelf.items() if old.settled), task.id)
        del shelf[oldest]


def entries(ledger: Ledger, part_of_prompt: str) -> list[Mapping[str, Any]]:
    """
    Return the tasks and synchronous generations for a prompt, oldest first.
    """
    found = [
        {
            "id": task.id,
            "endpoint": task.endpoint,
            "model": task.model,
            "prompt": task.prompt,
            "state": task.state,
            "price": str(task.price),
            "charged": task.charged,
            "created_ms": task.created_ms,
            "completed_ms": task.completed_ms,
            "polls": task.polls,
        }
        for task in (*ledger.tasks.values(), *ledger.generations.values())
        if part_of_prompt in task.prompt
    ]
    return sorted(found, key=lambda entry: str(entry["created_ms"]))
