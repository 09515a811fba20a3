"""
Hints from the process that received a callback to the session that waits for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import stat
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
        directory: Made with mode 700 if it is not there. It must be this user's, or
            root's, and nobody else's to write; with the sticky bit others may, and
            what they put there is left alone.

    Raises:
        ConfigurationError: Its path is too long for a socket, which takes some 80
            characters, or others can take sockets away.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        example = self._directory / _new_name()
        if len(os.fsencode(example)) > PATH_BYTES_MAX:
            msg = f"{self._directory} is too long a path for sockets: use a shorter one"
            raise ConfigurationError(msg)
        self._check()

    def _check(self) -> None:
        problem = self._problem()
        if problem is not None:
            raise ConfigurationError(problem)

    def _problem(self) -> str | None:
        # Whoever could swap a socket would hear of tasks, and could say "taken": the
        # API would not call again.
        try:
            place, directory = self._directory.lstat(), self._directory.stat()
        except FileNotFoundError:
            return None  # nobody listens yet
        except OSError as error:
            reason = error.strerror
        else:
            reason = directory_problem(place, directory, os.geteuid())
        return reason and f"{self._directory} is no place for sockets: {reason}"

    async def publish(self, hint: Hint) -> bool:
        """Offer *hint* to every session that listens in the directory."""
        problem = self._problem()
        if problem is not None:
            logger.warning("%s", problem)
            return False
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
        self._check()
        path = self._directory / _new_name()
        server = await asyncio.start_unix_server(serve, path, limit=LINE_BYTES_MAX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            server.close()
            await server.wait_closed()


def directory_problem(
    place: os.stat_result, directory: os.stat_result, user: int
) -> str | None:
    """
    Return why others could swap the sockets of *user* in a directory; None: no way.

    Args:
        place: Of the path itself, which may be a link; *directory*: of where it leads.
    """
    if not stat.S_ISDIR(directory.st_mode):
        return "it is no directory"
    if not {place.st_uid, directory.st_uid} <= {0, user}:
        return "it is somebody else's"
    shared = directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if shared and not directory.st_mode & stat.S_ISVTX:
        return "others can write to it; chmod 700 ends that"
    return None


def is_own_socket(found: os.stat_result, user: int) -> bool:
    """Return whether it is a socket, no link to one, of *user* or root."""
    return stat.S_ISSOCK(found.st_mode) and found.st_uid in {0, user}


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
        if not is_own_socket(os.lstat(path), os.geteuid()):
            logger.warning("%s is no socket of this user's", path)
            return False
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
