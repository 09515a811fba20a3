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
    OutcomeUnknownError: "I sent the order and got no answer that I can read, so I did "
    "not send it again.",
    InsufficientCreditsError: "The bot has run out of credit. Its owner has to top it "
    "up.",
    AuthenticationError: "The bot's access to the image service is not accepted.",
    PermissionDeniedError: "The bot's access to the image service is not accepted.",
    RateLimitError: "The image service is busy. Try again in a few minutes.",
    TaskTimeoutError: "The picture is taking very long. I stopped waiting for it.",
    TransportError: "The image service cannot be reached.",
}
REFUSED = "The image service gave no picture."
MONEY = {
    False: "Nothing was charged.",
    None: "It may have been made and paid for.",
    True: "It was paid for.",
}
"""By what the error says of it, whatever its kind."""


def explain(error: ApiModelsError) -> str:
    """Return what a user needs to know of *error*: two or three sentences."""
    return f"{_happened(error)} {MONEY[error.charged]}"


def _happened(error: ApiModelsError) -> str:
    if isinstance(error, GenerationFailedError):
        reason = error.fail_message[:TEXT_MAX] or "no reason given"
        return f"The picture could not be made: {reason}."
    if isinstance(error, InvalidRequestError):
        return f"That cannot be ordered: {str(error)[:TEXT_MAX]}."
    words = (text for kind, text in WORDS.items() if isinstance(error, kind))
    return next(words, REFUSED)
