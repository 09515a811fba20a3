"""
What passes between those who order and the workers: a job, and the answer to it.

Both are JSON, and neither holds a key: whoever may write to the broker may order, and
no more than that.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from attrs import evolve, field, frozen

from apimodels_async import errors
from apimodels_async._core.money.pictures import take_out
from apimodels_async._core.money.records import dump_result, load_result
from apimodels_async._core.money.resume import OrderState, state_after
from apimodels_async._text import Value, printable
from apimodels_async.errors import (
    ApiModelsError,
    DownloadError,
    UnexpectedResponseError,
)
from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from decimal import Decimal

    from apimodels_async._ports import Request

SaveTo: TypeAlias = str | Literal[False] | None
"""Address in object storage; False: nowhere; None: where the worker was told to."""
TASK: Final = "order"
"""What workers know it by."""
QUEUE: Final = "apimodels"
KEPT_S: Final = 3600
"""For which the broker keeps an answer; then the same job again brings it, free."""
KNOWN: Final = 4
"""Arguments of the task behind request and key that this release knows."""
FACTS: Final = ("task_id", "status", "code")
MORE: Final = (
    *("idempotency_key", "retry_after", "fail_message", "fail_code", "parameter"),
)
"""What some errors carry besides."""
NO_ANSWER: Final = "the answer of a worker cannot be read: is it of another release?"
DAMAGE: Final = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
"""What reading JSON of another shape ends with."""


def job_id(idempotency_key: str) -> str:
    """Return the id of the one job that there is for an idempotency key."""
    return hashlib.sha256(idempotency_key.encode()).hexdigest()[:32]


def dump_request(encoded: Request, model: str) -> dict[str, Any]:
    """
    Return a checked request as a mapping that a worker reads as the same one.

    It has been checked: what has no place of its own travels as it is.
    """
    body: dict[str, Any] = json.loads(encoded.body or b"{}")
    body.pop("model", None)
    named = {"prompt": body.pop("prompt")} if "prompt" in body else {}
    return {"model": model, **named, "extra": body}


@frozen(eq=False)
class Job:
    """One order, as it is put."""

    key: str
    request: dict[str, Any]
    save_to: SaveTo = None
    number: int | None = None
    anew: bool = True
    """Whether it may be ordered again if it was refused, or failed, before."""
    base_url: str | None = None
    """Address of the API that is meant: a worker of another one refuses it."""
    newer: tuple[object, ...] = ()
    """What a later release said besides."""

    @classmethod
    def read(cls, arguments: Sequence[Any]) -> Self:
        """Return the job that was put with *arguments*, by whichever release."""
        request, key, *more = arguments
        return evolve(cls(key, request, *more[:KNOWN]), newer=tuple(more[KNOWN:]))

    @property
    def arguments(self) -> tuple[object, ...]:
        """Those of the task."""
        known = (self.save_to, self.number, self.anew, self.base_url)
        return self.request, self.key, *known, *self.newer

    @property
    def size(self) -> int:
        """Bytes that it takes in the broker, about."""
        return len(json.dumps(self.arguments))

    @property
    def id(self) -> str:
        """The broker's id of it."""
        return job_id(self.key)


@frozen(eq=False, repr=False, kw_only=True)
class Answer(Value):
    """How a job ended."""

    idempotency_key: str
    """Name of the order."""
    state: OrderState
    """``completed``, ``accepted`` (its task lives on), ``failed``, ``refused`` or
    ``unknown``."""
    result: ImageResult | None = None
    """The picture, where it was made."""
    error: ApiModelsError | None = None
    """Besides a result: a picture of it could not be saved."""
    paths: tuple[str, ...] = ()
    """Where the worker saved its pictures; empty where it was to save none."""
    tries: int = 1
    """How often the job was given to a worker."""
    kept_in: str | None = field(default=None, repr=False)
    """The API sent the pictures themselves, and the store has them in this scope."""

    @property
    def task_id(self) -> str | None:
        """The API's id of its task, where there is one."""
        found = None if self.result is None else self.result.task_id
        return found or (None if self.error is None else self.error.task_id)

    @property
    def cost(self) -> Decimal | None:
        """US dollars, as the API stated it."""
        return None if self.result is None else self.result.credits

    def unwrap(self) -> ImageResult:
        """Return the result, or raise the error."""
        if self.result is not None:
            return self.result
        if self.error is not None:
            raise self.error.fresh()
        msg = "an answer has a result or an error"
        raise ValueError(msg)

    @classmethod
    def of(
        cls,
        idempotency_key: str,
        outcome: ImageResult | ApiModelsError,
        *,
        trouble: DownloadError | None = None,
        paths: Iterable[object] = (),
        tries: int = 1,
        kept_in: str | None = None,
    ) -> Answer:
        """
        Return the answer for how an order ended.

        Args:
            trouble: Why a picture could not be saved.
        """
        result = outcome if isinstance(outcome, ImageResult) else None
        error = trouble if isinstance(outcome, ImageResult) else outcome
        state = OrderState.COMPLETED
        if isinstance(outcome, ApiModelsError):
            state = state_after(outcome, None)
        return cls(
            idempotency_key=idempotency_key,
            state=state,
            result=result,
            error=error,
            paths=tuple(str(path) for path in paths),
            tries=tries,
            kept_in=kept_in,
        )


def dump_answer(answer: Answer) -> dict[str, Any]:
    """
    Return *answer* as JSON has it.

    Pictures that the API sent inline are too much for a broker: they are named by their
    digests there. The worker has saved them, or its store has them.
    """
    result, pictures = None, None
    if answer.result is not None:
        text = dump_result(answer.result)
        if answer.kept_in is not None or answer.paths:
            text, pictures = take_out(text)
        result = json.loads(text)
    return {
        "idempotency_key": answer.idempotency_key,
        "state": answer.state.value,
        "task_id": answer.task_id,
        "cost": None if answer.cost is None else str(answer.cost),
        "paths": list(answer.paths),
        "result": result,
        "kept_in": answer.kept_in if pictures and not answer.paths else None,
        "error": None if answer.error is None else dump_error(answer.error),
        "tries": answer.tries,
    }


def load_answer(found: Mapping[str, Any]) -> Answer:
    """
    Return the answer that ``dump_answer`` wrote.

    Raises:
        UnexpectedResponseError: It cannot be read; the order may be paid for.
    """
    try:
        result, error = found["result"], found["error"]
        return Answer(
            idempotency_key=str(found["idempotency_key"]),
            state=OrderState(found["state"]),
            result=None if result is None else load_result(json.dumps(result)),
            error=None if error is None else load_error(error),
            paths=tuple(map(str, found["paths"])),
            tries=int(found["tries"]),
            kept_in=found["kept_in"],
        )
    except DAMAGE:
        pass
    raise unreadable(NO_ANSWER)


def unreadable(why: str) -> UnexpectedResponseError:
    """Return what to say of an order of which nobody here can read what became."""
    error = UnexpectedResponseError(why)
    error.charged = None
    return error


def dump_error(error: ApiModelsError) -> dict[str, Any]:
    """Return what is known of *error*, as JSON has it."""
    known = {name: getattr(error, name, None) for name in (*FACTS, *MORE)}
    return {
        "kind": type(error).__name__,
        "message": printable(error.message),
        "charged": error.charged,
        **{name: value for name, value in known.items() if value is not None},
    }


def load_error(found: Mapping[str, Any]) -> ApiModelsError:
    """Return the error that ``dump_error`` wrote; one of its kind, where known."""
    name = found["kind"]
    kind = getattr(errors, name) if name in errors.__all__ else ApiModelsError
    if not (isinstance(kind, type) and issubclass(kind, ApiModelsError)):
        kind = ApiModelsError
    error = kind(
        printable(str(found["message"])), **{fact: found.get(fact) for fact in FACTS}
    )
    error.charged = found["charged"]
    for fact in MORE:
        if fact in found and hasattr(error, fact):
            setattr(error, fact, found[fact])
    return error
