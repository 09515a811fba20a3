"""
``session.images``: the calls that make pictures.
"""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from apimodels_async._api import checks, requests
from apimodels_async._api.catalogue import SPARKPIX_EDIT
from apimodels_async._core.entry import Entry
from apimodels_async._core.media import item_stem
from apimodels_async._submission import find, intend, order, recall
from apimodels_async._wiring import make_notes
from apimodels_async.errors import InvalidRequestError
from apimodels_async.handle import TaskHandle, read_token
from apimodels_async.models import (
    ImageRequest,
    ImageResult,
    SparkPixEdit,
    SparkPixImage,
    TaskState,
)

if TYPE_CHECKING:
    import os
    from collections.abc import (
        AsyncIterable,
        Callable,
        Iterable,
        Mapping,
        Sequence,
    )

    from apimodels_async._wiring import Wiring
    from apimodels_async.batch import Batch

    AnyRequest = SparkPixImage | SparkPixEdit | ImageRequest
    BatchItem = str | Mapping[str, Any] | AnyRequest


class Images:
    """
    Made by the session; use ``session.images``.
    """

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    @overload
    async def generate(
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
    ) -> ImageResult: ...

    @overload
    async def generate(
        self, prompt: str | None, *, model: str, **params: Any
    ) -> ImageResult: ...

    @overload
    async def generate(
        self, prompt: SparkPixImage | SparkPixEdit | ImageRequest
    ) -> ImageResult: ...

    async def generate(
        self,
        prompt: str | SparkPixImage | SparkPixEdit | ImageRequest | None,
        *,
        model: str | None = None,
        **params: Any,
    ) -> ImageResult:
        """
        Make a picture and return its result. Costs money once the API accepts it.

        Without *model* this is SparkPix Image: one synchronous call of about a
        second. With any other model it submits a task and waits for it. Sent once:
        again only if its headers never left this machine, or after a 429.

        Args:
            prompt: What to draw; or a request value that says everything.

            model: Model id; unknown ones pass through.

            params: The API's own parameter names; unknown ones pass through.

        Raises:
            InvalidRequestError: Refused here. Nothing was sent.
            InsufficientCreditsError: Not enough credit. Nothing was created.
            RateLimitError: Retries ran out, or the API wants more than 120 s.
            APIStatusError: Any other refusal; not charged.
            ConnectionFailedError: Never sent.
            OutcomeUnknownError: Sent, and its fate is not known.
            GenerationFailedError: The task failed; it is not charged.
            TaskTimeoutError: The deadline passed; the task lives on.
            SessionClosedError: The session closed first.

        Source:
            API page, "SparkPix" and "Endpoints".
        """
        await self._wiring.turn()
        request = _request(prompt, model, params)
        with self._wiring.observer.ordering(request) as accepted:
            product = await order(self._wiring, request)
            if isinstance(product, ImageResult):
                return product
            accepted(product.task_id)
            return await product

    async def edit(
        self,
        prompt: str | SparkPixEdit,
        *,
        images: Sequence[str] | None = None,
        aspect_ratio: str | None = None,
        turbo: bool | None = None,
        seed: int | None = None,
        callback_url: str | None = None,
        **params: Any,
    ) -> ImageResult:
        """
        Edit or fuse *images* with SparkPix Image Edit: one call of about a second.

        Costs money. Models answered by a task take their images in ``submit`` or
        ``generate(model=...)``, under their own parameter names.

        Args:
            images: http(s) URLs, the first is the primary one; ``session.upload``
                makes one of a local file. The prompt calls them "image 1", ...

        Raises:
            As :meth:`generate`.

        Source:
            API page, "SparkPix Image Edit params".
        """
        given = {
            "images": images,
            "aspect_ratio": aspect_ratio,
            "turbo": turbo,
            "seed": seed,
            "callback_url": callback_url,
            **params,
        }
        if isinstance(prompt, SparkPixEdit):
            return await self.generate(prompt)
        return await self.generate(prompt, model=SPARKPIX_EDIT, **_given(given))

    async def submit(
        self,
        prompt: str | ImageRequest | None,
        *,
        model: str | None = None,
        **params: Any,
    ) -> TaskHandle:
        """
        Submit one task and return its handle without waiting for the result.

        Costs money as soon as the API accepts it. If the caller is cancelled after
        the request left, it goes on and its task stays tracked (``session.orphans``).

        Raises:
            InvalidRequestError: Refused here; also for SparkPix, which has no tasks.
            Otherwise as :meth:`generate`, short of waiting.

        Source:
            API page, "POST /api/v1/images/generations".
        """
        await self._wiring.turn()
        request = _request(prompt, model, params)
        if not isinstance(request, ImageRequest):
            msg = (
                f"model={requests.model_of(request)!r} answers at once and has no task "
                "to submit: use images.generate() or images.edit()"
            )
            raise InvalidRequestError(msg, parameter="model")
        with self._wiring.observer.ordering(request) as accepted:
            product = await order(self._wiring, request)
            if isinstance(product, TaskHandle):
                accepted(product.task_id)
                return product
        done = Entry("", request.model, TaskState.COMPLETED, product)
        return TaskHandle(done, self._wiring.open().tracker)

    def attach(self, task: str) -> TaskHandle:
        """
        Take up a task by its id or token; no request is made here, and it is free.

        The session tracks it from the next sweep on. An id the API does not know
        ends in ``TaskNotFoundError`` within 30 seconds.

        Raises:
            InvalidRequestError: It cannot be a task id.
            SessionClosedError: The session is closed.
        """
        task_id, model = read_token(checks.check_text(task))
        checks.check_task_id(task_id)
        tracker = self._wiring.open().tracker
        entry = tracker.ledger.get(task_id)
        if entry is None:
            entry = Entry(task_id, model, attached=True)
            tracker.watch(entry)
        return TaskHandle(entry, tracker)

    def batch(  # noqa: PLR0913  options, all by keyword
        self,
        source: Iterable[BatchItem] | AsyncIterable[BatchItem],
        *,
        max_pending: int = 50,
        max_cost: Decimal | float | None = None,
        price: Callable[[AnyRequest], Decimal | None] | None = None,
        journal: str | os.PathLike[str] | None = None,
        download_to: str | os.PathLike[str] | None = None,
        sidecar: bool = False,
        embed: bool = False,
        retry_failed: bool = False,
        resubmit_unknown: bool = False,
        start: int = 0,
        step: int = 1,
    ) -> Batch:
        """
        Order everything in *source*, a few at a time; yield outcomes as they finish.

        Use it as ``async with session.images.batch(...) as outcomes`` and then
        ``async for outcome in outcomes``. Costs money. Failures are values. Leaving
        early stops ordering; what was paid for is in ``outcomes.pending`` (tracked) and
        ``outcomes.unread``.

        Args:
            source: Prompts, request values, or mappings of parameters; read only as
                fast as slots free up, at most *max_pending* ahead. Equal items are
                orders in their own right.

            max_pending: Most items under way at once.

            max_cost: US dollars, for all runs with one journal together. Before an
                order would pass it, ordering stops, and iteration ends with
                ``BudgetExceededError``. Unknown outcomes count as spent.

            price: Price of a request, where you know it; else the published hint
                (:func:`known_models`). Once a result states its credits, these count.

            journal: SQLite file that survives a crash. Run the same batch again with
                it: what ended is handed over again, what was accepted is attached, and
                nothing of unknown fate is ordered anew.

            download_to: Directory for the pictures, ``00041-prompt.png`` each.

            sidecar, embed: Write prompt, model, seed and task id beside each picture,
                or into it; as in ``session.download``.

            retry_failed: Order again what an earlier run saw fail (not charged).

            resubmit_unknown: Order again what an earlier run left unknown. This may pay
                twice.

            start: Number of the first item, in outcomes, journal and file names.

            step: From one item's number to the next one's; with *start* the numbers of
                a larger list, where this is a part of it.

        Raises:
            ConfigurationError: *embed* without Pillow. Nothing was sent.
            InvalidRequestError: A parameter is out of range. Nothing was sent.
        """
        from apimodels_async._core.purse import Purse
        from apimodels_async._io.metadata import check_pillow
        from apimodels_async._orders import Calls, price_of
        from apimodels_async.batch import Batch

        checks.check_count("max_pending", max_pending)
        checks.check_start(start)
        checks.check_count("step", step)
        checks.check_amount("max_cost", max_cost)
        if embed:
            check_pillow()
        limit = None if max_cost is None else Decimal(str(max_cost))
        calls = Calls(
            intend=partial(intend, self._wiring),
            order=partial(order, self._wiring),
            recall=partial(recall, self._wiring),
            find=partial(find, self._wiring),
            attach=self.attach,
            save=None
            if download_to is None
            else partial(self._save, Path(download_to), sidecar, embed),
            price=price or price_of,
        )
        return Batch(
            source,
            calls,
            Purse(limit),
            None if journal is None else self._wiring.adapters.journal(Path(journal)),
            numbers=count(start, step),
            max_pending=max_pending,
            retry_failed=retry_failed,
            resubmit_unknown=resubmit_unknown,
        )

    async def _save(
        self,
        folder: Path,
        sidecar: bool,  # noqa: FBT001  bound by name order in batch()
        embed: bool,  # noqa: FBT001
        result: ImageResult,
        index: int,
        request: AnyRequest,
    ) -> Path:
        stem = item_stem(index, result.task_id, request.prompt)
        notes = make_notes(result, request, sidecar=sidecar, embed=embed)
        return await self._wiring.store(result, folder / stem, stem, notes)


def _request(
    prompt: object, model: str | None, params: dict[str, Any]
) -> SparkPixImage | SparkPixEdit | ImageRequest:
    if not isinstance(prompt, (SparkPixImage, SparkPixEdit, ImageRequest)):
        return requests.build_request(prompt, model, params)
    if model is not None or params:
        msg = "a request value says everything: give no further parameters"
        raise InvalidRequestError(msg, parameter="model" if model else min(params))
    return prompt


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
