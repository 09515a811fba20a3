"""
Every error of the library, one tree, grouped by who must act.

ApiModelsError
├── ConfigurationError (ValueError)
├── InvalidRequestError (ValueError)
├── TransportError
│   ├── ConnectionFailedError
│   └── TransportTimeoutError (TimeoutError)
├── OutcomeUnknownError
├── APIStatusError
│   ├── BadRequestError
│   ├── AuthenticationError
│   ├── InsufficientCreditsError
│   ├── PermissionDeniedError
│   ├── NotFoundError
│   ├── RateLimitError
│   └── ServerError
├── UnexpectedResponseError
├── GenerationFailedError
├── TaskTimeoutError (TimeoutError)
├── TaskNotFoundError
├── SessionClosedError
├── BudgetExceededError
├── JournalError
└── DownloadError
    └── ResultExpiredError

Errors carry data; no error holds the key, the prompt, or an exception of the HTTP
library (whose repr shows the Authorization header).
"""

from __future__ import annotations

import copy
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Final, TypedDict

from attrs import frozen

from apimodels_async._text import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from typing import Any, Self, Unpack

__all__ = [
    "APIStatusError",
    "ApiModelsError",
    "AuthenticationError",
    "BadRequestError",
    "BudgetExceededError",
    "ConfigurationError",
    "ConnectionFailedError",
    "DownloadError",
    "GenerationFailedError",
    "InsufficientCreditsError",
    "InvalidRequestError",
    "JournalError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestInfo",
    "ResultExpiredError",
    "ServerError",
    "SessionClosedError",
    "TaskNotFoundError",
    "TaskTimeoutError",
    "TransportError",
    "TransportTimeoutError",
    "UnexpectedResponseError",
]


@frozen(eq=False, repr=False)
class RequestInfo(Value):
    """What an error may say about the request behind it: no key, no prompt."""

    method: str
    """``GET``, ``POST`` or ``PUT``."""
    path: str
    """Relative to the base URL, without its query."""
    digest: str | None = None
    """First 16 hex digits of the SHA-256 of the body, to tell requests apart."""
    sent_at: datetime | None = None
    """UTC time at which its headers left this machine; None: they never did."""
    nonce: str | None = None
    """Of its callback address: ``session.reconcile`` knows if that was called."""


class Facts(TypedDict, total=False):
    """What every error may carry besides its sentence."""

    task_id: str | None
    status: int | None
    code: int | None
    request: RequestInfo | None
    charged: bool | None


CHARGED: Final = {
    True: "charged",
    False: "not charged",
    None: "may have been charged",
}
"""What a traceback says of the money."""


class ApiModelsError(Exception):
    """
    Root of every error this library raises on purpose.

    A traceback shows below it whether money was spent.
    """

    default_charged: ClassVar[bool | None] = False
    """What *charged* is unless it is said otherwise."""
    _added: tuple[str, ...] = ()

    def __init__(
        self,
        message: str = "",
        *,
        task_id: str | None = None,
        status: int | None = None,
        code: int | None = None,
        request: RequestInfo | None = None,
        charged: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.task_id = task_id
        """The vendor's id of the task concerned, where one is known."""
        self.status = status
        """HTTP status of the answer, where there was one."""
        self.code = code
        """``code`` of the answer's envelope, where there was one."""
        self.request = request
        """The request concerned, where there was one."""
        self.idempotency_key: str | None = None
        """Of the order concerned, where a store has it."""
        self.charged: bool | None = self.default_charged if charged is None else charged
        """Whether money was spent; None: unknown."""

    def add_note(self, note: str, /) -> None:
        """Let tracebacks show *note* below what they say of the money."""
        self._added = (*self._added, note)

    # Made when it is read: *charged* may be set until then.
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        return [CHARGED.get(self.charged, CHARGED[None]), *self._added]

    def fresh(self, *, task_id: str | None = None) -> Self:
        """
        Return a copy, for one more who is told: raising one object for many would
        pile up everybody's tracebacks on it.
        """
        twin = copy.copy(self)
        twin.__cause__ = self.__cause__
        twin.task_id = task_id or self.task_id
        return twin

    @property
    def message(self) -> str:
        """The sentence, without the facts that ``str()`` may add."""
        return str(self.args[0]) if self.args else ""


class ConfigurationError(ApiModelsError, ValueError):
    """The set-up is wrong (key, base URL, policy, loop). Nothing was sent."""


class InvalidRequestError(ApiModelsError, ValueError):
    """Refused here, before anything was sent; names the parameter."""

    def __init__(
        self,
        message: str = "",
        *,
        parameter: str | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.parameter = parameter
        """Name of the parameter, in the API's spelling."""


class TransportError(ApiModelsError):
    """Nobody answered, and nothing paid was sent."""


class ConnectionFailedError(TransportError):
    """No connection could be made, or it broke before an answer to a free request."""


class TransportTimeoutError(TransportError, TimeoutError):
    """No answer in time to a request that costs nothing, or that was never sent."""


class OutcomeUnknownError(ApiModelsError):
    """
    A paid request was sent and its fate is not known: it may have been charged.

    Sending it again may pay twice. Look at the balance or at the vendor's console,
    and attach the task id where the error carries one.
    """

    default_charged: ClassVar[bool | None] = None

    raw: Mapping[str, Any] | None = None
    """The API's own mapping, where there was one that could be read."""


class APIStatusError(ApiModelsError):
    """The API said no."""

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after
        """Seconds the API asked to wait, where it did (429, 503)."""
        self.task_ids: tuple[str, ...] = ()
        """Where a refused key ended all waits: the accepted tasks, to attach again."""


class BadRequestError(APIStatusError):
    """400 and its kin: the API refused the request as invalid."""


class AuthenticationError(APIStatusError):
    """
    401: the key is not accepted.

    An order refused so was not taken. Where it ends the wait for a task that was, what
    becomes of that task is open: *charged* is None then.
    """


class InsufficientCreditsError(APIStatusError):
    """402: not enough credit. Nothing was created."""


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this; *charged* as for ``AuthenticationError``."""


class NotFoundError(APIStatusError):
    """404: the API does not know this path or id."""


class RateLimitError(APIStatusError):
    """429: too many requests. Nothing was created; wait and send again."""


class ServerError(APIStatusError):
    """5xx to a request that costs nothing (or 501, which is definite for any)."""


class UnexpectedResponseError(ApiModelsError):
    """
    The API answered something that cannot be read.

    Of a task that ended in a way that is not known, or without a usable picture, it
    carries the answer.
    """

    def __init__(
        self,
        message: str = "",
        *,
        raw: Mapping[str, Any] | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.raw = raw
        """The API's own mapping, where it is about something that was paid for."""


class GenerationFailedError(ApiModelsError):
    """The task ended as ``failed``. The API does not charge for failed generations."""

    def __init__(
        self,
        message: str = "",
        *,
        fail_message: str = "",
        fail_code: str | None = None,
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.fail_message = fail_message
        """The API's reason, control characters escaped."""
        self.fail_code = fail_code
        """The API's code, for example ``CONTENT_MODERATION``, where it gave one."""


class TaskTimeoutError(ApiModelsError, TimeoutError):
    """A deadline passed; the task may still finish: ``attach(error.task_id)``."""

    default_charged: ClassVar[bool | None] = None


class TaskNotFoundError(ApiModelsError):
    """The API no longer knows the task."""

    default_charged: ClassVar[bool | None] = None


class SessionClosedError(ApiModelsError):
    """The session is closed; ``task_ids`` are the paid tasks to attach again."""

    default_charged: ClassVar[bool | None] = None

    def __init__(
        self,
        message: str = "",
        *,
        task_ids: tuple[str, ...] = (),
        **facts: Unpack[Facts],
    ) -> None:
        super().__init__(message, **facts)
        self.task_ids = task_ids
        """Tasks that were pending when the session closed."""


class BudgetExceededError(ApiModelsError):
    """``max_cost`` would be passed: nothing more is sent."""


class JournalError(ApiModelsError):
    """
    A store or journal cannot be used (locked, damaged, full, away).

    No record, no order.
    """


class DownloadError(ApiModelsError):
    """The file of a finished generation could not be fetched and stored."""

    default_charged: ClassVar[bool | None] = True
    saved: tuple[PathLike[str] | str, ...] = ()
    """The other pictures of the same result, where they were stored."""


class ResultExpiredError(DownloadError):
    """The file is gone: results are kept for 7 days."""
