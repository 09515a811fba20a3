"""
Files from and to other hosts: results in, inputs out.

A second aiohttp session, without the key and without cookies. How many files go at
once, and for how long, is its caller's to say: the pools here have no limit, so that
nobody waits in them.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import aiohttp
from attrs import define, field
from yarl import URL

from apimodels_async._api.refusals import retry_after
from apimodels_async._core.files.addresses import may_connect
from apimodels_async._core.files.inline import unpack
from apimodels_async._core.files.ranges import continues, origin_of, resume_headers
from apimodels_async._core.money.retry import backoff_ceiling
from apimodels_async._ports import CutError
from apimodels_async._text import describe, printable
from apimodels_async._version import __version__
from apimodels_async.errors import (
    ApiModelsError,
    DownloadError,
    ResultExpiredError,
    TransportError,
)
from apimodels_async.policies import RETRY_AFTER_MAX_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from aiohttp.connector import AddrInfoType

    from apimodels_async._core.files.ranges import Origin
    from apimodels_async._ports import Clock, File, Sink, Turn
    from apimodels_async.models import ImageResult
    from apimodels_async.policies import RetryPolicy, Timeouts

HOPS_MAX: Final = 3
UNUSABLE: Final = "its URL cannot be used"
KEPT: Final = timedelta(days=7)
"""How long the API keeps a result."""
SETTLING: Final = timedelta(minutes=5)
"""After its completion a result may not be at every edge of the file host yet."""
SCHEME_CHARS: Final = 20
READ_BYTES: Final = 1 << 18
"""Read ahead of the sink before the transfer is paused."""
USER_AGENT: Final = f"Mozilla/5.0 (compatible; apimodels-async-python/{__version__})"
"""One user got 403 from the API's file host without a browser-like beginning."""
_GONE: Final = frozenset({403, 404, 410})
_MISSING: Final = frozenset({404, 410})
_PARTIAL: Final = frozenset({206, 416})
_PASSING: Final = frozenset({408, 425, 429, *range(500, 600)})
_NOT_YET: Final = frozenset({202, 204})
"""Accepted, but nothing to see: the file is still on its way there."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class _ForbiddenAddressError(OSError):
    pass


@define
class _Trouble:
    """Why a try got no file, and whether another may."""

    reason: str
    status: int | None = None
    passing: bool = True
    early: bool = False
    """The file may not be there yet: more tries than for what broke."""
    wait: float | None = None
    """Seconds that the host asks to wait (Retry-After)."""

    def tries(self, policy: RetryPolicy) -> int:
        """Return how many tries there are in all, where this is the trouble."""
        if not self.passing or (self.wait or 0) > RETRY_AFTER_MAX_S:
            return 1
        return policy.attempts * (2 if self.early else 1)

    def pause(self, attempt: int, policy: RetryPolicy, draw: float) -> float:
        """Return the seconds to wait after try *attempt*."""
        if self.wait is not None:
            return self.wait + draw * policy.base
        return draw * backoff_ceiling(attempt, policy)


@define(eq=False)
class _Transfer:
    """What the sink holds so far, and of what. Lives for all tries of one download."""

    sink: Sink
    _origin: Origin | None = None

    def ask(self, url: URL) -> dict[str, str]:
        """
        Return the headers that ask *url* for what is missing; empty: for all of it.
        """
        return resume_headers(self._origin, str(url), self.sink.size)

    async def begin(
        self, url: URL, asked: dict[str, str], response: aiohttp.ClientResponse
    ) -> _Trouble | None:
        """
        Make the sink ready for the body of *response*, or return why it is not to be.
        """
        status = response.status
        if status == 200:  # noqa: PLR2004
            await self.restart(origin_of(str(url), response.headers))
            return None
        if asked and self._origin and status in _PARTIAL:
            if status == 206 and continues(  # noqa: PLR2004
                self._origin, response.headers, self.sink.size
            ):
                return None
            await self.restart(None)
            return _Trouble("the server gave another part than asked for", status)
        early = status in _NOT_YET
        wait = retry_after(_lower(response.headers)) if status in _PASSING else None
        passing = early or status in _PASSING
        return _Trouble(f"HTTP {status}", status, passing, early, wait)

    async def restart(self, origin: Origin | None) -> None:
        """Hold nothing, and expect *origin*."""
        self._origin = origin
        if self.sink.size:
            await self.sink.restart()

    def check_end(self) -> _Trouble | None:
        """Return the trouble if the body ended before the file did, or is none."""
        total = self._origin and self._origin.total
        if total is None or self.sink.size == total:
            return None if self.sink.size else _Trouble("an empty file", early=True)
        return _Trouble(f"cut at {self.sink.size} of {total} bytes")


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


class _BrokenError(aiohttp.ClientError):
    """A connection that broke under a request, in words."""


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        broken = _BrokenError(_words(error))
    # aiohttp repeats a GET or PUT whose connection broke, at once and silently. It
    # knows this class not: what is repeated, and when, is ours to say.
    raise broken


@define(eq=False)
class Files:
    """
    The session's way to hosts other than the API's. Must be made in a running loop.
    """

    _clock: Clock
    _timeouts: Timeouts
    _retry: RetryPolicy
    _draw: Callable[[], float]
    _loopback: bool
    """Whether this machine may be reached: only for an API that is local too."""
    _refresh: Callable[[str], Awaitable[ImageResult | None]]
    """Asks the API for the result of a task, whose URLs may be newer; None: not had."""
    _session: aiohttp.ClientSession = field(init=False)
    _uploads: aiohttp.ClientSession = field(init=False)
    """A connection for each: an idle one that closes just then would fail a PUT."""

    def __attrs_post_init__(self) -> None:
        self._session = self._make_session(force_close=False)
        self._uploads = self._make_session(force_close=True)

    def _make_session(self, *, force_close: bool) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,
                socket_factory=self._open_socket,
                force_close=force_close,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_BYTES,
            middlewares=(_once,),
        )

    def _open_socket(self, address: AddrInfoType) -> socket.socket:
        # The one place that sees the final address of every connection, whether
        # literal, resolved (rebinding too) or redirected to.
        family, kind, proto, _, where = address
        if not may_connect(str(where[0]), loopback=self._loopback):
            raise _ForbiddenAddressError
        return socket.socket(family, kind, proto)

    async def download(
        self,
        result: ImageResult,
        index: int,
        open_sink: Callable[[], Sink],
        turn: Turn | None = None,
    ) -> Path:
        """
        Store file *index* of *result* in a sink; return where it ended up.

        Args:
            turn: Where there is a bound on files under way, the one for this.

        Raises:
            DownloadError: The sink kept nothing.
        """
        sink = open_sink()
        try:
            return await self._fill(result, index, _Transfer(sink), turn)
        except DownloadError as error:
            error.task_id = result.task_id
            raise
        finally:
            await sink.discard()

    async def _fill(
        self, result: ImageResult, index: int, transfer: _Transfer, turn: Turn | None
    ) -> Path:
        address, dates = result.urls[index], result
        attempt, asked = 0, False
        while True:
            attempt += 1
            trouble = await self._take(address, transfer)
            if not isinstance(trouble, _Trouble):
                return trouble
            if trouble.status in _GONE and not asked and result.task_id is not None:
                asked = True
                fresh = await self._refresh(result.task_id)
                if fresh is not None:
                    dates = dates if _expiry(dates) else fresh
                    # Of another count, the place says nothing: it may be the address
                    # of another picture.
                    alike = len(fresh.urls) == len(result.urls)
                    if alike and fresh.urls[index] != address:
                        address = fresh.urls[index]
                        continue
            self._judge_age(trouble, dates)
            if attempt >= trouble.tries(self._retry):
                raise self._error(trouble, _expiry(dates), attempt)
            pause = trouble.pause(attempt, self._retry, self._draw())
            if turn is None:
                await self._clock.sleep(pause)
            elif pause < turn.left:
                await turn.pause(self._clock.sleep(pause))
            else:
                raise self._error(trouble, _expiry(dates), attempt)

    async def _take(self, address: str, transfer: _Transfer) -> Path | _Trouble:
        trouble = await self._fetch(address, transfer)
        if trouble is not None:
            return trouble
        try:
            return await transfer.sink.finish()
        except CutError as error:
            reason = str(error)
        await transfer.restart(None)  # a part of it is no beginning to go on from
        return _Trouble(reason, passing=not address.startswith("data:"))

    def _judge_age(self, trouble: _Trouble, dates: ImageResult) -> None:
        """A file that has just been made, or of unknown age, may be there soon."""
        if trouble.status == 404:  # noqa: PLR2004
            expiry = _expiry(dates)
            age = KEPT - (expiry - self._clock.utcnow()) if expiry else None
            trouble.passing = age is None or age < SETTLING
            trouble.early = age is not None

    def _error(
        self, trouble: _Trouble, expires: datetime | None, attempt: int
    ) -> DownloadError:
        why, status = trouble.reason, trouble.status
        over = expires is not None and self._clock.utcnow() >= expires
        # A 403 is also how a file host says that it dislikes the asker.
        if status in _GONE and (over or (expires is None and status in _MISSING)):
            when = f" (on {expires:%Y-%m-%d})" if expires else ""
            msg = f"the file is gone{when}: the API keeps results for 7 days"
            return ResultExpiredError(msg, status=status)
        if status in _GONE:
            why += (
                ", and the API names no other address for it; try again later, "
                "downloading is free"
            )
        elif trouble.wait is not None:
            why += (
                f", try again in {trouble.wait:g} s ({attempt} tries); downloading is "
                "free"
            )
        elif trouble.passing:
            why += f" ({attempt} tries); try again later, downloading is free"
        return DownloadError(f"the file cannot be had: {why}", status=status)

    async def _fetch(self, address: str, transfer: _Transfer) -> _Trouble | None:
        if address.startswith("data:"):
            return await _take_inline(address, transfer)
        answer: _Trouble | URL | None = _read_url(address)
        for _ in range(HOPS_MAX + 1):
            if not isinstance(answer, URL):
                return answer
            trouble = self._check_scheme(answer)
            if trouble is not None:
                return trouble
            answer = await self._try(answer, transfer)
        if not isinstance(answer, URL):
            return answer
        return _Trouble(f"more than {HOPS_MAX} redirects", passing=False)

    def _check_scheme(self, url: URL) -> _Trouble | None:
        try:
            _ = url.host, url.port  # yarl reads them only when they are asked for
        except ValueError:
            return _Trouble(UNUSABLE, passing=False)
        if url.scheme == "https" or (url.scheme == "http" and self._loopback):
            return None
        scheme = printable(url.scheme, SCHEME_CHARS)
        return _Trouble(f"{scheme or 'no scheme'} is not https", passing=False)

    async def _try(self, url: URL, transfer: _Transfer) -> _Trouble | URL | None:
        """Return None when the sink has it all, a URL to go on to, or the trouble."""
        error: Exception | None = None
        timeout = aiohttp.ClientTimeout(
            total=None, connect=self._timeouts.connect, sock_read=self._timeouts.read
        )
        asked = transfer.ask(url)
        try:
            async with self._session.get(
                url, headers=asked, allow_redirects=False, timeout=timeout
            ) as response:
                if response.status in _REDIRECTS:
                    return url.join(URL(response.headers.get("Location", "")))
                trouble = await transfer.begin(url, asked, response)
                if trouble is not None:
                    return trouble
                async for chunk in response.content.iter_any():
                    await transfer.sink.add(chunk)
                return transfer.check_end()
        except ApiModelsError:
            raise
        except Exception as raised:  # noqa: BLE001  whatever it is, there is no file
            error = raised
        return _trouble(error)

    async def put(self, url: str, file: File) -> None:
        """
        Store *file* at an address the API gave for it.

        Raises:
            TransportError: It is not there.
        """
        where = _read_url(url)
        if isinstance(where, _Trouble):
            trouble: _Trouble | None = where
        else:
            trouble = self._check_scheme(where) or await self._put(where, file)
        if trouble is not None:
            msg = f"the upload failed: {trouble.reason}"
            raise TransportError(msg, status=trouble.status)

    async def _put(self, url: URL, file: File) -> _Trouble | None:
        error: Exception | None = None
        try:
            async with self._uploads.put(
                url,
                data=io.BytesIO(file.data),  # aiohttp warns of plain bytes above 1 MiB
                headers={"Content-Type": file.content_type},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=self._timeouts.connect
                ),
            ) as response:
                if 200 <= response.status < 300:  # noqa: PLR2004  .ok takes a 307
                    return None
                return _Trouble(f"HTTP {response.status}", response.status)
        except Exception as raised:  # noqa: BLE001  whatever it is, it is not there
            error = raised
        return _trouble(error)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._uploads.close()
        await self._session.close()


def _expiry(result: ImageResult) -> datetime | None:
    if result.expires_at is None and result.completed_at is not None:
        return result.completed_at + KEPT
    return result.expires_at


def _read_url(address: str) -> URL | _Trouble:
    with contextlib.suppress(ValueError, TypeError):  # yarl's own checks, and IDNA's
        return URL(address)
    return _Trouble(UNUSABLE, passing=False)


def _trouble(error: Exception) -> _Trouble:
    forbidden = isinstance(error, _ForbiddenAddressError) or isinstance(
        getattr(error, "os_error", None), _ForbiddenAddressError
    )
    if forbidden:
        return _Trouble("its address is private or reserved", passing=False)
    if isinstance(error, aiohttp.InvalidURL) or (
        isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError)
    ):
        return _Trouble(UNUSABLE, passing=False)
    if not isinstance(error, (aiohttp.ClientError, OSError)):
        return _Trouble(printable(describe(error)), passing=False)  # a bug comes again
    return _Trouble(_words(error))


def _words(error: Exception) -> str:
    name = type(error).__name__
    if isinstance(error, _BrokenError):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        return f"{name}: {os.strerror(error.errno)}"
    return name


async def _take_inline(address: str, transfer: _Transfer) -> _Trouble | None:
    content = unpack(address)
    if content is None:
        return _Trouble("its data: URL is not base64", passing=False)
    await transfer.restart(None)
    await transfer.sink.add(content)
    return None
