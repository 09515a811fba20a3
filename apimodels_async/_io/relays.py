"""
Hints from the process that received a callback to the session that waits for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import define, field

from apimodels_async._ports import Hint
from apimodels_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    Take = Callable[[Hint], bool]

logger = logging.getLogger("apimodels_async.webhooks")

ANSWER_S: Final = 2.0
"""A session answers in microseconds; the API waits 10 s for ours."""
LINE_BYTES_MAX: Final = 1024
SUFFIX: Final = ".hook"
PATH_BYTES_MAX: Final = 100
"""Of a socket's path: the kernel takes 107, macOS 103."""


@define(eq=False)
class MemoryRelay:
    """For receivers and sessions in one process; any threads and event loops of it."""

    _takers: list[Take] = field(init=False, factory=list["Take"])

    async def publish(self, hint: Hint) -> bool:
        """Offer *hint* to the sessions of this process."""
        answers = [take(hint) for take in tuple(self._takers)]
        return any(answers)

    @asynccontextmanager
    async def listening(self, take: Take) -> AsyncIterator[None]:
        """Call *take* for every hint while this is open."""
        self._takers.append(take)
        try:
            yield
        finally:
            self._takers.remove(take)


class SocketRelay:
    """
    For the processes of one machine, such as the workers of a web server.

    Each session listens on a Unix socket of its own in a directory they all know.
    Sockets of processes that were killed are removed when they are met.

    Args:
        directory: Made with mode 700 if it is not there. Whoever can write to it can
            offer hints, which are never believed: each only makes a session look.

    Raises:
        ConfigurationError: Its path is too long for a socket, which takes some 80
            characters.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        example = self._directory / _new_name()
        if len(os.fsencode(example)) > PATH_BYTES_MAX:
            msg = f"{self._directory} is too long a path for sockets: use a shorter one"
            raise ConfigurationError(msg)

    async def publish(self, hint: Hint) -> bool:
        """Offer *hint* to every session that listens in the directory."""
        line = json.dumps([hint.nonce, hint.task_id]).encode() + b"\n"
        paths = list(self._directory.glob("*" + SUFFIX))
        answers = await asyncio.gather(*(_offer(path, line) for path in paths))
        return any(answers)

    @asynccontextmanager
    async def listening(self, take: Take) -> AsyncIterator[None]:
        """Call *take* for every hint while this is open."""

        async def serve(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            with suppress(OSError, TimeoutError, ValueError, RecursionError):
                async with asyncio.timeout(ANSWER_S):
                    taken = take(_read(await reader.readline()))
                    writer.write(b"1" if taken else b"0")
                    await writer.drain()
            writer.close()

        # Calls to the kernel that do not wait: no thread is worth it.
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / _new_name()
        server = await asyncio.start_unix_server(serve, path, limit=LINE_BYTES_MAX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            server.close()
            await server.wait_closed()


def _new_name() -> str:
    return secrets.token_hex(8) + SUFFIX


def _read(line: bytes) -> Hint:
    match json.loads(line):
        case [str(nonce), str(task_id)]:
            return Hint(nonce, task_id)
        case _:
            msg = "no hint"
            raise ValueError(msg)


async def _offer(path: Path, line: bytes) -> bool:
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(line)
                return await reader.read(1) == b"1"
            finally:
                writer.close()
    except (ConnectionRefusedError, FileNotFoundError):  # its process is gone
        with suppress(OSError):
            path.unlink()  # noqa: ASYNC240  one call to the kernel
    except (OSError, TimeoutError) as error:
        logger.warning("a session did not answer: %s", type(error).__name__)
    return False
