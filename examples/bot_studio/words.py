"""What a user may choose, and what they are told when it does not work."""

from __future__ import annotations

from apimodels_async import (
    ApiModelsError,
    AuthenticationError,
    GenerationFailedError,
    InsufficientCreditsError,
    InvalidRequestError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    TaskTimeoutError,
    TransportError,
)

# Models that answer with a task: a task can be found again after a restart.
MODELS = ("gpt-image-2", "gpt-image-2.5-flare", "flux-2-klein-4b", "qwen3-image")
RATIOS = ("1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3")
TEXT_MAX = 300


WORDS = {
    OutcomeUnknownError: "I sent the order and got no answer. It may have been made "
    "and paid for, so I did not send it again.",
    InsufficientCreditsError: "The bot has run out of credit. Its owner has to top it "
    "up. Nothing was charged.",
    AuthenticationError: "The bot's access to the image service is not accepted.",
    PermissionDeniedError: "The bot's access to the image service is not accepted.",
    RateLimitError: "The image service is busy. Try again in a few minutes.",
    TaskTimeoutError: "The picture is taking very long. I stopped waiting for it.",
    TransportError: "The image service cannot be reached. Nothing was ordered.",
}
REFUSED = "The image service refused the order. Nothing was charged."


def explain(error: ApiModelsError) -> str:
    """Return what a user needs to know of *error*: one or two sentences."""
    if isinstance(error, GenerationFailedError):
        reason = error.fail_message[:TEXT_MAX] or "no reason given"
        return f"The picture could not be made: {reason}. Nothing was charged."
    if isinstance(error, InvalidRequestError):
        return f"That cannot be ordered: {str(error)[:TEXT_MAX]}"
    words = (text for kind, text in WORDS.items() if isinstance(error, kind))
    return next(words, REFUSED)
