"""
Whether to send again, and what a failed request means for money. Pure verdicts.

Rules of this file:
1. A paid request is sent again only if its headers never left, or after a 429.
2. "Left" is what the HTTP library's trace says, never the class of an exception:
   over 20,000 faulted POSTs class rules paid twice 488-1,381 times, the trace 0.
3. A status counts as a refusal only if it was read from an answer, is definite, and
   the answer names no task: a gateway's 502, an unreadable 200 or an "already
   submitted" may hide an accepted order.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from apimodels_async._ports import Failure, Kind, Phase
from apimodels_async.errors import (
    ApiModelsError,
    APIStatusError,
    ConnectionFailedError,
    OutcomeUnknownError,
    RateLimitError,
    RequestInfo,
    TransportTimeoutError,
    UnexpectedResponseError,
)
from apimodels_async.policies import RETRY_AFTER_MAX_S

if TYPE_CHECKING:
    from apimodels_async._ports import Request, Sent
    from apimodels_async.policies import RetryPolicy

REFUSALS: Final = frozenset(
    {400, 401, 402, 403, 404, 405, 409, 410, 411, 413, 414, 415, 422, 429, 431, 501}
)
"""Statuses that mean the order was not taken. 408 and 5xx come from gateways too."""

PASSING: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Statuses after which a free request is worth another try; 52x as well."""


def info_of(request: Request, sent: Sent) -> RequestInfo:
    """Return what an error tells of *request*: no body, no query."""
    path, _, _ = request.path.partition("?")
    digest = hashlib.sha256(request.body).hexdigest()[:16] if request.body else None
    return RequestInfo(request.method, path, digest, sent.at, request.nonce)


def failure_error(
    kind: Kind, failure: Failure, info: RequestInfo, salvaged: str | None = None
) -> ApiModelsError:
    """
    Return the error for a request that got no whole answer.

    *salvaged* is the task id that a cut answer still showed, if any.
    """
    what = f"{info.method} {info.path}"
    if failure.sent and kind.paid:
        return unknown_error(
            f"{what} was sent and then failed while {failure.phase.value} "
            f"({failure.reason})",
            info,
            status=failure.status,
            task_id=salvaged,
        )
    if failure.timed_out:
        msg = f"{what} timed out while {failure.phase.value} ({failure.reason})"
        return TransportTimeoutError(msg, status=failure.status, request=info)
    msg = f"{what} failed while {failure.phase.value} ({failure.reason})"
    return ConnectionFailedError(msg, status=failure.status, request=info)


def answer_error(
    kind: Kind, error: ApiModelsError, info: RequestInfo, salvaged: str | None
) -> ApiModelsError:
    """
    Return what an answer that is not a success means: *error*, or an unknown outcome.

    *salvaged* is the task id that an unreadable answer still showed, if any.
    """
    error.request = info
    # What was charged for sure (a picture that is of no use) is not of unknown fate.
    if not kind.paid or is_refusal(error) or error.charged:
        return error
    unknown = unknown_error(
        f"{info.method} {info.path} was sent, and the answer does not say whether "
        f"it was taken: {error.message}",
        info,
        status=error.status,
        code=error.code,
        task_id=error.task_id or salvaged,
    )
    if isinstance(error, UnexpectedResponseError):
        unknown.raw = error.raw
    return unknown


def disowned(error: OutcomeUnknownError, info: RequestInfo) -> OutcomeUnknownError:
    """
    Return *error* without its task id: that task is known to be another's.
    """
    return unknown_error(
        f"{info.method} {info.path} was sent, and all that came back is about task "
        f"{error.task_id}, which is not this order's",
        info,
        status=error.status,
        code=error.code,
    )


def is_refusal(error: ApiModelsError) -> bool:
    """Return whether *error* proves that a paid request was not taken."""
    if not isinstance(error, APIStatusError):
        return False
    if error.task_id is not None:  # a no that names what it is said not to have made
        return False
    return status_of(error) in REFUSALS


def status_of(error: ApiModelsError) -> int | None:
    """Return what the API said: its HTTP status, or the code in the body of a 2xx."""
    said_in_body = 200 <= (error.status or 0) < 300  # noqa: PLR2004
    return error.code if said_in_body else error.status


def unknown_error(
    what: str,
    info: RequestInfo,
    *,
    status: int | None = None,
    code: int | None = None,
    task_id: str | None = None,
) -> OutcomeUnknownError:
    """Return the error for a paid request of unknown fate; never suggests a repeat."""
    advice = (
        f"The task may exist: attach({task_id!r}) finds out."
        if task_id
        else "It may have been charged: compare balance() before ordering it anew."
    )
    return OutcomeUnknownError(
        f"{what}. {advice}", status=status, code=code, task_id=task_id, request=info
    )


def pause_before_retry(
    kind: Kind,
    trouble: Failure | ApiModelsError,
    attempt: int,
    policy: RetryPolicy,
    draw: float,
    *,
    patient: bool = False,
) -> float | None:
    """
    Return the seconds to wait before the next try, or None to give up.

    Args:
        attempt: Tries made so far that ended alike, 1 after the first.

        draw: Uniform in 0-1; the jitter.

        patient: A 429 is waited out, however often and however long.
    """
    outlasted = patient and isinstance(trouble, RateLimitError)
    if attempt >= policy.attempts and not outlasted:
        return None
    if not _may_repeat(kind, trouble):
        return None
    if isinstance(trouble, APIStatusError) and trouble.retry_after is not None:
        # More than the cap is an immediate error. A little jitter spreads the herd
        # that was told the same second.
        wait = trouble.retry_after
        if wait > RETRY_AFTER_MAX_S and not patient:
            return None
        return wait + draw * policy.base
    return draw * backoff_ceiling(attempt, policy)


def backoff_ceiling(attempt: int, policy: RetryPolicy) -> float:
    """Return the longest pause after try *attempt*, in seconds."""
    doublings = min(attempt - 1, 30)  # 2**1000 would overflow a float
    return min(policy.cap, policy.base * 2.0**doublings)


def _may_repeat(kind: Kind, trouble: Failure | ApiModelsError) -> bool:
    if isinstance(trouble, Failure):
        if not trouble.retryable or trouble.phase is Phase.TLS:
            return False
        return kind is Kind.FREE or not trouble.sent
    if isinstance(trouble, RateLimitError):
        return not (kind.paid and trouble.task_id)
    if kind is not Kind.FREE or not isinstance(trouble, APIStatusError):
        return False
    effective = status_of(trouble)
    return effective in PASSING or 520 <= (effective or 0) < 530  # noqa: PLR2004
