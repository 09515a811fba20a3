"""
The synchronous session.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, Self, cast

from apimodels_async._notebook.show import warn_outside
from apimodels_async._secret import Secret, hidden
from apimodels_async.handle import TaskHandle as AsyncTaskHandle
from apimodels_async.session import Session as AsyncSession
from apimodels_async.sync._portal import Portal
from apimodels_async.sync.handle import TaskHandle
from apimodels_async.sync.images import Images
from apimodels_async.sync.recall import StoredOrders

if TYPE_CHECKING:
    from collections.abc import Collection
    from os import PathLike
    from ssl import SSLContext
    from types import TracebackType

    from apimodels_async._io.files.destinations import Destination
    from apimodels_async._io.files.inputs import Source
    from apimodels_async._notebook.show import PictureGrid
    from apimodels_async._ports import Observer, OrderLimit
    from apimodels_async.errors import OutcomeUnknownError
    from apimodels_async.model_info import ModelInfo
    from apimodels_async.models import (
        AnyRequest,
        Balance,
        ImageResult,
        Outcome,
        Reconciliation,
        SavedAt,
        SessionStats,
    )
    from apimodels_async.policies import PollPolicy, RetryPolicy, Timeouts
    from apimodels_async.stores import OrderStore
    from apimodels_async.webhooks import Callback


class Session(StoredOrders):
    """
    ``apimodels_async.Session`` without ``await``.

    Use it as ``with Session() as session:``, or just make one, as in a notebook, and
    call ``close`` at the end. It opens on first use, in a thread of its own. Any
    number of threads may use it. Inside a running event loop its calls block that loop
    until they return: bearable in a notebook, wrong in a server.

    Ctrl-C ends the waiting call alone. A paid request that has left goes on, and what
    becomes of it is in ``orphans``. A session still open at exit is closed then.
    There is no ``http``: an ``aiohttp.ClientSession`` belongs to another event loop.

    Args:
        api_key: None: ``APIMODELS_API_KEY``, else ``~/.apimodels/credentials``.

        base_url: None: ``APIMODELS_BASE_URL``, else ``https://apimodels.app/api/v1``.
            https only; plain http for loopback alone.

        polling: When to ask. On loopback ``APIMODELS_POLL_INTERVAL`` (seconds) is the
            interval, if set.

        retry: When to send again what may be sent again.

        timeouts: When to give up.

        max_connections: Most sockets to the API at once.

        max_polls: Most status requests at once; held to two thirds of
            *max_connections*, so that paid requests never wait behind polls.

        max_downloads: Most files under way at once, in each direction; more wait, with
            no timeout. 16 of 1 MB delay the loop by 10-25 ms.

        fresh_connections: Make a new connection for every paid request. Costs a
            handshake each, and rules out that an idle connection closing at that very
            moment, or a stray answer left on it, makes an outcome unknown.

        callback: Where the API tells that a task has ended
            (``apimodels_async.webhooks``): tasks are polled less, and orders whose
            answer was lost are found again.

        limit: Says when the next order may be sent; else a ``LocalLimit``, which
            holds nobody back until the API's first 429 and then finds the pace. Give
            several sessions one object, several processes a ``RedisLimit`` of
            ``integrations.redis``, or one of your own (``OrderLimit``).

        store: Where orders are remembered (``apimodels_async.stores``): path of a
            SQLite file, ``redis://host/0`` (extra ``[redis]``), or any ``OrderStore``.
            Needed by ``idempotency_key=``, ``recover`` and ``history``.

        proxy: URL of an HTTP proxy, ``http://user:password@host:port`` with
            percent-encoded credentials; False: none; else ``HTTPS_PROXY``,
            ``ALL_PROXY`` and ``NO_PROXY`` of the environment, ``.netrc`` never. For the
            API and for files; loopback is never proxied.

        ssl: Whom to trust, for both; else the system, and ``SSL_CERT_FILE``.

    Raises:
        ConfigurationError: No usable key, base URL (empty ones are none), proxy,
            certificates, or a number out of range.
    """

    def __init__(  # noqa: PLR0913  options, all by keyword
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        polling: PollPolicy | None = None,
        retry: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        max_connections: int = 100,
        max_polls: int = 64,
        max_downloads: int = 16,
        fresh_connections: bool = False,
        callback: Callback | None = None,
        store: str | PathLike[str] | OrderStore | None = None,
        limit: OrderLimit | None = None,
        proxy: str | Literal[False] | None = None,
        ssl: SSLContext | None = None,
    ) -> None:
        given, api_key = Secret.of(api_key), None  # a frame that raises shows locals
        way, proxy = hidden(proxy), None
        place, store = hidden(store), None
        address, base_url = hidden(base_url), None
        self._inner = AsyncSession(
            cast("str | None", given),
            base_url=address,
            polling=polling,
            retry=retry,
            timeouts=timeouts,
            max_connections=max_connections,
            max_polls=max_polls,
            max_downloads=max_downloads,
            fresh_connections=fresh_connections,
            callback=callback,
            store=place,
            limit=limit,
            proxy=cast("str | Literal[False] | None", way),
            ssl=ssl,
        )
        self._portal = Portal(self._inner)
        self._images = Images(self._portal)

    @property
    def images(self) -> Images:
        """The calls that make pictures."""
        return self._images

    @property
    def base_url(self) -> str:
        """Where the API is, version path included."""
        return self._inner.base_url

    def observe(self, observer: Observer) -> None:
        """
        Let *observer* surround every order from now on, as ``integrations.otel`` does.

        It takes the place of the one before. Its ``ordering(request, idempotency_key)``
        is a context manager, which yields what is called with the task's id.

        It is called in the session's thread.

        Raises:
            ConfigurationError: It has no ``ordering``.
        """
        self._inner.observe(observer)

    @property
    def pending(self) -> tuple[str, ...]:
        """The ids of the tracked tasks, oldest first; ``attach`` makes handles."""
        return self._inner.pending

    @property
    def orphans(self) -> tuple[TaskHandle | ImageResult | OutcomeUnknownError, ...]:
        """
        What became of sent orders whose call was interrupted; oldest first.
        """
        self._portal.collect()
        return tuple(
            TaskHandle(each, self._portal)
            if isinstance(each, AsyncTaskHandle)
            else each
            for each in self._inner.orphans
        )

    def take_orphans(
        self,
    ) -> tuple[TaskHandle | ImageResult | OutcomeUnknownError, ...]:
        """Return ``orphans`` and forget them; a long-lived program calls this."""
        taken = self.orphans
        self._portal.drop_orphans(len(taken))  # last: Ctrl-C before it takes nothing
        return taken

    def balance(self) -> Balance:
        """
        Return the account's balance; free.

        Raises:
            AuthenticationError: The key is not accepted.
            TransportError: Nobody answered, after retries.

        Source:
            Vendor's account page.
        """
        return self._portal.call(self._inner.balance)

    def reconcile(self, error: OutcomeUnknownError) -> Reconciliation:
        """
        Find out what became of a paid request of unknown fate; free, sends no order.

        Its callback may have come since. A task id salvaged from a broken answer is
        asked for. Failing that, the balance is compared with the last one this session
        saw: call ``balance`` before ordering. Raises what ``balance`` raises.
        """
        return self._portal.call(self._inner.reconcile, error)

    def models(self) -> tuple[ModelInfo, ...]:
        """Return the models the API lists in its order; free, raises as ``balance``."""
        return self._portal.call(self._inner.models)

    def upload(
        self,
        source: Source,
        *,
        name: str | None = None,
        content_type: str | None = None,
        max_bytes: int = 100 << 20,
    ) -> str:
        """
        Host an input file for 7 days and return its public URL; free.

        Files over 4 MiB go by PUT to an address of their own, without the key.

        Args:
            source: Path of a file, its bytes (or another buffer of them), or a file
                opened with ``"rb"`` or its like, read in a thread from where it stands,
                at its end from the beginning.

            name: File name to tell the API; else the file's own, or one by its type.

            content_type: Else from the first bytes, else from the name.

            max_bytes: Most it may have; it is held in memory.

        Raises:
            InvalidRequestError: No such file, empty, too large, or of no known type.
            APIStatusError: The API refused.
            TransportError: It did not arrive in time; what comes later goes in 7 days.

        Source:
            Vendor's files page.
        """

        async def call() -> str:
            return await self._inner.upload(
                source, name=name, content_type=content_type, max_bytes=max_bytes
            )

        return self._portal.call(call)

    def download(
        self,
        result: ImageResult,
        target: Destination,
        *,
        index: int = 0,
        overwrite: bool = False,
        max_bytes: int = 512 << 20,
        sidecar: bool = False,
        embed: bool = False,
        request: AnyRequest | None = None,
    ) -> SavedAt:
        """
        Store a picture of *result*, and return its path or address; free.

        Atomic: it is there in whole or, after an error or a cancellation, not at all.
        The key is never sent along. A broken transfer goes on where it ended; an
        address that is refused is asked for again, once; what may pass is tried again.
        A killed process can leave a ``.part``; a later session removes it after a day.

        Args:
            target: Path of the file; it gets the suffix of the content where it has
                none. In a directory (or what ends in a separator), which is made, it is
                named after the prompt of *request*, else the task. Or an address such
                as "s3://bucket/prefix/" (gs, az, file, memory), or a store of obstore's
                (extra ``[cloud]``); then an address is returned, a str.

            index: Which of ``result.urls``, where there are several.

            overwrite: Take the place of a file that is there. Else one with the very
                same content is returned; beside another it is ``fox-2.png``.

            max_bytes: Most the file may have.

            sidecar: Also write ``fox.png.json`` beside ``fox.png``: prompt, model,
                seed, parameters, task id, address, times and credits as JSON. It is
                there before the picture is.

            embed: Write the same into a PNG (iTXt, tEXt) or JPEG (EXIF), its pixels
                untouched; what exceeds 40 kB is shortened there, and content
                credentials (C2PA) no longer match. WebP, GIF and AVIF stay as they
                came: use *sidecar*. Needs the extra ``[metadata]``.

            request: What it was asked for with, for its name and *sidecar*, *embed*.

        Raises:
            ConfigurationError: An extra is missing, or the bucket's environment.
            InvalidRequestError: No such *index*, *target* or *request*.
            ResultExpiredError: The API keeps files for 7 days.
            DownloadError: Not a picture, too large, truncated, from a private address,
                the disk or bucket refuses, or the session was closed meanwhile.
        """

        async def call() -> SavedAt:
            return await self._inner.download(
                result,
                target,
                index=index,
                overwrite=overwrite,
                max_bytes=max_bytes,
                sidecar=sidecar,
                embed=embed,
                request=request,
            )

        return self._portal.call(call)

    def download_all(
        self,
        result: ImageResult,
        target: Destination,
        *,
        overwrite: bool = False,
        max_bytes: int = 512 << 20,
        sidecar: bool = False,
        embed: bool = False,
        request: AnyRequest | None = None,
    ) -> list[SavedAt]:
        """
        Store every picture of *result* and return the paths, in their order; free.

        They are ``fox.png``, ``fox-2.png``, ... One that cannot be had stops no other:
        the error comes at the end, and those that were stored stay. Arguments and
        errors are those of ``download``.
        """

        async def call() -> list[SavedAt]:
            return await self._inner.download_all(
                result,
                target,
                overwrite=overwrite,
                max_bytes=max_bytes,
                sidecar=sidecar,
                embed=embed,
                request=request,
            )

        return self._portal.call(call)

    def show(
        self,
        results: ImageResult | Outcome | Collection[ImageResult | Outcome],
        *,
        side: int | None = None,
    ) -> PictureGrid:
        """
        Return pictures for a notebook that a saved notebook keeps; free.

        ``session.show(outcomes)`` as the last line of a cell shows them in a grid, with
        their prompts, also as texts for those who cannot see them, and with the reason
        where there is none. They are scaled down, some 10 kB each, and hold no address;
        of more than 100 the first 100 are shown. Pictures that a batch saved are read
        from there. Needs the extra ``[notebook]``.

        Args:
            results: A result, an outcome, or a list of them.

            side: Longest side in pixels, 16 to 2048; else 512 for one picture and 256
                for several.

        Raises:
            ConfigurationError: Pillow is not installed. Nothing was fetched.
            InvalidRequestError: *results* are none, or *side* is out of range.
            SessionClosedError: The session is closed.
        """
        warn_outside()
        make_grid = self._inner._make_grid  # noqa: SLF001  ours
        return self._portal.call(make_grid, results, side)

    def durations(self) -> dict[str, list[float]]:
        """
        Return what ``PollPolicy(learned=True)`` has learned, fit for JSON.

        The next session goes on from there with ``PollPolicy(learned=...)``.

        Returns:
            For each model and size with 20 or more ended tasks, 20 quantiles in
            seconds (2.5 %, 7.5 %, ... 97.5 %); empty without ``learned``.
        """
        return self._inner.durations()

    def stats(self) -> SessionStats:
        """Return what the session did so far; also after it closed."""
        return self._inner.stats()

    def close(self) -> None:
        """
        Close; idempotent, and never raises for pending tasks.

        Paid requests under way are let finish, within their timeouts. Whoever waits
        for a task gets ``SessionClosedError`` with the ids to attach again. Files end
        at once with ``DownloadError``, on their way up with ``TransportError``.
        """
        self._portal.close()

    def __enter__(self) -> Self:
        self._portal.call(self._inner.__aenter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        portal: Portal | None = getattr(self, "_portal", None)
        if portal is None or not portal.forgotten:
            return
        warnings.warn(
            "a synchronous Session was never closed; use `with` or `session.close()`",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )

    def __repr__(self) -> str:
        inner = getattr(self, "_inner", "Session not set up")
        return f"<sync {inner!r}>"
