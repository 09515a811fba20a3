"""
Values: what people ask for and what they get. Frozen, without I/O.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from attrs import field, frozen

from apimodels_async._text import Value, brief
from apimodels_async.errors import ApiModelsError

if TYPE_CHECKING:
    from apimodels_async._api.literals import EditRatio, ImageRatio, KnownModelId
else:  # whoever reads annotations at run time, as cattrs does, finds plain text
    EditRatio = ImageRatio = KnownModelId = str

__all__ = [
    "Balance",
    "CheckedRequest",
    "ImageRequest",
    "ImageResult",
    "Reconciliation",
    "SessionStats",
    "SparkPixEdit",
    "SparkPixImage",
    "TaskEvent",
    "TaskState",
    "Verdict",
]

STATE_CHARS_MAX = 64  # the API's words have 7 to 10; longer is not a word


class TaskState(StrEnum):
    """
    The API's word for where a task is; equal to the plain string.

    A word the API adds later is kept as it came and counts as not finished, unless the
    answer has result URLs (then it is *completed*) or gives a reason for a failure
    (then the wait ends, and whether it is charged is not known).

    Source: API page, "Task States".
    """

    PENDING = "pending"
    """Queued, waiting to start."""
    PROCESSING = "processing"
    """A worker has it."""
    COMPLETED = "completed"
    """Done: image URLs are there."""
    FAILED = "failed"
    """Failed, and not charged."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not 0 < len(value) <= STATE_CHARS_MAX:
            return None
        unknown = str.__new__(cls, value)
        unknown._name_ = value
        unknown._value_ = value
        return unknown

    def __reduce_ex__(self, _: object) -> tuple[type[Self], tuple[str]]:
        # By value: Debian's 3.11 pickles enums by name, and unknown words have none.
        return type(self), (str.__str__(self),)

    @property
    def finished(self) -> bool:
        """Whether the task will not change any more."""
        return self in {TaskState.COMPLETED, TaskState.FAILED}


@frozen(eq=False, repr=False)
class TaskEvent(Value):
    """A task was seen in a new state."""

    state: TaskState
    """The new state."""
    task_id: str
    """The API's id of the task."""
    at: datetime
    """UTC time at which this session learnt of it."""


@frozen(eq=False, repr=False, kw_only=True)
class ImageResult(Value):
    """A finished generation. ``session.download(result, ...)`` stores its file."""

    urls: tuple[str, ...] = field(repr=brief)
    """
    At least one; https URLs, or a ``data:`` URL where the API sent the bytes.

    What cannot be used (a null, a blank in an address) is left out, and in *raw*.
    """
    task_id: str | None = None
    """None for the synchronous endpoints, which have no tasks."""
    model: str | None = None
    """As asked for; None on a task attached by a bare id, unless the API says it."""
    credits: Decimal | None = None
    """US dollars, as the API states its cost; None where it states none that can be."""
    duration_s: float | None = None
    """Seconds of service time, by the API's own clock, where it states them."""
    created_at: datetime | None = None
    """UTC; when the API took the order, by its own clock."""
    completed_at: datetime | None = None
    """UTC; when it was done, by the API's own clock."""
    expires_at: datetime | None = None
    """UTC; the file is kept for 7 days after completion. Source: API page."""
    raw: Mapping[str, Any] = field(factory=dict[str, Any], repr=False)
    """The API's own mapping, unchanged."""

    @property
    def url(self) -> str:
        """The first URL."""
        return self.urls[0]

    def _repr_mimebundle_(
        self,
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
    ) -> dict[str, str]:
        """
        Return how a notebook shows it; asks nobody: the browser loads the pictures.
        """
        from apimodels_async._notebook.html import bundle

        return bundle(repr(self), self._card(), include, exclude)

    def _card(self) -> str:
        from apimodels_async._notebook.html import result_card

        return result_card(self)


@frozen(eq=False, repr=False)
class TaskSnapshot(Value):
    """One answer about one task: its state and, if finished, how it ended."""

    task_id: str
    state: TaskState
    result: ImageResult | None = None
    error: ApiModelsError | None = None
    created_at: datetime | None = field(default=None, eq=False, repr=False)
    """Where it has ended: when the API took the order, by the API's clock."""
    answered_at: datetime | None = field(default=None, eq=False, repr=False)
    """The date of the answer, by the API's clock."""


@frozen(eq=False, repr=False, kw_only=True)
class SparkPixImage(Value):
    """
    A request for SparkPix Image: text to image, answered in about a second.

    Costs money when sent. Allowed values are checked before that.

    Source: API page, "SparkPix Image params".
    """

    prompt: str
    """What to draw."""
    aspect_ratio: ImageRatio | str | None = None
    """``custom`` (the API's default), 1:1, 16:9, 9:16, 4:3, 3:4, 3:2, 2:3."""
    width: int | None = None
    """Pixels, 256-1440, a multiple of 16; only with ``custom``."""
    height: int | None = None
    """As *width*."""
    prompt_upsampling: bool | None = None
    """Let the API rewrite the prompt with a language model."""
    seed: int | None = None
    """Same seed, same picture."""
    lora_weights: str | None = None
    """``huggingface.co/<owner>/<model>[/<file.safetensors>]``."""
    lora_scale: float | None = None
    """-1 to 3."""
    callback_url: str | None = None
    """Where the API tells that it is done."""
    extra: Mapping[str, Any] = field(factory=dict[str, Any], repr=brief)
    """Further parameters, sent as they are: the API may know more than this class."""


@frozen(eq=False, repr=False, kw_only=True)
class SparkPixEdit(Value):
    """
    A request for SparkPix Image Edit: edit or fuse images, answered in about a second.

    Costs money when sent. Source: API page, "SparkPix Image Edit params".
    """

    prompt: str
    """Refer to the inputs as "image 1", "image 2"."""
    images: Sequence[str] = field(repr=brief)
    """http(s) URLs; the first is the primary one."""
    aspect_ratio: EditRatio | str | None = None
    """``match_input_image`` (the API's default), 1:1, 16:9, ..., 2:3."""
    turbo: bool | None = None
    """The API's default is true; off is advised for hard tasks."""
    seed: int | None = None
    """Same seed, same picture."""
    callback_url: str | None = None
    """Where the API tells that it is done."""
    extra: Mapping[str, Any] = field(factory=dict[str, Any], repr=brief)
    """As for ``SparkPixImage``."""


@frozen(eq=False, repr=False)
class ImageRequest(Value):
    """
    A request for any other model.

    Costs money when sent. What is known of the model (``known_models``) is checked
    before that; unknown models and parameters pass through.
    """

    model: KnownModelId | str
    """Model id, as the API spells it."""
    prompt: str | None = None
    """None for the models that take none (upscalers)."""
    params: Mapping[str, Any] = field(factory=dict[str, Any], repr=brief)
    """JSON-ready, in the API's own names; ``callback_url`` among them."""
    extra: Mapping[str, Any] = field(factory=dict[str, Any], repr=brief)
    """As for ``SparkPixImage``; not checked, whatever is known of the model."""


AnyRequest: TypeAlias = SparkPixImage | SparkPixEdit | ImageRequest
"""Whatever can be ordered, as a value."""


@frozen(eq=False, repr=False, kw_only=True)
class CheckedRequest(Value):
    """
    A request that passed every check made before sending, and what it should cost.
    """

    request: AnyRequest
    """The request, ready to be ordered."""
    model: str
    """Its model id."""
    price: Decimal | None
    """US dollars by the published hint (``known_models``); None: there is none."""


SavedAt: TypeAlias = Path | Any
"""
Where a picture was saved: its path, or its address (a str) in object storage.

Not ``Path | str``: who gives a folder gets paths, and need not prove it to a type
checker each time.
"""


def _all_of(paths: Iterable[SavedAt]) -> tuple[SavedAt, ...]:
    return tuple(paths)  # itself, mypy cannot read as a converter


@frozen(eq=False, repr=False)
class Outcome(Value):
    """
    How one item of a batch ended: a result or an error.

    Both only where it was made, and a file of it could not be saved.
    """

    index: int
    """Position in the source, from 0; or the number ``start`` and ``step`` give it."""
    request: AnyRequest | None
    """None if the item could not be read as a request."""
    result: ImageResult | None = None
    """The picture, where it was made."""
    error: ApiModelsError | None = None
    """Why there is none, or why a file could not be saved."""
    paths: tuple[SavedAt, ...] = field(default=(), converter=_all_of)
    """
    Where its pictures were saved, with ``download_to``; in the result's order. In
    object storage addresses, as str: "s3://bucket/prefix/00041-a-red-fox.png".
    """

    @property
    def path(self) -> SavedAt | None:
        """Where its first picture was saved."""
        return self.paths[0] if self.paths else None

    def unwrap(self) -> ImageResult:
        """Return the result, also where its files could not be saved; else raise."""
        if self.result is not None:
            return self.result
        if self.error is not None:
            raise self.error
        msg = "an outcome has a result or an error"
        raise ValueError(msg)

    def _repr_html_(self) -> str:
        from apimodels_async._notebook.html import outcome_card

        return outcome_card(self)


@frozen(eq=False, repr=False, kw_only=True)
class Balance(Value):
    """The account, in US dollars. Source: vendor's account page."""

    balance: Decimal
    """US dollars that can be spent: total minus frozen."""
    total: Decimal | None = None
    """US dollars in the account, what is frozen included."""
    frozen: Decimal | None = None
    """US dollars set aside for orders under way."""
    currency: str = "USD"
    """As the API names it."""


class Verdict(StrEnum):
    """What could be found out about a paid request of unknown fate."""

    FOUND = "found"
    """The task exists: attach it. It is charged when it completes."""
    CHARGED = "charged"
    """Money left the account that no known result explains."""
    NOT_CHARGED = "not_charged"
    """No money has left the account so far."""
    UNKNOWN = "unknown"
    """What the API offers does not tell."""


@frozen(eq=False, repr=False)
class Reconciliation(Value):
    """The answer of ``session.reconcile``."""

    verdict: Verdict
    """What was found out."""
    reason: str
    """On what the verdict rests, for humans."""
    task_id: str | None = None
    """To ``attach``; with ``Verdict.FOUND``."""


@frozen(eq=False, repr=False, kw_only=True)
class SessionStats(Value):
    """What a session did so far."""

    pending: int = 0
    """Tasks being tracked."""
    under_way: int = 0
    """Paid requests without an answer yet."""
    submitted: int = 0
    """Paid requests the API accepted."""
    completed: int = 0
    """Tasks that ended as ``completed``."""
    failed: int = 0
    """Tasks that ended as ``failed``."""
    unknown: int = 0
    """Paid requests of unknown fate."""
    polls: int = 0
    """Status requests sent."""
    poll_errors: int = 0
    """Polls without a readable answer; their tasks stay pending."""
    lateness_s: float = 0.0
    """Mean seconds between the time a poll was due and its start."""
    lateness_max_s: float = 0.0
    """The longest of these: a busy program, a slow API or too few ``max_polls``."""
    callbacks: int = 0
    """Callbacks about orders of this session, repeated ones included."""
    connections: int | None = 0
    """Open now, idle ones included; None where the pool is lent."""
    spent: Decimal = Decimal(0)
    """US dollars: the sum of what the API stated on results."""
