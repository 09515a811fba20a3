"""
Asyncio client for the apimodels image API.

One session, one tracker for all tasks; paid requests are sent once. Names are loaded
on first use, so that importing the package stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from apimodels_async._version import __version__ as __version__

if TYPE_CHECKING:
    from apimodels_async._api.catalogue import known_models
    from apimodels_async._api.literals import (
        AspectRatio,
        KnownModelId,
        Quality,
        Resolution,
    )
    from apimodels_async._api.prices import check_request
    from apimodels_async._io.order_limit import LocalLimit
    from apimodels_async._notebook.show import PictureGrid
    from apimodels_async._ports import OrderLimit, Permit
    from apimodels_async.batch.outcome import Outcome
    from apimodels_async.errors import (
        ApiModelsError,
        APIStatusError,
        AuthenticationError,
        BadRequestError,
        BudgetExceededError,
        ConfigurationError,
        ConnectionFailedError,
        DownloadError,
        GenerationFailedError,
        InsufficientCreditsError,
        InvalidRequestError,
        JournalError,
        NotFoundError,
        OutcomeUnknownError,
        PermissionDeniedError,
        RateLimitError,
        RequestInfo,
        ResultExpiredError,
        ServerError,
        SessionClosedError,
        TaskNotFoundError,
        TaskTimeoutError,
        TransportError,
        TransportTimeoutError,
        UnexpectedResponseError,
    )
    from apimodels_async.handle import TaskHandle
    from apimodels_async.images import Images
    from apimodels_async.model_info import KnownModel, KnownParameter, ModelInfo
    from apimodels_async.models import (
        Balance,
        CheckedRequest,
        ImageRequest,
        ImageResult,
        Reconciliation,
        SessionStats,
        SparkPixEdit,
        SparkPixImage,
        TaskEvent,
        TaskState,
        Verdict,
    )
    from apimodels_async.policies import PollPolicy, RetryPolicy, Timeouts
    from apimodels_async.session import Session

_HOMES = {
    "known_models": "_api.catalogue",
    "AspectRatio": "_api.literals",
    "KnownModelId": "_api.literals",
    "Quality": "_api.literals",
    "Resolution": "_api.literals",
    "check_request": "_api.prices",
    "LocalLimit": "_io.order_limit",
    "PictureGrid": "_notebook.show",
    "OrderLimit": "_ports",
    "Permit": "_ports",
    "Outcome": "batch.outcome",
    "TaskHandle": "handle",
    "Images": "images",
    "Session": "session",
}
_WORDS = ("errors", "models", "model_info", "policies")  # where all other names are

__all__ = [
    "APIStatusError",
    "ApiModelsError",
    "AspectRatio",
    "AuthenticationError",
    "BadRequestError",
    "Balance",
    "BudgetExceededError",
    "CheckedRequest",
    "ConfigurationError",
    "ConnectionFailedError",
    "DownloadError",
    "GenerationFailedError",
    "ImageRequest",
    "ImageResult",
    "Images",
    "InsufficientCreditsError",
    "InvalidRequestError",
    "JournalError",
    "KnownModel",
    "KnownModelId",
    "KnownParameter",
    "LocalLimit",
    "ModelInfo",
    "NotFoundError",
    "OrderLimit",
    "Outcome",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "Permit",
    "PictureGrid",
    "PollPolicy",
    "Quality",
    "RateLimitError",
    "Reconciliation",
    "RequestInfo",
    "Resolution",
    "ResultExpiredError",
    "RetryPolicy",
    "ServerError",
    "Session",
    "SessionClosedError",
    "SessionStats",
    "SparkPixEdit",
    "SparkPixImage",
    "TaskEvent",
    "TaskHandle",
    "TaskNotFoundError",
    "TaskState",
    "TaskTimeoutError",
    "Timeouts",
    "TransportError",
    "TransportTimeoutError",
    "UnexpectedResponseError",
    "Verdict",
    "check_request",
    "known_models",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    homes = (_HOMES[name],) if name in _HOMES else _WORDS
    modules = (import_module(f"{__name__}.{home}") for home in homes)
    value: object = next(getattr(each, name) for each in modules if hasattr(each, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
