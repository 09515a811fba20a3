"""
Tasks and the account: what was accepted, how it ends, what it costs.

Rules: everything that changes a task's state or the account is in this file. A
task is settled at most once; only a completed one is charged, at that moment;
what was held for a failed one is given back. A stuck one stays for ever, and
so does what is held for it.
"""

import asyncio
import random
import string
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from math import inf
from typing import Any

from attrs import define, field, frozen

from apimodels_async.emulator.service.catalogue import Model
from apimodels_async.emulator.service.timeline import Timeline
from apimodels_async.emulator.service.values import (
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


@define
class Account:
    """
    One account in USD. `balance` is `total` minus `frozen`.

    Source:
        API documentation, "Account"; charged on completion, once, and never
        for a failure.
    """

    total: Decimal
    frozen: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)

    @property
    def balance(self) -> Decimal:
        """Credits that new tasks may still cost."""
        return self.total - self.frozen

    def reserve(self, price: Decimal) -> bool:
        """Hold *price* for running work; False, and nothing held, when short."""
        if self.balance < price:
            return False
        self.frozen += price
        return True

    def capture(self, price: Decimal) -> None:
        """Deduct a price that was held."""
        self.frozen -= price
        self.total -= price
        self.spent += price

    def release(self, price: Decimal) -> None:
        """Give back a price that was held."""
        self.frozen -= price


@frozen(kw_only=True)
class Order:
    """A checked request: what it will give, how long it takes, what it costs."""

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
    task_fault: str | None = None
    """Kind of the fault that decides how it ends."""


@frozen
class Outcome:
    """How a task is going to end."""

    failure: Failure | None = None
    service_s: float = 0.0
    empty: bool = False


def outcome_of(order: Order) -> Outcome:
    """
    Return how *order* ends, from the fault that hit it and its prompt's tags.

    Tags: ``[refused]`` fails moderation, ``[fail]`` fails upstream, ``[stuck]``
    never ends; ``[slow]`` takes ten times as long (see Durations).
    """
    fault, prompt = order.task_fault, order.prompt
    if fault == "completed":
        return Outcome(service_s=0.0)
    if fault == "stuck" or "[stuck]" in prompt:
        return Outcome(service_s=inf)
    if fault == "refused" or "[refused]" in prompt:
        return Outcome(REFUSED, order.service_s)
    if "[fail]" in prompt:
        return Outcome(BUSY, order.service_s)
    return Outcome(None, order.service_s, empty=fault == "no_result")


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

    kept_tasks: int = KEPT_RECORDS
    """The oldest settled one is dropped when there are more."""

    kept_poll_times: int = KEPT_POLL_TIMES
    """For each task."""

    pending: int = 0
    peak_pending: int = 0
    completed: int = 0
    failed: int = 0
    _waiters: dict[str, asyncio.Future[None]] = field(factory=dict)

    def accept(self, order: Order, *, listed: bool = True) -> EmulatedTask:
        """
        Accept *order*: hold its price, enter it, and set its timer.

        Raises:
            RefusalError: 402, the balance is too low. Nothing was entered.
        """
        if not self.account.reserve(order.price):
            left = self.account.balance
            msg = f"Insufficient credits: {order.price} needed, {left} left"
            raise RefusalError(402, msg)
        task = self._new_task(order)
        self._add(self.tasks if listed else self.generations, task)
        self.pending += listed
        self.peak_pending = max(self.peak_pending, self.pending)
        if task.due_at <= self.timeline.now():
            self._settle(task, listed=listed)
        else:
            settle = partial(self._settle, task, listed=listed)
            self.timeline.at(task.due_at, settle)
        return task

    def find(self, task_id: str) -> EmulatedTask | None:
        """Return the task with that id, brought up to date."""
        self.timeline.run_due()
        return self.tasks.get(task_id) or self.generations.get(task_id)

    def count_poll(self, task_id: str, at: float) -> None:
        """Count a poll that arrived, whatever it is answered."""
        if task := self.find(task_id):
            task.polls += 1
            if len(task.poll_times) < self.kept_poll_times:
                task.poll_times.append(at)

    async def wait_settled(self, task: EmulatedTask) -> None:
        """Wait until *task* is settled."""
        if task.settled:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[task.id] = waiter
        await waiter

    def new_token(self, length: int = 23) -> str:
        """Return random letters and digits for an id or a file name."""
        return "".join(self.rng.choices(_ID_LETTERS, k=length))

    def _add(self, tasks: dict[str, EmulatedTask], task: EmulatedTask) -> None:
        tasks[task.id] = task
        if len(tasks) > self.kept_tasks:
            oldest = next((key for key, old in tasks.items() if old.settled), task.id)
            del tasks[oldest]

    def _new_task(self, order: Order) -> EmulatedTask:
        now = self.timeline.now()
        outcome = outcome_of(order)
        names = [f"{self.new_token()}.{sketch.format}" for sketch in order.sketches]
        urls = [f"{self.origin()}/files/images/{name}" for name in names]
        failed_or_empty = outcome.failure is not None or outcome.empty
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
            starts_at=now + PENDING_SHARE * outcome.service_s,
            due_at=now + outcome.service_s,
            clock=self.timeline.now,
            sketches=tuple(zip(names, order.sketches, strict=True)),
            urls=() if failed_or_empty else tuple(urls),
            layers=[] if failed_or_empty else layers,
            failure=outcome.failure,
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
