"""
``session.images.batch``, waited for instead of awaited.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread

from apimodels_async.sync.handle import Batch

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Callable, Iterator
    from decimal import Decimal

    from apimodels_async._api.literals import (
        AspectRatio,
        KnownModelId,
        Quality,
        Resolution,
    )
    from apimodels_async._io.files.destinations import Destination
    from apimodels_async.batch.call import BatchItem
    from apimodels_async.models import AnyRequest
    from apimodels_async.sync._portal import Portal

_END: Final = object()


class BatchCall:
    """What ``session.images`` can do with many at once."""

    _portal: Portal

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
        model: KnownModelId | str | None = None,
        aspect_ratio: AspectRatio | str | None = None,
        resolution: Resolution | str | None = None,
        quality: Quality | str | None = None,
        size: str | None = None,
        width: int | None = None,
        height: int | None = None,
        n: int | None = None,
        seed: int | None = None,
        background: str | None = None,
        image: str | None = None,
        images: Sequence[str] | None = None,
        image_url: str | Sequence[str] | None = None,
        image_urls: Sequence[str] | None = None,
        mask: str | None = None,
        callback_url: str | None = None,
        extra: Mapping[str, Any] | None = None,
        **defaults: Any,
    ) -> Batch:
        """
        Order everything in *source*, a few at a time; yield outcomes as they finish.

        Use it as ``with session.images.batch(...) as outcomes`` and then
        ``for outcome in outcomes``. Costs money. Failures are values. Leaving
        early stops ordering; what was paid for is in ``outcomes.pending`` (tracked) and
        ``outcomes.unread``.

        *source* is read in a worker thread, and may take its time. *price* is called in
        the session's thread, where it must not call the session.

        Args:
            source: Prompts, request values, or mappings of parameters; read only as
                fast as slots free up, at most *max_pending* ahead. Equal items are
                orders in their own right.

            max_pending: Most items under way at once.

            max_cost: US dollars, for all runs with one journal together. An
                order counts at its price until its result says what it cost. What
                would pass the limit waits for those under way; when none can make room
                any more, ordering stops, and iteration ends with
                ``BudgetExceededError``. Unknown outcomes count as spent.

            price: US dollars for a request, where you know it (None: you do not);
                else the dearest published hint that fits it (``known_models``). Once a
                result states its credits, these count.

            journal: SQLite file that survives a crash. Run the same batch again with
                it: what ended is handed over again, what was accepted is attached, and
                nothing of unknown fate is ordered anew.

            name: Instead of a journal, the name of the batch in the session's store:
                each item has an idempotency key within it, from its content, so that
                the same batch again buys nothing twice. With a store, but without a
                name, items are remembered under random keys.

            download_to: Directory for the pictures, ``00041-prompt.png`` each; or where
                in object storage, as in ``session.download``. It is tried
                once, before the first order.

            sidecar: Write prompt, model, seed and task id beside each picture, as in
                ``session.download``.

            embed: Write them into each picture, as there.

            retry_failed: Order again what an earlier run saw fail (not charged).

            resubmit_unknown: Order again what an earlier run left unknown. This may pay
                twice.

            start: Number of the first item, in outcomes, journal and file names.

            step: From one item's number to the next one's; with *start* the numbers of
                a larger list, where this is a part of it.

            model: Of every prompt, and of every mapping that does not name it itself;
                a request value says everything. So are ``aspect_ratio`` and the other
                parameters, as for ``generate``.

            extra: Of the same: sent unchecked.

            defaults: Of the same: any other parameter, in the API's own names.

        Raises:
            ConfigurationError: *embed* without Pillow, or object storage without
                obstore. Nothing was sent.
            InvalidRequestError: *source* is no iterable, a parameter out of range, or
                a value for all items is one that none may have. Nothing was sent.
        """
        batch = self._portal.session.images.batch(
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
            aspect_ratio=aspect_ratio,
            resolution=resolution,
            quality=quality,
            size=size,
            width=width,
            height=height,
            n=n,
            seed=seed,
            background=background,
            image=image,
            images=images,
            image_url=image_url,
            image_urls=image_urls,
            mask=mask,
            callback_url=callback_url,
            extra=extra,
            **defaults,
        )
        return Batch(batch, self._portal)


def _apart(
    source: Iterable[BatchItem] | AsyncIterable[BatchItem],
) -> Iterable[BatchItem] | AsyncIterable[BatchItem]:
    # A generator may be slow, or call the session: not in the session's own thread.
    known = isinstance(source, (AsyncIterable, Mapping, Sequence))
    if known or not isinstance(source, Iterable):  # which is refused there
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
