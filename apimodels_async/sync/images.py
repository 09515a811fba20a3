"""
``session.images``, waited for instead of awaited.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, overload

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

        Arguments and errors are those of ``apimodels_async.Images.generate``.
        """
        given: Any = prompt  # the overloads above say what goes with what
        named = params if model is None else {**params, "model": model}
        call = partial(
            self._inner.generate,
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

        Costs money. Arguments and errors are those of ``apimodels_async.Images.edit``.
        """
        given: Any = prompt
        call = partial(
            self._inner.edit,
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

        Costs money as soon as the API accepts it. If the call is interrupted after the
        request left, it goes on and its task stays tracked (``session.orphans``).
        Arguments and errors are those of ``apimodels_async.Images.submit``.
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

        Arguments and errors are those of ``apimodels_async.Images.follow``.
        """

        async def call() -> TaskHandle:
            handle = await self._inner.follow(idempotency_key, manual_ack=manual_ack)
            return TaskHandle(handle, self._portal)

        return self._portal.call(call)

    def attach(self, task: str) -> TaskHandle:
        """
        Take up a task by its id or token; no request is made here, and it is free.

        Errors are those of ``apimodels_async.Images.attach``.
        """

        # A coroutine, since a handle is awaitable: bare, it would be awaited here.
        async def call() -> AsyncTaskHandle:
            return self._inner.attach(task)

        return TaskHandle(self._portal.call(call), self._portal)
