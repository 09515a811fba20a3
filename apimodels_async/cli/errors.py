"""What an error means to whoever typed the command: exit code, money, next step."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from apimodels_async import (
    ApiModelsError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    DownloadError,
    GenerationFailedError,
    InsufficientCreditsError,
    InvalidRequestError,
    JournalError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ResultExpiredError,
    ServerError,
    SessionClosedError,
    TaskNotFoundError,
    TaskTimeoutError,
    TransportError,
)
from apimodels_async.errors import CHARGED


class ExitCode(IntEnum):
    """Exit codes of every command; interrupted ones end with 128 + the signal."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO_CREDIT_OR_KEY = 3
    UNKNOWN = 4


_CODES: Final = {
    ExitCode.USAGE: (ConfigurationError, InvalidRequestError),
    ExitCode.NO_CREDIT_OR_KEY: (
        *(AuthenticationError, PermissionDeniedError, InsufficientCreditsError),
    ),
    ExitCode.UNKNOWN: (OutcomeUnknownError, TaskTimeoutError, SessionClosedError),
}
"""The rest has failed."""
BROKER_VARIABLE: Final = "APIMODELS_BROKER"
_WAIT: Final = "it may still finish: apimodels wait {task_id}"
# The first that fits counts: subclasses stand before their bases.
_STEPS: Final[tuple[tuple[type[ApiModelsError], str], ...]] = (
    (ConfigurationError, ""),  # they say themselves what to do
    (InvalidRequestError, ""),
    (
        AuthenticationError,
        "see which key is used: apimodels whoami; APIMODELS_API_KEY goes first",
    ),
    (PermissionDeniedError, "check what this key may do in the vendor's console"),
    (InsufficientCreditsError, "top up the account; see: apimodels balance"),
    (RateLimitError, "wait a little and run it again"),
    (BadRequestError, "change the prompt, the model or the parameters"),
    (NotFoundError, "check APIMODELS_BASE_URL or --base-url"),
    (ServerError, "run it again later"),
    (GenerationFailedError, "change the prompt, or try again"),
    (TaskTimeoutError, _WAIT),
    (SessionClosedError, _WAIT),
    (TaskNotFoundError, "check the task id, and the API key it was made with"),
    (ResultExpiredError, "generate it again"),
    (DownloadError, "the picture is paid for: fetch its URL within 7 days"),
    (
        TransportError,
        "check the network, --proxy or HTTPS_PROXY, and --base-url; run it again",
    ),
    (
        BudgetExceededError,
        "what is left does not cover one more: run it again with a higher --max-cost",
    ),
    (JournalError, "make it usable, or start with another --store or --out"),
    (ApiModelsError, "look at: apimodels balance, before running it again"),
)


def exit_code(error: ApiModelsError, *, ordered: bool = False) -> ExitCode:
    """
    Return the exit code that *error* ends a command with.

    Args:
        ordered: The command orders; what may be charged is of unknown outcome then,
            whatever ended the wait for it.
    """
    if ordered and error.charged is None:
        return ExitCode.UNKNOWN
    if isinstance(error, SessionClosedError) and error.charged is False:
        return ExitCode.FAILED
    found = (code for code, kinds in _CODES.items() if isinstance(error, kinds))
    return next(found, ExitCode.FAILED)


def signal_exit_code(number: int) -> int:
    """Return the exit code of a command ended by signal *number*."""
    return 128 + number


def charge(error: ApiModelsError, *, orders: bool) -> str:
    """
    Return whether *error* cost anything; "" where it is clear that nothing could.

    Args:
        orders: Whether what failed orders something. What only asks is free; what it
            asked about may not be.
    """
    if error.charged is None and not orders:
        return f"asking is free, but what was ordered {CHARGED[None]}"
    if error.charged is False:
        silent = exit_code(error) is ExitCode.USAGE
        if silent or not (orders or isinstance(error, GenerationFailedError)):
            return ""
    return CHARGED[error.charged]


def next_step(error: ApiModelsError) -> str:
    """Return what to do about *error*, in one clause, or ""."""
    if isinstance(error, OutcomeUnknownError):
        # Without an id there is nothing to attach; with one, asking is free.
        return _WAIT.format(task_id=error.task_id) if error.task_id else _STEPS[-1][1]
    if isinstance(error, SessionClosedError) and error.charged is False:
        return "nothing was sent: run it again"
    if isinstance(error, TransportError) and error.message.startswith("the broker"):
        return f"start its server, or name another: --broker, {BROKER_VARIABLE}"
    step = next(step for kind, step in _STEPS if isinstance(error, kind))
    if isinstance(error, APIStatusError) and error.charged is None and error.task_id:
        step += f"; {_WAIT}"  # a verdict on the key, not on the task
    if isinstance(error, TaskNotFoundError) and error.idempotency_key is not None:
        step += "; to order anew under its idempotency key: apimodels forget"
    return step.format(task_id=error.task_id or "TASK_ID")
