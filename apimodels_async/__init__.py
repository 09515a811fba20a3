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
    from apimodels_async.errors import *
    from apimodels_async.handle import TaskHandle
    from apimodels_async.images import Images
    from apimodels_async.model_info import *
    from apimodels_async.models import *
    from apimodels_async.policies import *
    from apimodels_async.session import Session

# Looked through in this order: what loads little comes first.
_HOMES = (
    *("errors", "_api.literals", "models", "model_info", "policies", "batch.outcome"),
    *("_ports", "_api.catalogue", "_api.prices"),
    *("_io.order_limit", "handle", "images", "session", "_notebook.show"),
)

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
    homes = (import_module(f"{__name__}.{home}") for home in _HOMES)
    value: object = next(getattr(each, name) for each in homes if hasattr(each, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
