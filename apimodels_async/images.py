"""
``session.images``: the calls that make pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, overload

from apimodels_async._api import checks, requests
from apimodels_async._api.catalogue import SPARKPIX_EDIT
from apimodels_async.errors import (
    ConfigurationError,
    InvalidRequestError,
    SessionClosedError,
)
from apimodels_async.handle import read_token
from apimodels_async.models import ImageRequest, SparkPixEdit, SparkPixImage
from apimodels_async.stores.recall import NO_STORE

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
    from decimal import Decimal

    from apimodels_async._io.files.destinations import Destination
    from apimodels_async._runtime import Runtime
    from apimodels_async.batch import Batch
    from apimodels_async.handle import TaskHandle
    from apimodels_async.models import AnyRequest, ImageResult
    from apimodels_async.stores.sent_order import SentOrder

    BatchItem = str | Mapping[str, Any] | AnyRequest


NAME_CHARS_MAX: Final = 200
"""Of a batch; the rest of an idempotency key is its item's."""


class Images:
    """Made by the session; use ``session.images``."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

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
        extra: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
    ) -> ImageResult: ...

    @overload
    async def generate(
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
    async def generate(
        self,
        prompt: AnyRequest,
        *,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
    ) -> ImageResult: ...

    async def generate(
        self,
        prompt: str | AnyRequest | None,
        *,
        model: str | None = None,
        extra: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
        **params: Any,
    ) -> ImageResult:
        """
        Make a picture and return its result. Costs money once the API accepts it.

        Without *model* this is SparkPix Image: one synchronous call of about a
        second. With any other model it submits a task and waits for it. Sent once:
        again only if its headers never left this machine, or after a 429.

        Args:
            prompt: What to draw; or a request value that says everything.

            model: Model id; unknown ones pass through, with a warning in the log where
                a known id is close.

            extra: Further parameters, sent as they are and not checked.

            idempotency_key: Your own name for the order, 1-255 characters; needs
                ``Session(store=)``. It is bought once, however often and from wherever
                it is called: again it brings the same result, free, or waits for it.
                Only after a refusal, or a task that failed, it is ordered anew.

            manual_ack: The order counts as handed over once ``session.ack()`` is called
                with its idempotency key: until then ``recover()`` finds it after a
                crash. Else it counts as soon as its result is returned.

            params: The API's own parameter names; unknown ones pass through.

        Raises:
            InvalidRequestError: Refused here; also what looks like a misspelt name of a
                known model's parameter, or is not in its list of values
                (:func:`known_models`). Nothing was sent.
            InsufficientCreditsError: Not enough credit. Nothing was created.
            RateLimitError: Retries ran out, or the API wants more than 120 s.
            APIStatusError: Any other refusal; not charged.
            ConnectionFailedError: Never sent.
            OutcomeUnknownError: Sent, and its fate is not known.
            GenerationFailedError: The task failed; it is not charged.
            TaskTimeoutError: The deadline passed; the task lives on.
            SessionClosedError: The session closed first.
            JournalError: The store cannot be used. Nothing was sent.

        Source:
            API page, "SparkPix" and "Endpoints".
        """
        request = _request(prompt, model, params, extra)
        record = await self._record(request, idempotency_key, manual_ack)
        return await self._runtime.open().ordering.complete(request, record)

    async def edit(
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
        """
        Edit or fuse *images* with SparkPix Image Edit: one call of about a second.

        Costs money. Models answered by a task take their images in ``submit`` or
        ``generate(model=...)``, under their own parameter names.

        Args:
            images: http(s) URLs, the first is the primary one; ``session.upload``
                makes one of a local file. The prompt calls them "image 1", ...

            extra, idempotency_key, manual_ack: As for :meth:`generate`.

        Raises:
            As :meth:`generate`.

        Source:
            API page, "SparkPix Image Edit params".
        """
        if params.get("model", SPARKPIX_EDIT) != SPARKPIX_EDIT:
            msg = (
                "edit() is SparkPix Image Edit: other models take their images in "
                f"generate(model={params['model']!r}, ...), under names of their own"
            )
            raise InvalidRequestError(msg, parameter="model")
        params.pop("model", None)
        given = {
            "images": images,
            "aspect_ratio": aspect_ratio,
            "turbo": turbo,
            "seed": seed,
            "callback_url": callback_url,
            **params,
        }
        model = None if isinstance(prompt, SparkPixEdit) else SPARKPIX_EDIT
        request = _request(prompt, model, _given(given), extra)
        record = await self._record(request, idempotency_key, manual_ack)
        return await self._runtime.open().ordering.complete(request, record)

    async def submit(
        self,
        prompt: str | ImageRequest | None,
        *,
        model: str | None = None,
        extra: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
        **params: Any,
    ) -> TaskHandle:
        """
        Submit one task and return its handle without waiting for the result.

        Costs money as soon as the API accepts it. If the caller is cancelled after
        the request left, it goes on and its task stays tracked (``session.orphans``).

        Args:
            idempotency_key, manual_ack: As for :meth:`generate`; the same key again
                brings the same task.

        Raises:
            InvalidRequestError: Refused here; also for SparkPix, which has no tasks.
            Otherwise as :meth:`generate`, short of waiting.

        Source:
            API page, "POST /api/v1/images/generations".
        """
        request = _request(prompt, model, params, extra)
        if not isinstance(request, ImageRequest):
            msg = (
                f"model={requests.model_of(request)!r} answers at once and has no task "
                "to submit: use images.generate() or images.edit()"
            )
            raise InvalidRequestError(msg, parameter="model")
        record = await self._record(request, idempotency_key, manual_ack)
        return await self._runtime.open().ordering.submit(request, record)

    async def follow(
        self, idempotency_key: str, *, manual_ack: bool = False
    ) -> TaskHandle:
        """
        Take up what was ordered under an idempotency key; nothing is sent, it is free.

        What another caller is sending now is waited for, as by :meth:`generate`. What
        has completed gives a handle that is done.

        Args:
            manual_ack: As for :meth:`generate`.

        Raises:
            InvalidRequestError: The key names no order.
            GenerationFailedError: It was refused, or failed; it is not charged.
            OutcomeUnknownError: Nobody knows whether it was charged.
            ConfigurationError: The session has no store.
            JournalError: The store cannot be used.
        """
        parts = self._runtime.open()
        if parts.orders is None:
            raise ConfigurationError(NO_STORE)
        from apimodels_async.stores.recovered import find_sent

        log, known = await find_sent(parts.orders, idempotency_key)
        log.hands_over = not manual_ack
        return await parts.ordering.follow(log, known)

    async def _record(
        self,
        request: AnyRequest,
        key: str | None,
        manual_ack: bool,  # noqa: FBT001  as it was given
    ) -> SentOrder | None:
        """Return where an order is written down; None: nowhere, there is no store."""
        orders = self._runtime.open().orders
        if manual_ack and key is None:
            msg = "manual_ack needs an idempotency_key: ack() is called with it"
            raise InvalidRequestError(msg, parameter="manual_ack")
        if orders is None:
            if key is None:
                return None
            msg = "idempotency_key needs a store: Session(store='orders.sqlite')"
            raise ConfigurationError(msg)
        from apimodels_async.stores.sent_order import SentOrder

        return await SentOrder.record(orders, request, key, hands_over=not manual_ack)

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
        try:
            ordering = self._runtime.open().ordering
        except SessionClosedError as error:  # no order was unsent: the task may be paid
            error.task_id, error.charged = task_id, None
            raise
        return ordering.attach(task_id, model)

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

            price: Price of a request, 0 or more, where you know it (None: you do not);
                else the published hint (:func:`known_models`). Once a result states its
                credits, these count.

            journal: SQLite file that survives a crash. Run the same batch again with
                it: what ended is handed over again, what was accepted is attached, and
                nothing of unknown fate is ordered anew.

            name: Instead of a journal, the name of the batch in the session's store:
                each item has an idempotency key within it, from its content, so that
                the same batch again buys nothing twice. With a store, but without a
                name, items are remembered under random keys.

            download_to: Directory for the pictures, ``00041-prompt.png`` each; or where
                in object storage, as in ``session.download``. A bucket is written to
                once before anything is ordered.

            sidecar, embed: Write prompt, model, seed and task id beside each picture,
                or into it; as in ``session.download``.

            retry_failed: Order again what an earlier run saw fail (not charged).

            resubmit_unknown: Order again what an earlier run left unknown. This may pay
                twice.

            start: Number of the first item, in outcomes, journal and file names.

            step: From one item's number to the next one's; with *start* the numbers of
                a larger list, where this is a part of it.

            model, extra, defaults: Parameters of every prompt, and of every mapping
                that does not name them itself; a request value says everything.

        Raises:
            ConfigurationError: *embed* without Pillow, or object storage without
                obstore. Nothing was sent.
            InvalidRequestError: A parameter is out of range. Nothing was sent.
        """
        from apimodels_async.batch import Batch
        from apimodels_async.batch.options import read_options

        _check_name(name, journal, self._runtime.options.store)
        budget, options = read_options(
            defaults={"model": model, "extra": extra, **defaults},
            names=Images.batch.__kwdefaults__ or (),
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
        )
        return Batch(source, self._runtime, budget, options)


def _request(
    prompt: object,
    model: str | None,
    params: dict[str, Any],
    extra: Mapping[str, Any] | None,
) -> AnyRequest:
    if extra is not None:
        params = {**params, "extra": extra}
    if not isinstance(prompt, (SparkPixImage, SparkPixEdit, ImageRequest)):
        return requests.build_request(prompt, model, params)
    if model is not None or params:
        msg = "a request value says everything: give no further parameters"
        raise InvalidRequestError(msg, parameter="model" if model else min(params))
    return prompt


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _check_name(name: object, journal: object, store: object) -> None:
    if name is None:
        return
    if len(checks.check_key(name, "name")) > NAME_CHARS_MAX:
        msg = f"name has at most {NAME_CHARS_MAX} characters"
        raise InvalidRequestError(msg, parameter="name")
    if journal is not None:
        msg = "give a batch a journal, or a name in the session's store, not both"
        raise InvalidRequestError(msg, parameter="name")
    if store is None:
        msg = "name= needs a store: Session(store='orders.sqlite')"
        raise ConfigurationError(msg)
