"""
``session.images``: the calls that make pictures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from apimodels_async._api import checks, parameters, requests
from apimodels_async._api.catalogue import SPARKPIX_EDIT
from apimodels_async.batch.call import BatchCall
from apimodels_async.errors import (
    ConfigurationError,
    InvalidRequestError,
    SessionClosedError,
)
from apimodels_async.handle import read_token
from apimodels_async.models import AnyRequest, ImageRequest, SparkPixEdit
from apimodels_async.stores.recall import NO_STORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from apimodels_async._api.literals import (
        AspectRatio,
        EditRatio,
        ImageRatio,
        KnownModelId,
        Quality,
        Resolution,
    )
    from apimodels_async._runtime import Runtime
    from apimodels_async.handle import TaskHandle
    from apimodels_async.models import ImageResult
    from apimodels_async.stores.sent_order import SentOrder


class Images(BatchCall):
    """Made by the session; use ``session.images``."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @overload
    async def generate(
        self,
        prompt: str,
        *,
        aspect_ratio: ImageRatio | str | None = None,
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
        model: KnownModelId | str,
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
                a known id is close. What each takes, ``known_models`` says.

            aspect_ratio: Width to height, such as "16:9".

            resolution: Tier of size, such as "2K"; the price may depend on it.

            quality: How much work goes into it; the price may depend on it.

            size: "1024x1024", or a tier, where the model takes that instead.

            width: Pixels.

            height: Pixels.

            n: How many pictures; each costs its price.

            seed: Same seed, same picture.

            background: What is behind the subject, in the model's own words.

            image: Input image, where the model calls it so: an http(s) URL
                (``session.upload`` makes one of a local file), or, but for SparkPix, a
                ``data:`` URI or base64.

            images: A list, each as *image*.

            image_url: As *image*; a list, where the model takes several by this name.

            image_urls: A list, each as *image*.

            mask: As *image*; says which part of the input is to change.

            callback_url: Where the API tells that the task has ended; without it the
                session's own, if it has one.

            prompt_upsampling: Whether the API may rewrite the prompt; SparkPix alone.

            lora_weights: ``huggingface.co/<owner>/<model>[/<file.safetensors>]``;
                SparkPix alone.

            lora_scale: -1 to 3; SparkPix alone.

            extra: Further parameters, sent as they are and not checked.

            idempotency_key: Your own name for the order, 1-255 characters; needs
                ``Session(store=)``. It is bought once, however often and from wherever
                it is called: again it brings the same result, free, or waits for it.
                Only after a refusal, or a task that failed, it is ordered anew.

            manual_ack: The order counts as handed over once ``session.ack()`` is called
                with its idempotency key: until then ``recover()`` finds it after a
                crash. Else it counts as soon as its result is returned.

            params: Any other parameter, by the API's own name; unknown ones pass
                through.

        Raises:
            InvalidRequestError: Refused here; also what looks like a misspelt name of a
                known model's parameter, or is not in its list of values
                (``known_models``). Nothing was sent.
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

    @overload
    async def edit(
        self,
        prompt: str,
        *,
        images: Sequence[str],
        aspect_ratio: EditRatio | str | None = None,
        turbo: bool | None = None,
        seed: int | None = None,
        callback_url: str | None = None,
        extra: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
        **params: Any,
    ) -> ImageResult: ...

    @overload
    async def edit(
        self,
        prompt: SparkPixEdit,
        *,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
    ) -> ImageResult: ...

    async def edit(
        self,
        prompt: str | SparkPixEdit,
        *,
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
            prompt: What to change; or a request value that says everything.

            images: http(s) URLs, the first is the primary one; ``session.upload``
                makes one of a local file. The prompt calls them "image 1", ...

            aspect_ratio: Width to height; else that of the primary image.

            turbo: On unless told otherwise; off is advised for hard tasks.

            seed: Same seed, same picture.

            callback_url: As for ``generate``.

            extra: As for ``generate``.

            idempotency_key: As for ``generate``.

            manual_ack: As for ``generate``.

            params: Further parameters, in the API's own names.

        Raises:
            ApiModelsError: As for ``generate``, but for what concerns tasks.

        Source:
            API page, "SparkPix Image Edit params".
        """
        if params.get("model", SPARKPIX_EDIT) != SPARKPIX_EDIT:
            msg = (
                "edit() is SparkPix Image Edit: other models take their images in "
                f"generate(model={params['model']!r}, ...), under names of their own"
            )
            raise InvalidRequestError(msg, parameter="model")
        if params.pop("model", None) is None:
            others = _given(params).keys() - set(parameters.IMAGE_NAMES)
            parameters.check_unnamed(SPARKPIX_EDIT, others)
        model = None if isinstance(prompt, SparkPixEdit) else SPARKPIX_EDIT
        request = _request(prompt, model, _given(params), extra)
        record = await self._record(request, idempotency_key, manual_ack)
        return await self._runtime.open().ordering.complete(request, record)

    @overload
    async def submit(
        self,
        prompt: str | None,
        *,
        model: KnownModelId | str,
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
        idempotency_key: str | None = None,
        manual_ack: bool = False,
        **params: Any,
    ) -> TaskHandle: ...

    @overload
    async def submit(
        self,
        prompt: ImageRequest,
        *,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
    ) -> TaskHandle: ...

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
            prompt: What to draw; or a request value that says everything.

            model: Model id of one that is answered by a task: any but SparkPix.

            extra: As for ``generate``.

            idempotency_key: As for ``generate``; the same key again brings the same
                task.

            manual_ack: As for ``generate``.

            params: ``aspect_ratio`` and all others, as for ``generate``.

        Raises:
            InvalidRequestError: Refused here; also for SparkPix, which has no tasks.
            ApiModelsError: Otherwise as ``generate``, short of waiting.

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

        What another caller is sending now is waited for, as by ``generate``. What
        has completed gives a handle that is done.

        Args:
            manual_ack: As for ``generate``.

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


def _request(
    prompt: object,
    model: str | None,
    params: dict[str, Any],
    extra: Mapping[str, Any] | None,
) -> AnyRequest:
    if extra is not None:
        params = {**params, "extra": extra}
    if not isinstance(prompt, AnyRequest):
        return requests.build_request(prompt, model, params)
    if model is not None or params:
        msg = "a request value says everything: give no further parameters"
        raise InvalidRequestError(msg, parameter="model" if model else min(params))
    return prompt


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
