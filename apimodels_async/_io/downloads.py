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

from apimodels_async._core.media import may_connect
from apimodels_async._core.retry import backoff_ceiling
from apimodels_async.errors import (
    ApiModelsError,
    DownloadError,
    ResultExpiredError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from aiohttp.connector import AddrInfoType

    from apimodels_async._ports import Clock, File, Sink
    from apimodels_async.models import ImageResult
    from apimodels_async.policies import RetryPolicy, Timeouts

HOPS_MAX: Final = 3
CONNECTIONS: Final = 16
"""Files at once: 16 transfers of 1 MB delay the loop by 10-25 ms."""
_GONE: Final = frozenset({403, 404, 410})
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class _ForbiddenAddressError(OSError):
    pass


@define
class _Trouble:
    """
    Why a try got no file, and whether another may.
    """

    reason: str
    status: int | None = None
    passing: bool = True


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
    _session: aiohttp.ClientSession = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=CONNECTIONS, socket_factory=self._open_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            trust_env=False,
        )

    def _open_socket(self, address: AddrInfoType) -> socket.socket:
        # The one place that sees the final address of every connection, whether
        # literal, resolved (rebinding too) or redirected to.
        family, kind, proto, _, where = address
        if not may_connect(str(where[0]), loopback=self._loopback):
            raise _ForbiddenAddressError
        return socket.socket(family, kind, proto)

    async def download(
        self, result: ImageResult, open_sink: Callable[[], Sink]
    ) -> Path:
        """
        Store the first file of *result* in a sink; return where it ended up.

        Raises:
            DownloadError: The sink kept nothing.
        """
        try:
            async with asyncio.timeout(self._timeouts.download):
                return await self._download(result, open_sink)
        except TimeoutError:
            pass
        msg = f"no whole file within {self._timeouts.download:g} s"
        raise DownloadError(msg, task_id=result.task_id)

    async def _download(
        self, result: ImageResult, open_sink: Callable[[], Sink]
    ) -> Path:
        attempt = 0
        while True:
            attempt += 1
            sink = open_sink()
            try:
                trouble = await self._fetch(result.url, sink)
                if trouble is None:
                    return await sink.finish()
            except DownloadError as error:
                error.task_id = result.task_id
                raise
            finally:
                await sink.discard()
            if not trouble.passing or attempt >= self._retry.attempts:
                raise self._error(result, trouble)
            await self._clock.sleep(
                self._draw() * backoff_ceiling(attempt, self._retry)
            )

    def _error(self, result: ImageResult, trouble: _Trouble) -> DownloadError:
        facts = {"task_id": result.task_id, "status": trouble.status}
        expires = result.expires_at
        gone = trouble.status in _GONE
        if gone and (expires is None or self._clock.utcnow() >= expires):
            when = f" (on {expires:%Y-%m-%d})" if expires else ""
            msg = f"the file is gone{when}: the API keeps results for 7 days"
            return ResultExpiredError(msg, **facts)  # type: ignore[arg-type]
        return DownloadError(f"the file cannot be had: {trouble.reason}", **facts)  # type: ignore[arg-type]

    async def _fetch(self, address: str, sink: Sink) -> _Trouble | None:
        if address.startswith("data:"):
            return await _take_inline(address, sink)
        url = URL(address)
        for _ in range(HOPS_MAX + 1):
            trouble = self._check_scheme(url)
            if trouble is not None:
                return trouble
            answer = await self._try(url, sink)
            if not isinstance(answer, URL):
                return answer
            url = answer
        return _Trouble(f"more than {HOPS_MAX} redirects", passing=False)

    def _check_scheme(self, url: URL) -> _Trouble | None:
        if url.scheme == "https" or (url.scheme == "http" and self._loopback):
            return None
        return _Trouble(f"{url.scheme or 'no scheme'} is not https", passing=False)

    async def _try(self, url: URL, sink: Sink) -> _Trouble | URL | None:
        """
        Return None when the sink has it all, a URL to go on to, or the trouble.
        """
        error: Exception | None = None
        timeout = aiohttp.ClientTimeout(
            total=None, connect=self._timeouts.connect, sock_read=self._timeouts.read
        )
        try:
            async with self._session.get(
                url, allow_redirects=False, timeout=timeout
            ) as response:
                if response.status in _REDIRECTS:
                    return url.join(URL(response.headers.get("Location", "")))
                if response.status != 200:  # noqa: PLR2004
                    passing = response.status in _PASSING
                    reason = f"HTTP {response.status}"
                    return _Trouble(reason, response.status, passing)
                async for chunk in response.content.iter_any():
                    await sink.add(chunk)
                return None
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
            async with self._session.put(
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
        """
        Close the connections.
        """
        await self._session.close()


def _trouble(error: Exception) -> _Trouble:
    forbidden = isinstance(error, _ForbiddenAddressError) or isinstance(
        getattr(error, "os_error", None), _ForbiddenAddressError
    )
    if forbidden:
        return _Trouble("its address is private or reserved", passing=False)
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientError):
        return _Trouble("its URL cannot be used", passing=False)
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno:
        return _Trouble(f"{name}: {os.strerror(error.errno)}")
    return _Trouble(name)


async def _take_inline(address: str, sink: Sink) -> _Trouble | None:
    _, _, packed = address.partition(",")
    content: bytes | None = None
    with contextlib.suppress(ValueError):
        content = base64.b64decode(packed, validate=True)
    if content is None:
        return _Trouble("its data: URL is not base64", passing=False)
    await sink.add(content)
    return None
