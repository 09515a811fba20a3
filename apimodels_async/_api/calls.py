"""
The API's endpoints: what each is asked, paired with what reads its answer.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import define, evolve

from apimodels_async._api import requests, responses
from apimodels_async._ports import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from apimodels_async._api.convert import WireFile
    from apimodels_async._ports import File, Reply
    from apimodels_async.model_info import ModelInfo
    from apimodels_async.models import (
        AnyRequest,
        Balance,
        ImageResult,
        TaskSnapshot,
    )

T = TypeVar("T")


@define(frozen=True, eq=False, repr=False)
class Call(Generic[T]):
    """One request, and how to read its answer."""

    request: Request
    read: Callable[[Reply], T]
    """Raises ``ApiModelsError`` for an answer that is no success."""


def create(
    request: AnyRequest, nonce: str | None = None, *, encoded: Request | None = None
) -> Call[TaskSnapshot | ImageResult]:
    """
    Return the paid call that orders *request*.

    Args:
        nonce: Of the callback address in *request*, if it is one of ours.

        encoded: What *request* is when it is sent, where that is known.

    Raises:
        InvalidRequestError: A value the API page does not allow.
    """
    encoded = encoded or requests.encode(request)
    if nonce is not None:
        encoded = evolve(encoded, nonce=nonce)
    read = partial(responses.read_created, model=requests.model_of(request))
    return Call(encoded, read)


def poll(task_id: str) -> Call[TaskSnapshot]:
    """Return the call that asks how the task *task_id* stands."""
    read = partial(responses.read_task, asked=task_id, model=None)
    return Call(requests.poll(task_id), read)


def balance() -> Call[Balance]:
    """Return the call that asks for the account's balance."""
    return Call(Request(method="GET", path="balance"), responses.read_balance)


def models() -> Call[tuple[ModelInfo, ...]]:
    """Return the call that asks for the API's own list of models."""
    return Call(Request(method="GET", path="models"), responses.read_models)


def upload(file: File) -> Call[WireFile]:
    """Return the call that uploads *file*, or asks where to PUT a large one."""
    return Call(requests.upload(file), responses.read_file)
