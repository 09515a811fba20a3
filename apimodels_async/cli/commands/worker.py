"""``apimodels worker``: order for all who put rows into a queue."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

from attrs import define, field
from cyclopts import Parameter, validators

from apimodels_async import ConfigurationError
from apimodels_async._text import counted
from apimodels_async.cli.broker import address_of, find_broker
from apimodels_async.cli.context import on_signals, session_options
from apimodels_async.cli.destinations import check_out
from apimodels_async.cli.errors import BROKER_VARIABLE, ExitCode, signal_exit_code
from apimodels_async.cli.log import showing_log
from apimodels_async.cli.options import Common, Count, Out, Positive
from apimodels_async.cli.output import Output, dollars
from apimodels_async.cli.words import plain_words

if TYPE_CHECKING:
    from apimodels_async.integrations.streaq import Answer, WorkerLoop

CONCURRENCY: Final = 50
GRACE_S: Final = 25
PERIOD_S: Final = 60.0
"""Between two lines about all of it."""

Seconds = Annotated[int, Parameter(validator=validators.Number(gte=0))]


async def worker(
    broker: Annotated[str | None, Parameter(show_default=False)] = None,
    *,
    out: Out = None,
    concurrency: Annotated[
        int, Parameter(validator=validators.Number(gte=1))
    ] = CONCURRENCY,
    pending: Count = None,
    per_second: Annotated[Positive | None, Parameter(show_default=False)] = None,
    queue: str = "apimodels",
    grace: Seconds = GRACE_S,
    common: Common = Common(),
) -> int:
    """
    Order what others put into the queue on BROKER, until Ctrl-C; costs money.

    Run it on as many machines as you like, and put rows there from one with
    "apimodels batch FILE --broker BROKER", or from Python. The Redis server is
    queue, order store and the account's limit: each row is bought once, whichever
    worker has it, and however often. What a killed worker had goes to others
    after a minute.

    Ctrl-C takes no more, and gives what does not end in time back to the queue; a
    second one leaves at once.

    Args:
        broker: Redis server, 7.0 or newer, or Valkey: redis://HOST; else
            APIMODELS_BROKER (a better place for a password).

        out: Folder, or place in object storage (s3://bucket/prefix/), for pictures of
            rows that name none; else they are not saved here.

        concurrency: Rows at once in this process; each is a picture under way.

        pending: Pictures under way at once in the whole account; the same for all
            workers.

        per_second: Orders a second in the whole account; as --pending.

        queue: Name of the queue.

        grace: Seconds for which rows under way may end after Ctrl-C.
    """
    output = Output(common.json)
    url = find_broker(broker)
    if url is None:
        msg = (
            "no broker is named; run: apimodels worker redis://HOST, or set "
            f"{BROKER_VARIABLE}"
        )
        raise ConfigurationError(msg)
    await check_out(out, folder=True)
    from apimodels_async.integrations.streaq import WorkerLoop, WorkerProcess

    make = partial(
        WorkerProcess,
        url=url,
        save_to=out,
        concurrency=concurrency,
        queue=queue,
        pending=pending,
        per_second=per_second,
        grace_period=grace,
        options=session_options(common),
    )
    log = WorkerLog(output)
    loop = WorkerLoop(make, log.told)
    server = address_of(url)
    output.note(f"Working for the queue {queue} on {server}; Ctrl-C stops it.")
    output.record("worker", broker=server, queue=queue, concurrency=concurrency)
    stop = partial(log.stop, loop, grace)
    with on_signals(stop, log.last_words), showing_log("worker", "stores"):
        telling = asyncio.create_task(log.tell_now_and_then(loop))
        try:
            await loop.run()
        finally:
            telling.cancel()
            await asyncio.wait([telling])
    output.note(f"Stopped: {log.summary()}")
    return ExitCode.OK if log.signal is None else signal_exit_code(log.signal)


@define(eq=False)
class WorkerLog:
    """What a worker says of its rows."""

    output: Output
    states: Counter[str] = field(init=False, factory=Counter[str])
    spent: Decimal = field(init=False, default=Decimal(0))
    again: int = field(init=False, default=0)
    """Rows that were given to a worker before."""
    signal: int | None = field(init=False, default=None)

    def told(self, answer: Answer, seconds: float) -> None:
        """Print how a row ended."""
        self.states[answer.state.value] += 1
        self.again += answer.tries > 1
        self.spent += answer.cost or 0
        error = None if answer.error is None else plain_words(str(answer.error))
        what = " ".join((*answer.paths, *([error] if error else [])))
        tries = f", try {answer.tries}" if answer.tries > 1 else ""
        self.output.line(
            f"{answer.state.value:<9}  {answer.idempotency_key}  "
            f"{answer.task_id or '-'}  {dollars(answer.cost)}  "
            f"{seconds:.1f} s{tries}  {what}".rstrip()
        )
        self.output.record(
            "answer",
            idempotency_key=answer.idempotency_key,
            state=answer.state,
            task_id=answer.task_id,
            credits=answer.cost,
            paths=answer.paths,
            error=error,
            tries=answer.tries,
            seconds=round(seconds, 3),
        )

    def summary(self) -> str:
        """Return all of it in a line."""
        counts = ", ".join(f"{n} {word}" for word, n in self.states.most_common())
        text = f"{counts or 'no rows'}; ${self.spent} on them"
        return f"{text}; {self.again} were redelivered" if self.again else text

    async def tell_now_and_then(self, loop: WorkerLoop) -> None:
        """Print all of it every minute."""
        while True:
            await asyncio.sleep(PERIOD_S)
            self.output.note(f"{loop.under_way} under way; {self.summary()}")

    def stop(self, loop: WorkerLoop, grace: int, number: int) -> None:
        """End *loop* at the first signal."""
        self.signal = number
        self.output.note(
            f"Stopping: {counted(loop.under_way, 'row')} under way may end within "
            f"{grace} s, then they go back to the queue. Ctrl-C again leaves at once: "
            "others take them up after a minute, and what has no answer yet is of "
            "unknown fate.",
            "yellow",
        )
        loop.stop()

    def last_words(self) -> str:
        """Return what to say as the process ends now."""
        return f"{self.summary()}\n"
