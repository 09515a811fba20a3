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
    from apimodels_async._api.catalogue import (
        known_models as known_models,
    )
    from apimodels_async._api.literals import (
        AspectRatio as AspectRatio,
    )
    from apimodels_async._api.literals import (
        KnownModelId as KnownModelId,
    )
    from apimodels_async._api.literals import (
        Quality as Quality,
    )
    from apimodels_async._api.literals import (
        Resolution as Resolution,
    )
    from apimodels_async._api.prices import (
        check_request as check_request,
    )
    from apimodels_async._io.order_limit import (
        LocalLimit as LocalLimit,
    )
    from apimodels_async._notebook.show import (
        PictureGrid as PictureGrid,
    )
    from apimodels_async._ports import (
        OrderLimit as OrderLimit,
    )
    from apimodels_async._ports import (
        Permit as Permit,
    )
    from apimodels_async.batch.outcome import (
        Outcome as Outcome,
    )
    from apimodels_async.errors import (
        ApiModelsError as ApiModelsError,
    )
    from apimodels_async.errors import (
        APIStatusError as APIStatusError,
    )
    from apimodels_async.errors import (
        AuthenticationError as AuthenticationError,
    )
    from apimodels_async.errors import (
        BadRequestError as BadRequestError,
    )
    from apimodels_async.errors import (
        BudgetExceededError as BudgetExceededError,
    )
    from apimodels_async.errors import (
        ConfigurationError as ConfigurationError,
    )
    from apimodels_async.errors import (
        ConnectionFailedError as ConnectionFailedError,
    )
    from apimodels_async.errors import (
        DownloadError as DownloadError,
    )
    from apimodels_async.errors import (
        GenerationFailedError as GenerationFailedError,
    )
    from apimodels_async.errors import (
        InsufficientCreditsError as InsufficientCreditsError,
    )
    from apimodels_async.errors import (
        InvalidRequestError as InvalidRequestError,
    )
    from apimodels_async.errors import (
        JournalError as JournalError,
    )
    from apimodels_async.errors import (
        NotFoundError as NotFoundError,
    )
    from apimodels_async.errors import (
        OutcomeUnknownError as OutcomeUnknownError,
    )
    from apimodels_async.errors import (
        PermissionDeniedError as PermissionDeniedError,
    )
    from apimodels_async.errors import (
        RateLimitError as RateLimitError,
    )
    from apimodels_async.errors import (
        RequestInfo as RequestInfo,
    )
    from apimodels_async.errors import (
        ResultExpiredError as ResultExpiredError,
    )
    from apimodels_async.errors import (
        ServerError as ServerError,
    )
    from apimodels_async.errors import (
        SessionClosedError as SessionClosedError,
    )
    from apimodels_async.errors import (
        TaskNotFoundError as TaskNotFoundError,
    )
    from apimodels_async.errors import (
        TaskTimeoutError as TaskTimeoutError,
    )
    from apimodels_async.errors import (
        TransportError as TransportError,
    )
    from apimodels_async.errors import (
        TransportTimeoutError as TransportTimeoutError,
    )
    from apimodels_async.errors import (
        UnexpectedResponseError as UnexpectedResponseError,
    )
    from apimodels_async.handle import (
        TaskHandle as TaskHandle,
    )
    from apimodels_async.images import (
        Images as Images,
    )
    from apimodels_async.model_info import (
        KnownModel as KnownModel,
    )
    from apimodels_async.model_info import (
        KnownParameter as KnownParameter,
    )
    from apimodels_async.model_info import (
        ModelInfo as ModelInfo,
    )
    from apimodels_async.models import (
        Balance as Balance,
    )
    from apimodels_async.models import (
        CheckedRequest as CheckedRequest,
    )
    from apimodels_async.models import (
        ImageRequest as ImageRequest,
    )
    from apimodels_async.models import (
        ImageResult as ImageResult,
    )
    from apimodels_async.models import (
        Reconciliation as Reconciliation,
    )
    from apimodels_async.models import (
        SessionStats as SessionStats,
    )
    from apimodels_async.models import (
        SparkPixEdit as SparkPixEdit,
    )
    from apimodels_async.models import (
        SparkPixImage as SparkPixImage,
    )
    from apimodels_async.models import (
        TaskEvent as TaskEvent,
    )
    from apimodels_async.models import (
        TaskState as TaskState,
    )
    from apimodels_async.models import (
        Verdict as Verdict,
    )
    from apimodels_async.policies import (
        PollPolicy as PollPolicy,
    )
    from apimodels_async.policies import (
        RetryPolicy as RetryPolicy,
    )
    from apimodels_async.policies import (
        Timeouts as Timeouts,
    )
    from apimodels_async.session import (
        Session as Session,
    )

_HOME = {
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
    "APIStatusError": "errors",
    "ApiModelsError": "errors",
    "AuthenticationError": "errors",
    "BadRequestError": "errors",
    "BudgetExceededError": "errors",
    "ConfigurationError": "errors",
    "ConnectionFailedError": "errors",
    "DownloadError": "errors",
    "GenerationFailedError": "errors",
    "InsufficientCreditsError": "errors",
    "InvalidRequestError": "errors",
    "JournalError": "errors",
    "NotFoundError": "errors",
    "OutcomeUnknownError": "errors",
    "PermissionDeniedError": "errors",
    "RateLimitError": "errors",
    "RequestInfo": "errors",
    "ResultExpiredError": "errors",
    "ServerError": "errors",
    "SessionClosedError": "errors",
    "TaskNotFoundError": "errors",
    "TaskTimeoutError": "errors",
    "TransportError": "errors",
    "TransportTimeoutError": "errors",
    "UnexpectedResponseError": "errors",
    "TaskHandle": "handle",
    "Images": "images",
    "Balance": "models",
    "CheckedRequest": "models",
    "ImageRequest": "models",
    "ImageResult": "models",
    "KnownModel": "model_info",
    "KnownParameter": "model_info",
    "ModelInfo": "model_info",
    "Reconciliation": "models",
    "SessionStats": "models",
    "SparkPixEdit": "models",
    "SparkPixImage": "models",
    "TaskEvent": "models",
    "TaskState": "models",
    "Verdict": "models",
    "PollPolicy": "policies",
    "RetryPolicy": "policies",
    "Timeouts": "policies",
    "Session": "session",
}

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
    home = _HOME.get(name)
    if home is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
