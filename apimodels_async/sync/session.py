"""
The synchronous session.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING, Literal, Self, cast

from apimodels_async._io.http.network import hide
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
    Arguments and errors are those of ``apimodels_async.Session``. There is no ``http``:
    an ``aiohttp.ClientSession`` belongs to another event loop.
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
        way, proxy = hide(proxy), None
        place, store = hidden(store), None
        self._inner = AsyncSession(
            cast("str | None", given),
            base_url=base_url,
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

        It is called in the session's thread.
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

        Errors are those of ``apimodels_async.Session.balance``.
        """
        return self._portal.call(self._inner.balance)

    def reconcile(self, error: OutcomeUnknownError) -> Reconciliation:
        """
        Find out what became of a paid request of unknown fate; free, sends no order.

        How, and what it raises, says ``apimodels_async.Session.reconcile``.
        """
        return self._portal.call(self._inner.reconcile, error)

    def models(self) -> tuple[ModelInfo, ...]:
        """
        Return the models the API lists now, in its order; free.

        Errors are those of ``apimodels_async.Session.models``.
        """
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

        Arguments and errors are those of ``apimodels_async.Session.upload``.
        """
        call = partial(
            self._inner.upload,
            source,
            name=name,
            content_type=content_type,
            max_bytes=max_bytes,
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

        Arguments and errors are those of ``apimodels_async.Session.download``.
        """
        call = partial(
            self._inner.download,
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

        Arguments and errors are those of ``apimodels_async.Session.download_all``.
        """
        call = partial(
            self._inner.download_all,
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

        Arguments and errors are those of ``apimodels_async.Session.show``.
        """
        warn_outside()
        make_grid = self._inner._make_grid  # noqa: SLF001  ours
        return self._portal.call(make_grid, results, side)

    def durations(self) -> dict[str, list[float]]:
        """
        Return what ``PollPolicy(learned=True)`` has learned, fit for JSON.

        In which form says ``apimodels_async.Session.durations``.
        """
        return self._inner.durations()

    def stats(self) -> SessionStats:
        """Return what the session did so far; also after it closed."""
        return self._inner.stats()

    def close(self) -> None:
        """
        Close; idempotent, and never raises for pending tasks.

        What becomes of requests and waiters says ``apimodels_async.Session.aclose``.
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
