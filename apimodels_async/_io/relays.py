"""
Hints from the process that received a callback to the session that waits for it.

Where there are no Unix sockets, as on Windows, a file in their place names a port of
the loopback interface and holds two words: the one to say there, and the one that must
be heard before anything is told. Whoever cannot read the file knows neither.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import secrets
import stat
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import define, field

from apimodels_async._ports import Hint
from apimodels_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    Take = Callable[[Hint], bool]
    Serve = Callable[
        [asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]
    ]
    Greet = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]

logger: logging.Logger = logging.getLogger("apimodels_async.webhooks")

ANSWER_S: Final = 2.0
"""A session answers in microseconds; the API waits 10 s for ours."""
LINE_BYTES_MAX: Final = 1024
SUFFIX: Final = ".hook"
PATH_BYTES_MAX: Final = 100
"""Of a socket's path: the kernel takes 107, macOS 103."""
HAS_SOCKETS: Final = hasattr(asyncio, "start_unix_server")


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
    Sockets of processes that were killed are removed when they are met. On Windows
    files stand for them, which say where on the loopback interface a session listens.

    Args:
        directory: Made with mode 700 if it is not there. It must be this user's, or
            root's, and nobody else's to write; with the sticky bit others may, and
            what they put there is left alone. On Windows, where files have neither
            owner nor mode, take one below the user's home.

    Raises:
        ConfigurationError: Its path is too long for a socket, which takes some 80
            characters, or others can take sockets away.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = Path(directory)
        example = self._directory / _new_name()
        if HAS_SOCKETS and len(os.fsencode(example)) > PATH_BYTES_MAX:
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
            reason = directory_problem(place, directory, _user())
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
            try:
                async with asyncio.timeout(ANSWER_S):
                    taken = take(_read(await reader.readline()))
                    writer.write(b"1" if taken else b"0")
                    await writer.drain()
            except (OSError, TimeoutError, ValueError, RecursionError):
                pass  # junk, or nobody who waits for the answer
            finally:
                writer.close()

        # Calls to the kernel that do not wait: no thread is worth it.
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check()
        path = self._directory / _new_name()
        talks: set[asyncio.Task[None]] = set()
        server = await _listen(path, serve, talks)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            server.close()
            for talk in talks:
                talk.cancel()
            if talks:
                await asyncio.wait(talks)
            await server.wait_closed()


def directory_problem(
    place: os.stat_result, directory: os.stat_result, user: int | None
) -> str | None:
    """
    Return why others could swap the sockets of *user* in a directory; None: no way.

    Args:
        place: Of the path itself, which may be a link; *directory*: of where it leads.

        user: None where files have no owners.
    """
    if not stat.S_ISDIR(directory.st_mode):
        return "it is no directory"
    if user is None:
        return None
    if not {place.st_uid, directory.st_uid} <= {0, user}:
        return "it is somebody else's"
    shared = directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if shared and not directory.st_mode & stat.S_ISVTX:
        return "others can write to it; chmod 700 ends that"
    return None


def is_own_socket(found: os.stat_result, user: int | None) -> bool:
    """Return whether it is a socket, or stands for one, of *user* or root; no link."""
    is_one = stat.S_ISSOCK if HAS_SOCKETS else stat.S_ISREG
    return is_one(found.st_mode) and (user is None or found.st_uid in {0, user})


_user: Final[Callable[[], int | None]] = getattr(os, "geteuid", lambda: None)


def _owned(serve: Serve, talks: set[asyncio.Task[None]]) -> Greet:
    """Return what carries out *serve* in tasks of ours, which are in *talks*."""

    # asyncio's own are nobody's, and 3.11 logs an error where one is cancelled.
    def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.get_running_loop().create_task(serve(reader, writer))
        talks.add(talk)
        talk.add_done_callback(talks.discard)

    return greet


async def _listen(
    path: Path, serve: Serve, talks: set[asyncio.Task[None]]
) -> asyncio.Server:
    if sys.platform != "win32" and HAS_SOCKETS:  # pragma: no branch  nox -s portable
        greet = _owned(serve, talks)
        return await asyncio.start_unix_server(greet, path, limit=LINE_BYTES_MAX)
    return await _listen_on_port(path, serve, talks)  # pragma: no cover  as above


async def _connect(path: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if sys.platform != "win32" and HAS_SOCKETS:  # pragma: no branch  as above
        return await asyncio.open_unix_connection(path)
    return await _connect_to_port(path)  # pragma: no cover  as above


async def _listen_on_port(  # pragma: no cover  as above
    path: Path, serve: Serve, talks: set[asyncio.Task[None]]
) -> asyncio.Server:
    asked, told = secrets.token_hex(), secrets.token_hex()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if await _hears(reader, asked):
                writer.write(f"{told}\n".encode())
                await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(
        _owned(greet, talks), "127.0.0.1", limit=LINE_BYTES_MAX
    )
    try:
        port = server.sockets[0].getsockname()[1]
        part = path.with_suffix(".part")  # whoever sees it reads the whole of it
        part.write_text(f"{port} {asked} {told}", encoding="ascii")
        part.rename(path)
    except BaseException:
        server.close()
        raise
    return server


async def _connect_to_port(  # pragma: no cover  as above
    path: Path,
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    # A line on a local disk: no thread is worth it.
    port, asked, told = path.read_text(encoding="ascii").split()  # noqa: ASYNC240
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(port), limit=LINE_BYTES_MAX
    )
    try:
        writer.write(f"{asked}\n".encode())
        if await _hears(reader, told):
            return reader, writer
    except BaseException:
        writer.close()
        raise
    writer.close()
    # Its process is gone, and the port is another one's by now.
    raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))


async def _hears(  # pragma: no cover  as above
    reader: asyncio.StreamReader, word: str
) -> bool:
    with suppress(OSError, ValueError, TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            line = await reader.readline()
            return secrets.compare_digest(line, f"{word}\n".encode())
    return False


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
        if not is_own_socket(os.lstat(path), _user()):
            logger.warning("%s is no socket of this user's", path)
            return False
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await _connect(path)
            try:
                writer.write(line)
                return await reader.read(1) == b"1"
            finally:
                writer.close()
    except (ConnectionRefusedError, FileNotFoundError):  # its process is gone
        with suppress(OSError):
            path.unlink()  # noqa: ASYNC240  one call to the kernel
    except (OSError, TimeoutError, ValueError) as error:
        logger.warning("a session did not answer: %s", type(error).__name__)
    return False
