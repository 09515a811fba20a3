"""
Reads what is to be ordered, from any kind of source.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Mapping
from types import CoroutineType
from typing import TYPE_CHECKING, TypeVar

from apimodels_async._api import checks
from apimodels_async.errors import InvalidRequestError
from apimodels_async.models import AnyRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")


def items_of(source: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """
    Return the items of *source*, of whichever kind it is.

    Raises:
        InvalidRequestError: It is a single prompt or request, or no iterable.
    """
    given: object = source
    if isinstance(given, CoroutineType):
        checks.refuse("source", given, "a list or an iterator of orders")
    single = isinstance(source, (str, bytes, Mapping, AnyRequest))
    kinds = ("__aiter__", "__iter__", "__getitem__")
    if single or not any(hasattr(type(source), each) for each in kinds):
        other = "a single one" if single else type(source).__name__
        msg = f"source: give a list or an iterator of orders, not {other}"
        raise InvalidRequestError(msg, parameter="source")
    return _read_async(source) if isinstance(source, AsyncIterable) else _read(source)


async def _read(source: Iterable[T]) -> AsyncGenerator[T, None]:
    try:
        for found in source:
            yield found
    finally:
        # A generator left in the middle runs its clean-up now, not at some collection.
        if isinstance(source, Generator):
            source.close()


async def _read_async(source: AsyncIterable[T]) -> AsyncGenerator[T, None]:
    try:
        async for found in source:
            yield found
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
