"""
Every sample of the API's answers, through the client's decoder.

The samples are checked against the emulator in ``tests/emulator/api/test_wire.py``; the
two sides share no code, so a field misspelt on one of them shows here or there.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from apimodels_async._api.convert import WireFile
from apimodels_async._api.responses import (
    read_balance,
    read_created,
    read_file,
    read_models,
    read_task,
)
from apimodels_async._ports import Reply
from apimodels_async.errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    GenerationFailedError,
    InsufficientCreditsError,
    NotFoundError,
    RateLimitError,
    ServerError,
)
from apimodels_async.model_info import ModelInfo
from apimodels_async.models import (
    Balance,
    ImageResult,
    TaskSnapshot,
    TaskState,
)

SAMPLES = Path(__file__).parent.parent / "samples"
NAMES = sorted(path.relative_to(SAMPLES).as_posix() for path in SAMPLES.rglob("*.json"))

TASK_ID = "clm4kq2x70001l508h1v3c9ab"
SHORT = "clxxx..."  # as the page has it; a server may use such an id
URL = "https://r2.apimodels.app/images/xxx.jpeg"
LAYER = "https://r2.apimodels.app/images/layer1.png"
UPLOADED = "https://r2.apimodels.app/uploads/u1/cat.png"
PUT = "https://storage.example.com/uploads/u1/cat.png?signature=xxx"
DATE = "Sat, 13 Jan 2024 05:24:25 GMT"
TIMES = {
    "created_at": datetime(2024, 1, 13, 5, 24, 10, tzinfo=UTC),
    "completed_at": datetime(2024, 1, 13, 5, 24, 25, tzinfo=UTC),
    "expires_at": datetime(2024, 1, 20, 5, 24, 25, tzinfo=UTC),
}
DATED = {name: TIMES[name] for name in ("completed_at", "expires_at")}
B64 = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
    "AABJRU5ErkJggg=="
)


def load(name):
    """Return the reply that a sample stands for, and the body as a value."""
    path = SAMPLES / name
    text = path.read_text("utf-8")
    status = int(path.suffixes[-2][1:])
    headers = {"date": DATE, "content-type": "application/json"}
    return Reply(status, headers, text.encode()), json.loads(text)


def created(reply):
    """Read the answer to a paid request."""
    return read_created(reply, "asked-for")


def polled(reply):
    """Read the answer to a poll for the task the sample is about."""
    data = json.loads(reply.body)["data"]
    return read_task(reply, data["taskId"] if data else SHORT, "asked-for")


# endpoint -> how the client reads it; callbacks name what a poll would answer
READERS = {
    "create": created,
    "sync": created,
    "edit": created,
    "edits": created,
    "poll": polled,
    "callback": polled,
    "balance": read_balance,
    "models": read_models,
    "files": read_file,
}


def result(*urls, raw, **more):
    """Return the result a sample should give."""
    return ImageResult(urls=urls, model="asked-for", raw=raw, **more)


def done(task_id, *urls, raw, **more):
    """Return a completed task, dated like the page's own example."""
    made = result(*urls, raw=raw, **{"task_id": task_id, "duration_s": 15.0, **more})
    return TaskSnapshot(task_id, TaskState.COMPLETED, made)


# name of a sample -> what its body (or its data) becomes
VALUES = {
    "balance/ok.200.json": lambda _: Balance(
        balance=Decimal("99.965"), total=Decimal("100.0"), frozen=Decimal("0.035")
    ),
    "create/pending.200.json": lambda _: TaskSnapshot(SHORT, TaskState.PENDING),
    "create/pending_kling.200.json": lambda _: TaskSnapshot(TASK_ID, TaskState.PENDING),
    "create/completed.200.json": lambda body: done(
        TASK_ID, URL, raw=body["data"], credits=Decimal("0.01"), **TIMES
    ),
    "create/openai_url.200.json": lambda body: result(
        URL,
        raw=body,
        completed_at=datetime(2024, 1, 13, 5, 24, 10, tzinfo=UTC),
        expires_at=datetime(2024, 1, 20, 5, 24, 10, tzinfo=UTC),
    ),
    "create/openai_b64.200.json": lambda body: result(
        f"data:image/png;base64,{B64}",
        raw=body,
        completed_at=datetime(2024, 1, 13, 5, 24, 10, tzinfo=UTC),
        expires_at=datetime(2024, 1, 20, 5, 24, 10, tzinfo=UTC),
    ),
    "edits/openai_url.200.json": lambda body: result(
        URL,
        raw=body,
        completed_at=datetime(2024, 1, 13, 5, 24, 10, tzinfo=UTC),
        expires_at=datetime(2024, 1, 20, 5, 24, 10, tzinfo=UTC),
    ),
    "edit/ok.200.json": lambda body: result(
        URL, raw=body["data"], credits=Decimal("0.013"), duration_s=0.91, **DATED
    ),
    "sync/ok.200.json": lambda body: result(
        URL, raw=body["data"], credits=Decimal("0.01"), duration_s=0.84, **DATED
    ),
    "files/multipart.200.json": lambda _: WireFile(UPLOADED),
    "files/presigned.200.json": lambda _: WireFile(UPLOADED, PUT),
    "models/ok.200.json": lambda body: (
        ModelInfo(
            id="sparkpix-image",
            modality="image",
            endpoint="/api/v1/images/generations-sync",
            raw=body["data"][0],
        ),
        ModelInfo(
            id="gpt-image-2",
            modality="image",
            endpoint="/api/v1/images/generations",
            raw=body["data"][1],
        ),
    ),
    "poll/pending.200.json": lambda _: TaskSnapshot(SHORT, TaskState.PENDING),
    "poll/processing.200.json": lambda _: TaskSnapshot(SHORT, TaskState.PROCESSING),
    "poll/unknown_state.200.json": lambda _: TaskSnapshot(
        SHORT, TaskState("moderating")
    ),
    "poll/completed.200.json": lambda body: done(SHORT, URL, raw=body["data"], **TIMES),
    "poll/completed_full.200.json": lambda body: done(
        TASK_ID, URL, raw=body["data"], credits=Decimal("0.025"), **TIMES
    ),
    "poll/completed_layers.200.json": lambda body: done(
        TASK_ID,
        URL,
        LAYER,
        raw=body["data"],
        credits=Decimal("0.03"),
        duration_s=65.0,
        created_at=TIMES["created_at"],
        completed_at=datetime(2024, 1, 13, 5, 25, 15, tzinfo=UTC),
        expires_at=datetime(2024, 1, 20, 5, 25, 15, tzinfo=UTC),
    ),
}

# name of a sample -> how its task failed: id, message, code
FAILURES = {
    "poll/failed.200.json": (SHORT, "Content policy violation", None),
    "poll/failed_full.200.json": (
        TASK_ID,
        "Content policy violation",
        "CONTENT_MODERATION",
    ),
    "callback/failed.200.json": (
        TASK_ID,
        "Content policy violation",
        "CONTENT_MODERATION",
    ),
}

# name of a sample -> error, code and the API's words
REFUSALS: dict[str, tuple[type[APIStatusError], int, str]] = {
    "create/insufficient_credits.402.json": (
        InsufficientCreditsError,
        402,
        "Insufficient credits",
    ),
    "create/envelope_402.200.json": (
        InsufficientCreditsError,
        402,
        "Insufficient credits",
    ),
    "create/missing_prompt.400.json": (BadRequestError, 400, "prompt is required"),
    "create/unknown_model.400.json": (
        BadRequestError,
        400,
        (
            "Unknown model: no-such-model. Supported models: gpt-image-2, "
            "gpt-image-2-lite, grok-4.2-image"
        ),
    ),
    "create/rate_limited.429.json": (RateLimitError, 429, "Too many requests"),
    "create/server_error.500.json": (ServerError, 500, "Internal server error"),
    "create/unauthorized.401.json": (AuthenticationError, 401, "Invalid API key"),
    "edit/private_address.400.json": (
        BadRequestError,
        400,
        "private/reserved IP addresses not allowed",
    ),
    "files/too_large.413.json": (
        BadRequestError,
        413,
        "file is larger than 4194304 bytes: use a presigned upload",
    ),
    "poll/not_found.404.json": (NotFoundError, 404, "Task not found"),
    "poll/task_id_required.400.json": (BadRequestError, 400, "task_id is required"),
    "poll/unauthorized.401.json": (AuthenticationError, 401, "Invalid API key"),
    "sync/bad_width.400.json": (
        BadRequestError,
        400,
        "width must be an integer between 256 and 1440 and a multiple of 16, got 100",
    ),
    "sync/envelope_402.200.json": (
        InsufficientCreditsError,
        402,
        "Insufficient credits",
    ),
    "sync/refused.400.json": (BadRequestError, 400, "Content policy violation"),
}

# A callback carries its URLs inside a string: it is a hint to poll, never an outcome.
HINTS = {"callback/completed.200.json": (TASK_ID, "completed", [URL])}


def test_every_sample_has_one_row():
    """Each sample file is in one table, and each row has its file."""
    rows = [*VALUES, *FAILURES, *REFUSALS, *HINTS]
    assert sorted(rows) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_read_as_expected(name):
    """Each sample gives the value, the failure or the refusal of its row."""
    reply, body = load(name)
    read = READERS[name.partition("/")[0]]

    if name in VALUES:
        assert VALUES[name](body) == read(reply)
    elif name in FAILURES:
        error = read(reply).error
        assert GenerationFailedError is type(error)
        assert FAILURES[name] == (error.task_id, error.fail_message, error.fail_code)
        assert False is error.charged
    elif name in REFUSALS:
        kind, code, words = REFUSALS[name]
        with pytest.raises(APIStatusError) as caught:
            read(reply)
        assert kind is type(caught.value)
        assert (reply.status, code) == (caught.value.status, caught.value.code)
        assert str(caught.value).endswith(f": {words}")
    else:
        data = body["data"]
        inner = json.loads(data["resultJson"])
        found = data["taskId"], data["state"], inner["resultUrls"]
        assert HINTS[name] == found
