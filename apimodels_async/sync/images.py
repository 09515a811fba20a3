"""
``session.images``, waited for instead of awaited.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, overload

import anyio.to_thread

from apimodels_async.sync.handle import Batch, TaskHandle

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator
    from decimal import Decimal

    from apimodels_async._io.files.destinations import Destination
    from apimodels_async.handle import TaskHandle as AsyncTaskHandle
    from apimodels_async.images import BatchItem
    from apimodels_async.models import (
        AnyRequest,
        ImageRequest,
        ImageResult,
        SparkPixEdit,
    )
    from apimodels_async.sync._portal import Portal

_END: Final = object()


class Images:
    """
    Made by the session; use ``session.images``. Costs and errors as for the async one.
    """

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._inner = portal.session.images

    @overload
    def generate(
        self,
        prompt: str,
        *,
        aspect_ratio: str | None = None,
        width: int | None = None,
        height: int | None = None,
        prompt_upsampling: bool | None = None,
        seed: int | None = None,
        lora_weights: str | None = None,
        lora_scale: float | None = None,
        callback_url: str | None = None,
        extra: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
    ) -> ImageResult: ...

    @overload
    def generate(
        self,
        prompt: str | None,
        *,
        model: str,
        extra: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
        **params: Any,
    ) -> ImageResult: ...

    @overload
    def generate(
        self,
        prompt: AnyRequest,
        *,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
    ) -> ImageResult: ...

    def generate(
        self,
        prompt: str | AnyRequest | None,
        *,
        model: str | None = None,
        extra: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
        **params: Any,
    ) -> ImageResult:
        """As ``Images.generate``: make a picture and return its result. Costs money."""
        given: Any = prompt  # the overloads above say what goes with what

        async def call() -> ImageResult:
            named = params if model is None else {**params, "model": model}
            return await self._inner.generate(
                given,
                extra=extra,
                idempotency_key=idempotency_key,
                manual_ack=manual_ack,
                **named,
            )

        return self._portal.call(call)

    def edit(
        self,
        prompt: str | SparkPixEdit,
        *,
        images: Sequence[str] | None = None,
        aspect_ratio: str | None = None,
        turbo: bool | None = None,
        seed: int | None = None,
        callback_url: str | None = None,
        extra: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
        **params: Any,
    ) -> ImageResult:
        """As ``Images.edit``: edit or fuse *images*. Costs money."""

        async def call() -> ImageResult:
            return await self._inner.edit(
                prompt,
                images=images,
                aspect_ratio=aspect_ratio,
                turbo=turbo,
                seed=seed,
                callback_url=callback_url,
                extra=extra,
                idempotency_key=idempotency_key,
                manual_ack=manual_ack,
                **params,
            )

        return self._portal.call(call)

    def submit(
        self,
        prompt: str | ImageRequest | None,
        *,
        model: str | None = None,
        extra: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
        **params: Any,
    ) -> TaskHandle:
        """As ``Images.submit``: submit one task, return its handle. Costs money."""

        # Made on the loop: Ctrl-C may come in a call that follows the handover.
        async def call() -> TaskHandle:
            handle = await self._inner.submit(
                prompt,
                model=model,
                extra=extra,
                idempotency_key=idempotency_key,
                manual_ack=manual_ack,
                **params,
            )
            return TaskHandle(handle, self._portal)

        return self._portal.call(call)

    def follow(self, idempotency_key: str, *, manual_ack: bool = False) -> TaskHandle:
        """As ``Images.follow``: take up what was ordered under a key; free."""

        async def call() -> TaskHandle:
            handle = await self._inner.follow(idempotency_key, manual_ack=manual_ack)
            return TaskHandle(handle, self._portal)

        return self._portal.call(call)

    def attach(self, task: str) -> TaskHandle:
        """As ``Images.attach``: take up a task by its id or token; free."""

        # A coroutine, since a handle is awaitable: bare, it would be awaited here.
        async def call() -> AsyncTaskHandle:
            return self._inner.attach(task)

        return TaskHandle(self._portal.call(call), self._portal)

    def batch(  # noqa: PLR0913  options, all by keyword
        self,
        source: Iterable[BatchItem] | AsyncIterable[BatchItem],
        *,
        max_pending: int = 50,
        max_cost: Decimal | float | None = None,
        price: Callable[[AnyRequest], Decimal | float | None] | None = None,
        journal: str | os.PathLike[str] | None = None,
        name: str | None = None,
        download_to: Destination | None = None,
        sidecar: bool = False,
        embed: bool = False,
        retry_failed: bool = False,
        resubmit_unknown: bool = False,
        start: int = 0,
        step: int = 1,
        model: str | None = None,
        extra: Mapping[str, Any] | None = None,
        **defaults: Any,
    ) -> Batch:
        """
        As ``Images.batch``: ``with ... as outcomes``, ``for outcome in outcomes``.

        *source* is read in a worker thread, and may take its time. *price* is called in
        the session's thread, where it must not call the session.
        """
        batch = self._inner.batch(
            _apart(source),
            max_pending=max_pending,
            max_cost=max_cost,
            price=price,
            journal=journal,
            name=name,
            download_to=download_to,
            sidecar=sidecar,
            embed=embed,
            retry_failed=retry_failed,
            resubmit_unknown=resubmit_unknown,
            start=start,
            step=step,
            model=model,
            extra=extra,
            **defaults,
        )
        return Batch(batch, self._portal)


def _apart(
    source: Iterable[BatchItem] | AsyncIterable[BatchItem],
) -> Iterable[BatchItem] | AsyncIterable[BatchItem]:
    # A generator may be slow, or call the session: not in the session's own thread.
    if isinstance(source, (AsyncIterable, Mapping, Sequence)):
        return source
    return _read_apart(iter(source))


async def _read_apart(items: Iterator[BatchItem]) -> AsyncIterator[BatchItem]:
    while True:
        found: Any = await anyio.to_thread.run_sync(
            next, items, _END, abandon_on_cancel=True
        )
        if found is _END:
            return
        yield found
