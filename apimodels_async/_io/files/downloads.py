"""
Files from and to other hosts: results in, inputs out.

By connections of their own, without the key and without cookies. How many files go at
once, and for how long, is its caller's to say: pools that are ours have no limit, so
that nobody waits in them.
"""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from attrs import define
from yarl import URL

from apimodels_async._api.refusals import retry_after
from apimodels_async._api.responses import KEPT
from apimodels_async._core.files.inline import unpack
from apimodels_async._core.files.ranges import continues, origin_of, resume_headers
from apimodels_async._core.money.retry import backoff_ceiling
from apimodels_async._io.http.addresses import exact_url, moved_url
from apimodels_async._io.http.hosts import UNUSABLE, trouble_of
from apimodels_async._ports import CutError
from apimodels_async._text import printable
from apimodels_async.errors import (
    ApiModelsError,
    DownloadError,
    ResultExpiredError,
    TransportError,
)
from apimodels_async.policies import RETRY_AFTER_MAX_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import aiohttp

    from apimodels_async._core.files.ranges import Origin
    from apimodels_async._io.http.hosts import Hosts
    from apimodels_async._ports import Clock, File, Sink, Turn
    from apimodels_async.models import ImageResult
    from apimodels_async.policies import RetryPolicy, Timeouts

HOPS_MAX: Final = 3
SETTLING: Final = timedelta(minutes=5)
"""After its completion a result may not be at every edge of the file host yet."""
SCHEME_CHARS: Final = 20
_GONE: Final = frozenset({403, 404, 410})
_MISSING: Final = frozenset({404, 410})
_PARTIAL: Final = frozenset({206, 416})
_PASSING: Final = frozenset({408, 425, 429, *range(500, 600)})
_NOT_YET: Final = frozenset({202, 204})
"""Accepted, but nothing to see: the file is still on its way there."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@define(eq=False, repr=False)
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


@define(eq=False, repr=False)
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
        wait = retry_after(response.headers) if status in _PASSING else None
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


@define(eq=False, repr=False)
class Files:
    """
    The session's way to hosts other than the API's.
    """

    _clock: Clock
    _timeouts: Timeouts
    _retry: RetryPolicy
    _draw: Callable[[], float]
    _plain: bool
    """Whether http will do: only for an API that is local too."""
    _refresh: Callable[[str], Awaitable[ImageResult | None]]
    """Asks the API for the result of a task, whose URLs may be newer; None: not had."""
    _hosts: Hosts

    async def download(
        self,
        result: ImageResult,
        index: int,
        open_sink: Callable[[], Sink],
        turn: Turn | None = None,
    ) -> Path | str:
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
    ) -> Path | str:
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

    async def _take(self, address: str, transfer: _Transfer) -> Path | str | _Trouble:
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
        if url.scheme == "https" or (url.scheme == "http" and self._plain):
            return None
        scheme = printable(url.scheme, SCHEME_CHARS)
        return _Trouble(f"{scheme or 'no scheme'} is not https", passing=False)

    async def _try(self, url: URL, transfer: _Transfer) -> _Trouble | URL | None:
        """Return None when the sink has it all, a URL to go on to, or the trouble."""
        error: Exception | None = None
        asked, times = transfer.ask(url), self._timeouts
        try:
            async with self._hosts.ask(
                "GET", url, asked, connect=times.connect, read=times.read
            ) as response:
                if response.status in _REDIRECTS:
                    return moved_url(url, response.headers.get("Location", ""))
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
        return self._trouble(error, url)

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
            async with self._hosts.ask(
                "PUT",
                url,
                {"Content-Type": file.content_type},
                connect=self._timeouts.connect,
                data=io.BytesIO(file.data),  # aiohttp warns of plain bytes above 1 MiB
            ) as response:
                if 200 <= response.status < 300:  # noqa: PLR2004  .ok takes a 307
                    return None
                return _Trouble(f"HTTP {response.status}", response.status)
        except ApiModelsError:
            raise
        except Exception as raised:  # noqa: BLE001  whatever it is, it is not there
            error = raised
        return self._trouble(error, url)

    def _trouble(self, error: Exception, url: URL) -> _Trouble:
        words, passing = trouble_of(error, self._hosts.route(url))
        return _Trouble(printable(words), passing=passing)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._hosts.aclose()


def _expiry(result: ImageResult) -> datetime | None:
    if result.expires_at is None and result.completed_at is not None:
        return result.completed_at + KEPT
    return result.expires_at


def _read_url(address: str) -> URL | _Trouble:
    try:
        return exact_url(address)
    except (ValueError, TypeError):  # yarl's own checks, and IDNA's
        return _Trouble(UNUSABLE, passing=False)


async def _take_inline(address: str, transfer: _Transfer) -> _Trouble | None:
    content = unpack(address)
    if content is None:
        return _Trouble("its data: URL is not base64", passing=False)
    await transfer.restart(None)
    await transfer.sink.add(content)
    return None
