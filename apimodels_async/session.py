"""The object users hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from apimodels_async._adapters import Adapters, Options
from apimodels_async._api.checks import check_index, check_result
from apimodels_async._core.money.reconcile import compare_balances
from apimodels_async._io import config
from apimodels_async._io.http.network import resolve_network
from apimodels_async._notebook.show import ShowsPictures
from apimodels_async._runtime import Runtime
from apimodels_async._secret import Secret, hidden
from apimodels_async.images import Images
from apimodels_async.models import Reconciliation, SavedAt, SessionStats, Verdict
from apimodels_async.policies import PollPolicy, RetryPolicy, Timeouts
from apimodels_async.stores.places import store_of
from apimodels_async.stores.recall import StoredOrders

if TYPE_CHECKING:
    from decimal import Decimal
    from os import PathLike
    from ssl import SSLContext
    from types import TracebackType

    import aiohttp

    from apimodels_async._io.files.destinations import Destination
    from apimodels_async._io.files.inputs import Source
    from apimodels_async._ports import Observer, OrderLimit
    from apimodels_async.errors import OutcomeUnknownError
    from apimodels_async.handle import TaskHandle
    from apimodels_async.model_info import ModelInfo
    from apimodels_async.models import AnyRequest, Balance, ImageResult
    from apimodels_async.stores.recovered import TakeUp
    from apimodels_async.stores.sent import SentOrders
    from apimodels_async.stores.store import OrderStore
    from apimodels_async.webhooks import Callback


class Session(StoredOrders, ShowsPictures):
    """
    One connection pool and one tracker coroutine for all your pictures.

    Use it as ``async with Session() as session:``, or call ``aclose`` yourself.
    It opens on first use, inside the running event loop, and belongs to that loop.
    A background task (``apimodels-tracker``) polls the pending tasks; it sleeps while
    there are none and ends with the session.

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

        http: An ``aiohttp.ClientSession`` whose connector, proxy and trace configs
            carry everything, the API's requests and files. Its headers, cookies and
            auth are not used, and it is never closed here.

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
        http: aiohttp.ClientSession | None = None,
    ) -> None:
        given, api_key = Secret.of(api_key), None  # a frame that raises shows locals
        way, proxy = hidden(proxy), None
        place, store = hidden(store), None
        address, base_url = hidden(base_url), None
        kept = store_of(place)
        config.check_counts(
            max_connections=max_connections,
            max_polls=max_polls,
            max_downloads=max_downloads,
        )
        config.check_options(
            polling=(polling, PollPolicy),
            retry=(retry, RetryPolicy),
            timeouts=(timeouts, Timeouts),
            callback=(callback, "address"),
            limit=(limit, "acquire"),
            store=(kept, "begin"),
        )
        config.check_http(http, fresh=fresh_connections)
        key, where = config.resolve_key(given), config.resolve_base_url(address)
        network = resolve_network(way, ssl, http, where)
        max_connections, max_downloads = config.share_pool(
            http, max_connections, max_downloads
        )
        self._runtime = Runtime(
            Options(
                key=key,
                base_url=where,
                polling=config.resolve_polling(polling or PollPolicy(), where),
                retry=retry or RetryPolicy(),
                timeouts=timeouts or Timeouts(),
                max_connections=max_connections,
                max_polls=min(max_polls, max(1, max_connections * 2 // 3)),
                max_downloads=max_downloads,
                fresh_connections=fresh_connections,
                callback=callback,
                limit=limit,
                store=kept,
                network=network,
                http=http,
            ),
            self._make_adapters(),
        )
        self._images = Images(self._runtime)
        self._seen: tuple[Balance, Decimal] | None = None
        """The last balance the user asked for, and what was spent by then."""

    def _orders(self) -> tuple[SentOrders | None, TakeUp]:
        parts = self._runtime.open()
        return parts.orders, parts.ordering.take_up

    def _make_adapters(self) -> Adapters:
        return Adapters()

    @property
    def images(self) -> Images:
        """The calls that make pictures."""
        return self._images

    @property
    def base_url(self) -> str:
        """Where the API is, version path included."""
        return self._runtime.options.base_url

    def observe(self, observer: Observer) -> None:
        """
        Let *observer* surround every order from now on, as ``integrations.otel`` does.

        It takes the place of the one before. Its ``ordering(request, idempotency_key)``
        is a context manager, which yields what is called with the task's id.

        Raises:
            ConfigurationError: It has no ``ordering``.
        """
        config.check_kind("observer", observer, "ordering")
        self._runtime.observe(observer)

    @property
    def pending(self) -> tuple[str, ...]:
        """The ids of the tracked tasks, oldest first; ``attach`` makes handles."""
        parts = self._runtime.parts
        return tuple(parts.tracker.ledger) if parts else ()

    @property
    def orphans(self) -> tuple[TaskHandle | ImageResult | OutcomeUnknownError, ...]:
        """What became of sent orders whose caller was cancelled; oldest first."""
        parts = self._runtime.parts
        return tuple(parts.ordering.orphans) if parts else ()

    def take_orphans(
        self,
    ) -> tuple[TaskHandle | ImageResult | OutcomeUnknownError, ...]:
        """Return ``orphans`` and forget them; a long-lived program calls this."""
        parts = self._runtime.parts
        return parts.ordering.take_orphans() if parts else ()

    async def balance(self) -> Balance:
        """
        Return the account's balance; free.

        Raises:
            AuthenticationError: The key is not accepted.
            TransportError: Nobody answered, after retries.

        Source:
            Vendor's account page.
        """
        self._seen = await self._balance(), self.stats().spent
        return self._seen[0]

    async def _balance(self) -> Balance:
        sender = self._runtime.open().sender
        from apimodels_async._api import calls

        return await sender.send(calls.balance())

    async def reconcile(self, error: OutcomeUnknownError) -> Reconciliation:
        """
        Find out what became of a paid request of unknown fate; free, sends no order.

        Its callback may have come since. A task id salvaged from a broken answer is
        asked for. Failing that, the balance is compared with the last one this session
        saw: call it before ordering for that evidence. Raises as ``balance`` does.
        """
        ordering = self._runtime.open().ordering
        found = await ordering.lost.look_up(error)
        if found is not None:
            return found
        if self._seen is None:
            reason = "no balance was seen before the request, and no task id is known"
            return Reconciliation(Verdict.UNKNOWN, reason)
        before, spent = self._seen
        after = await self._balance()
        stats = self.stats()
        under_way = stats.pending + ordering.under_way
        return compare_balances(before, after, stats.spent - spent, under_way)

    async def models(self) -> tuple[ModelInfo, ...]:
        """Return the models the API lists in its order; free, raises as ``balance``."""
        sender = self._runtime.open().sender
        from apimodels_async._api import calls

        return await sender.send(calls.models())

    async def upload(
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
        parts = self._runtime.open()
        file = await parts.saver.load(source, name, content_type, max_bytes)
        address = await parts.saver.upload(parts.sender, file)
        if parts.orders is not None:
            await parts.orders.uploaded(address, file.data)
        return address

    async def download(
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
        check_index(index, len(check_result(result).urls))
        saver = self._runtime.open().saver
        where = saver.places.target(target, overwrite, max_bytes, sidecar, embed)
        return await saver.save(result, where, index=index, request=request)

    async def download_all(
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
        saver = self._runtime.open().saver
        where = saver.places.target(target, overwrite, max_bytes, sidecar, embed)
        paths, trouble = await saver.save_all(result, where, request=request)
        if trouble is not None:
            raise trouble
        return paths

    def durations(self) -> dict[str, list[float]]:
        """
        Return what ``PollPolicy(learned=True)`` has learned, fit for JSON.

        The next session goes on from there with ``PollPolicy(learned=...)``.

        Returns:
            For each model and size with 20 or more ended tasks, 20 quantiles in
            seconds (2.5 %, 7.5 %, ... 97.5 %); empty without ``learned``.
        """
        parts = self._runtime.parts
        if parts is None or parts.tracker.ledger.latency is None:
            return {}
        return parts.tracker.ledger.latency.save(parts.loop.time())

    def stats(self) -> SessionStats:
        """Return what the session did so far; also after it closed."""
        parts = self._runtime.parts
        if parts is None:
            return SessionStats()
        return self._runtime.counters.stats(
            pending=len(parts.tracker.ledger),
            under_way=parts.ordering.under_way,
            connections=parts.transport.connections,
        )

    async def aclose(self) -> None:
        """
        Close; idempotent, and never raises for pending tasks.

        Paid requests under way are let finish, within their timeouts. Whoever waits
        for a task gets ``SessionClosedError`` with the ids to attach again. Files end
        at once with ``DownloadError``, on their way up with ``TransportError``.
        """
        await self._runtime.aclose()

    async def __aenter__(self) -> Self:
        self._runtime.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        runtime: Runtime | None = getattr(self, "_runtime", None)
        if runtime is not None:
            runtime.warn_if_open(self)

    def __repr__(self) -> str:
        if not hasattr(self, "_runtime"):  # its set-up failed: a traceback shows it
            return "<Session not set up>"
        stats = self.stats()
        most = self._runtime.options.max_connections
        return (
            f"<Session {self._runtime.state.value} | pending {stats.pending} | "
            f"{stats.connections or 0}/{most} connections>"
        )
