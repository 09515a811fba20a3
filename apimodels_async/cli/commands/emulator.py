"""``apimodels emulator``: the emulator as a server of its own."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Annotated, Final

from cyclopts import Parameter

from apimodels_async import (
    ConfigurationError,
    InvalidRequestError,
    PollPolicy,
    Session,
)
from apimodels_async.cli.context import interruptible
from apimodels_async.cli.options import Amount, Flag, Port, Positive
from apimodels_async.cli.output import Output
from apimodels_async.emulator import Emulator, Fault

INTERVAL_S: Final = 2.5
"""Between two polls of one task, at the API's own speed."""

Faults = Annotated[list[str] | None, Parameter(name="--fault", negative="")]


async def emulator(
    *,
    host: str = "127.0.0.1",
    port: Port = 8787,
    api_key: str = "sk_emulator0123456789abcdef",
    credits: Amount = Decimal(100),  # noqa: A002  the option's name
    speed: Positive = 1.0,
    seed: int | None = None,
    faults: Faults = None,
    json: Flag = False,
) -> None:
    """
    Serve a complete fake of the API on this machine until Ctrl-C.

    Prints the two exports that make every other command talk to it.

    Args:
        host: Address to listen on.

        port: 0 takes a free one.

        api_key: The one key the emulator accepts; no secret, it guards nothing.

        credits: What its account starts with, US dollars.

        speed: 10: service times ten times shorter.

        seed: Ids and service times come from it; else they are new at each start, so
            that a store of orders never takes a new task for an old one.

        faults: where:kind[:probability], for ever; repeatable. poll:status:0.2
            spoils a fifth of the polls.

        json: One JSON object a line instead of text.
    """
    output = Output(json)
    server = Emulator(
        host=host,
        port=port,
        api_key=api_key,
        credits=credits,
        speed=speed,
        seed=secrets.randbits(32) if seed is None else seed,
    )
    try:
        for text in faults or ():
            fault = Fault.parse(text)
            server.fault(
                fault.where, fault.kind, times=None, probability=fault.probability
            )
    except ValueError as error:
        msg = f"--fault: {error}"
        raise InvalidRequestError(msg, parameter="fault") from error
    with interruptible():
        await _serve(server, output, speed)


async def _serve(server: Emulator, output: Output, speed: float) -> None:
    async with serving(server):
        output.line(f"export APIMODELS_BASE_URL={server.base_url}")
        output.line(f"export APIMODELS_API_KEY={server.api_key}")
        output.record("emulator", base_url=server.base_url, api_key=server.api_key)
        output.note(f"Serving; its page is at {server.origin}/. Ctrl-C stops it.")
        if speed <= 1:
            output.note(
                "Tasks take as long as real ones, up to minutes: --speed 10 is faster."
            )
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            output.note(
                f"Served {len(server.requests)} requests, {len(server.tasks)} tasks; "
                f"charged ${server.spent}."
            )


@contextlib.asynccontextmanager
async def serving(server: Emulator) -> AsyncIterator[None]:
    """
    Run *server* for the body.

    Raises:
        ConfigurationError: It cannot listen there.
    """
    try:
        await server.start()
    except OSError as error:
        msg = f"the emulator cannot listen there: {error.strerror or error}"
        raise ConfigurationError(msg) from error
    async with contextlib.aclosing(server):
        yield


def emulator_session(server: Emulator, speed: float) -> Session:
    """Return a session on *server*, which polls as much faster as it works faster."""
    polling = PollPolicy.unchecked(interval=INTERVAL_S / speed)
    return Session(server.api_key, base_url=server.base_url, polling=polling)
