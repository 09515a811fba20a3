"""
``session.images``, waited for instead of awaited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from apimodels_async._api import checks
from apimodels_async.handle import read_token
from apimodels_async.sync.batch import BatchCall
from apimodels_async.sync.handle import TaskHandle

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
    from apimodels_async.handle import TaskHandle as AsyncTaskHandle
    from apimodels_async.models import (
        AnyRequest,
        ImageRequest,
        ImageResult,
        SparkPixEdit,
    )
    from apimodels_async.sync._portal import Portal


class Images(BatchCall):
    """Made by the session; use ``session.images``."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self._inner = portal.session.images

    @overload
    def generate(
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
    def generate(
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
        given: Any = prompt  # the overloads above say what goes with what
        named = params if model is None else {**params, "model": model}

        async def call() -> ImageResult:
            return await self._inner.generate(
                given,
                extra=extra,
                idempotency_key=idempotency_key,
                manual_ack=manual_ack,
                **named,
            )

        return self._portal.call(call)

    @overload
    def edit(
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
    def edit(
        self,
        prompt: SparkPixEdit,
        *,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
    ) -> ImageResult: ...

    def edit(
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
        given: Any = prompt

        async def call() -> ImageResult:
            return await self._inner.edit(
                given,
                extra=extra,
                idempotency_key=idempotency_key,
                manual_ack=manual_ack,
                **params,
            )

        return self._portal.call(call)

    @overload
    def submit(
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
    def submit(
        self,
        prompt: ImageRequest,
        *,
        idempotency_key: str | None = None,
        manual_ack: bool = False,
    ) -> TaskHandle: ...

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
        given: Any = prompt
        named = params if model is None else {**params, "model": model}

        # Made on the loop: Ctrl-C may come in a call that follows the handover.
        async def call() -> TaskHandle:
            handle = await self._inner.submit(
                given,
                extra=extra,
                idempotency_key=idempotency_key,
                manual_ack=manual_ack,
                **named,
            )
            return TaskHandle(handle, self._portal)

        return self._portal.call(call)

    def follow(self, idempotency_key: str, *, manual_ack: bool = False) -> TaskHandle:
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

        async def call() -> TaskHandle:
            handle = await self._inner.follow(idempotency_key, manual_ack=manual_ack)
            return TaskHandle(handle, self._portal)

        return self._portal.call(call)

    def attach(self, task: str) -> TaskHandle:
        """
        Take up a task by its id or token; no request is made here, and it is free.

        The session tracks it from the next sweep on. An id the API does not know
        ends in ``TaskNotFoundError`` within 30 seconds.

        Raises:
            InvalidRequestError: It cannot be a task id.
            SessionClosedError: The session is closed.
        """

        # A coroutine, since a handle is awaitable: bare, it would be awaited here.
        async def call() -> AsyncTaskHandle:
            return self._inner.attach(task)

        task_id, _ = read_token(checks.check_text(task))
        return TaskHandle(self._portal.call(call, paid=task_id), self._portal)
