"""
Files from and to other hosts: results in, inputs out.

A second aiohttp session, without the key and without cookies.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import os
import socket
from typing import TYPE_CHECKING, Final

import aiohttp
from attrs import define, field
from yarl import URL

from apimodels_async._core.files.addresses import may_connect
from apimodels_async._core.files.ranges import continues, origin_of, resume_headers
from apimodels_async._core.money.retry import backoff_ceiling
from apimodels_async._version import __version__
from apimodels_async.errors import (
    ApiModelsError,
    DownloadError,
    ResultExpiredError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from pathlib import Path

    from aiohttp.connector import AddrInfoType

    from apimodels_async._core.files.ranges import Origin
    from apimodels_async._ports import Clock, File, Sink
    from apimodels_async.models import ImageResult
    from apimodels_async.policies import RetryPolicy, Timeouts

HOPS_MAX: Final = 3
CONNECTIONS: Final = 16
"""Files at once: 16 transfers of 1 MB delay the loop by 10-25 ms."""
READ_BYTES: Final = 1 << 18
"""Read ahead of the sink before the transfer is paused."""
USER_AGENT: Final = f"Mozilla/5.0 (compatible; apimodels-async-python/{__version__})"
"""One user got 403 from the API's file host without a browser-like beginning."""
_GONE: Final = frozenset({403, 404, 410})
_MISSING: Final = frozenset({404, 410})
_PARTIAL: Final = frozenset({206, 416})
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class _ForbiddenAddressError(OSError):
    pass


@define
class _Trouble:
    """Why a try got no file, and whether another may."""

    reason: str
    status: int | None = None
    passing: bool = True


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
        return _Trouble(f"HTTP {status}", status, status in _PASSING)

    async def restart(self, origin: Origin | None) -> None:
        """Hold nothing, and expect *origin*."""
        self._origin = origin
        if self.sink.size:
            await self.sink.restart()

    def check_end(self) -> _Trouble | None:
        """Return the trouble if the body ended before the file did."""
        total = self._origin and self._origin.total
        if total is None or self.sink.size == total:
            return None
        return _Trouble(f"cut at {self.sink.size} of {total} bytes")


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
                limit=CONNECTIONS,
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
        self, result: ImageResult, index: int, open_sink: Callable[[], Sink]
    ) -> Path:
        """
        Store file *index* of *result* in a sink; return where it ended up.

        Raises:
            DownloadError: The sink kept nothing.
        """
        try:
            async with asyncio.timeout(self._timeouts.download):
                return await self._download(result, index, open_sink())
        except TimeoutError:
            pass
        msg = (
            f"no whole file within {self._timeouts.download:g} s: give it more with "
            "Timeouts(download=...)"
        )
        raise DownloadError(msg, task_id=result.task_id)

    async def _download(self, result: ImageResult, index: int, sink: Sink) -> Path:
        try:
            await self._fill(result, index, _Transfer(sink))
            return await sink.finish()
        except DownloadError as error:
            error.task_id = result.task_id
            raise
        finally:
            await sink.discard()

    async def _fill(self, result: ImageResult, index: int, transfer: _Transfer) -> None:
        address, expires = result.urls[index], result.expires_at
        attempt, asked = 0, False
        while True:
            attempt += 1
            trouble = await self._fetch(address, transfer)
            if trouble is None:
                return
            if trouble.status in _GONE and not asked and result.task_id is not None:
                asked = True
                fresh = await self._refresh(result.task_id)
                if fresh is not None:
                    expires = expires or fresh.expires_at
                    # Of another count, the place says nothing: it may be the address
                    # of another picture.
                    alike = len(fresh.urls) == len(result.urls)
                    if alike and fresh.urls[index] != address:
                        address = fresh.urls[index]
                        continue
            if not trouble.passing or attempt >= self._retry.attempts:
                raise self._error(trouble, expires, attempt)
            await self._clock.sleep(
                self._draw() * backoff_ceiling(attempt, self._retry)
            )

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
        elif trouble.passing:
            why += f" ({attempt} tries); try again later, downloading is free"
        return DownloadError(f"the file cannot be had: {why}", status=status)

    async def _fetch(self, address: str, transfer: _Transfer) -> _Trouble | None:
        if address.startswith("data:"):
            return await _take_inline(address, transfer)
        url = URL(address)
        for _ in range(HOPS_MAX + 1):
            trouble = self._check_scheme(url)
            if trouble is not None:
                return trouble
            answer = await self._try(url, transfer)
            if not isinstance(answer, URL):
                return answer
            url = answer
        return _Trouble(f"more than {HOPS_MAX} redirects", passing=False)

    def _check_scheme(self, url: URL) -> _Trouble | None:
        if url.scheme == "https" or (url.scheme == "http" and self._loopback):
            return None
        return _Trouble(f"{url.scheme or 'no scheme'} is not https", passing=False)

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
        except (aiohttp.ClientError, OSError, ValueError) as raised:
            error = raised
        return _trouble(error)

    async def put(self, url: str, file: File) -> None:
        """
        Store *file* at an address the API gave for it.

        Raises:
            TransportError: It is not there.
        """
        trouble = self._check_scheme(URL(url)) or await self._put(URL(url), file)
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
                timeout=aiohttp.ClientTimeout(total=self._timeouts.download),
            ) as response:
                if 200 <= response.status < 300:  # noqa: PLR2004  .ok takes a 307
                    return None
                return _Trouble(f"HTTP {response.status}", response.status)
        except (aiohttp.ClientError, OSError, ValueError) as raised:
            error = raised
        return _trouble(error)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()
        await self._uploads.close()


def _trouble(error: Exception) -> _Trouble:
    forbidden = isinstance(error, _ForbiddenAddressError) or isinstance(
        getattr(error, "os_error", None), _ForbiddenAddressError
    )
    if forbidden:
        return _Trouble("its address is private or reserved", passing=False)
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
        return _Trouble("its URL cannot be used", passing=False)
    return _Trouble(_words(error))


def _words(error: Exception) -> str:
    name = type(error).__name__
    if isinstance(error, _BrokenError):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        return f"{name}: {os.strerror(error.errno)}"
    return name


async def _take_inline(address: str, transfer: _Transfer) -> _Trouble | None:
    _, _, packed = address.partition(",")
    content: bytes | None = None
    with contextlib.suppress(ValueError):
        content = base64.b64decode(packed, validate=True)
    if content is None:
        return _Trouble("its data: URL is not base64", passing=False)
    await transfer.restart(None)
    await transfer.sink.add(content)
    return None
