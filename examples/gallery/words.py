"""What went wrong, in plain words: where the card goes, what happened, what to do."""

from attrs import evolve, frozen

from apimodels_async import (
    ApiModelsError,
    AuthenticationError,
    BudgetExceededError,
    DownloadError,
    GenerationFailedError,
    InsufficientCreditsError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ResultExpiredError,
    TaskNotFoundError,
    TransportError,
)
from apimodels_async.stores import OrderRecord, OrderState
from gallery.cards import Stage

MODERATION = "CONTENT_MODERATION"


@frozen
class Trouble:
    """Where an error leaves a card, and what its reader is told."""

    stage: Stage
    title: str
    reason: str
    """The API's own, where it gave one."""
    advice: str


CUT_OFF = Trouble(
    Stage.UNKNOWN,
    "It may have been charged",
    "This program was stopped after the request left and before its answer came.",
    "It is not sent again by itself: that could pay twice. Look at your account; "
    "order the prompt anew if no picture was charged.",
)
NO_ANSWER = "The request left, and no answer that can be read came back."
BROKEN = Trouble(
    Stage.LOST,
    "A fault in this program",
    "Something here went wrong; the server's log says what.",
    "An accepted task goes on. Pick it up again.",
)
STOPPED = Trouble(
    Stage.STOPPED,
    "Nobody is waiting for it",
    "The task goes on at the API and will be charged when it completes.",
    "Pick it up again whenever you like, within 7 days.",
)
WITHDRAWN = Trouble(Stage.STOPPED, "Withdrawn", "Nothing was sent.", "")

MEANINGS: tuple[tuple[type[Exception], str, str], ...] = (
    (
        InsufficientCreditsError,
        "Not enough credit",
        "Nothing was charged. Add credit at the API, then order it again.",
    ),
    (
        BudgetExceededError,
        "The budget is used up",
        "Nothing was sent. GALLERY_BUDGET sets what may be spent here.",
    ),
    (
        AuthenticationError,
        "The API does not accept the key",
        "Whoever runs this gallery has to set APIMODELS_API_KEY right.",
    ),
    (
        PermissionDeniedError,
        "The key may not do this",
        "Choose another model, or ask whoever runs this gallery.",
    ),
    (
        RateLimitError,
        "Too many requests",
        "Not charged. Order it again in a minute.",
    ),
    (
        TaskNotFoundError,
        "The API does not know this task",
        "It may have been charged. Pick it up again, or look at your account.",
    ),
    (TransportError, "The API cannot be reached", ""),
    (TimeoutError, "It takes very long", ""),
)


def explain(error: ApiModelsError, *, accepted: bool) -> Trouble:
    """Return what *error* means for a card; *accepted*: its task id is known."""
    reason = error.message or type(error).__name__
    if isinstance(error, GenerationFailedError):
        return _failure(error)
    if isinstance(error, DownloadError):
        return _download(error, reason)
    if isinstance(error, OutcomeUnknownError):
        return evolve(CUT_OFF, reason=NO_ANSWER)
    title, advice = _meaning(error)
    if accepted:
        advice = advice or "The task goes on. Pick it up again."
        return Trouble(Stage.LOST, title, reason, advice)
    if error.charged is not False:
        return evolve(CUT_OFF, reason=reason)
    advice = advice or "Nothing was charged. You can order it again."
    return Trouble(Stage.REFUSED, title, reason, advice)


def remembered(record: OrderRecord) -> Trouble:
    """Return what an order that an earlier process saw end without a picture means."""
    reason = record.error or ""
    if record.state is OrderState.FAILED:
        advice = "Not charged. Often a second try works."
        return Trouble(Stage.FAILED, "The API could not draw it", reason, advice)
    if record.state is OrderState.REFUSED:
        advice = "Nothing was charged. You can order it again."
        return Trouble(Stage.REFUSED, "It was not ordered", reason, advice)
    return evolve(CUT_OFF, reason=NO_ANSWER)


def _failure(error: GenerationFailedError) -> Trouble:
    reason = error.fail_message or error.message
    if error.fail_code == MODERATION:
        advice = "Not charged. Say it in other words and order again."
        return Trouble(Stage.FAILED, "Refused by the content policy", reason, advice)
    advice = "Not charged. Often a second try works."
    return Trouble(Stage.FAILED, "The API could not draw it", reason, advice)


def _download(error: DownloadError, reason: str) -> Trouble:
    if isinstance(error, ResultExpiredError):
        advice = "The API keeps pictures for 7 days; this one has to be ordered anew."
        return Trouble(Stage.UNSAVED, "The picture is gone", reason, advice)
    advice = "It is paid for and kept for 7 days. Fetch it again."
    return Trouble(Stage.UNSAVED, "The file did not arrive", reason, advice)


def _meaning(error: ApiModelsError) -> tuple[str, str]:
    """Return title and advice; an empty advice leaves it to where the card is."""
    if isinstance(error, RateLimitError) and error.retry_after is not None:
        advice = f"Not charged. Order it again in {error.retry_after:.0f} seconds."
        return "Too many requests", advice
    for kind, title, advice in MEANINGS:
        if isinstance(error, kind):
            return title, advice
    return "The API said no", ""
