"""
Replies to an agent: results as links and facts, errors with what to do next.

Rules of this file:
1. Whatever the API said is cut and cleaned: an agent pays for each word it reads, and
   takes it for more than text.
2. What was paid for and does not fit is named by what finds it.
"""

import base64
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlsplit

import anyio
from mcp.types import (
    CallToolResult,
    ContentBlock,
    ImageContent,
    ResourceLink,
    TextContent,
)
from pydantic import BaseModel, Field

from apimodels_async import (
    ApiModelsError,
    AuthenticationError,
    BadRequestError,
    BudgetExceededError,
    ConfigurationError,
    DownloadError,
    GenerationFailedError,
    ImageResult,
    InsufficientCreditsError,
    InvalidRequestError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    Session,
    SessionClosedError,
    TaskHandle,
    TaskNotFoundError,
    TaskTimeoutError,
    TransportError,
)
from apimodels_async._core.files.media import type_of
from apimodels_async._text import printable
from apimodels_async.cli.errors import charge

INLINE_BYTES: Final = 1_000_000
"""A picture larger than that is linked only; as base64 it is a third larger still."""

URLS_MAX: Final = 20
"""Links in one reply; a picture in layers has up to 17."""
URL_CHARS_MAX: Final = 2000
MODELS_MAX: Final = 200
ID_CHARS: Final = 128
WORD_CHARS: Final = 64

_LATER: Final = "The task goes on and may be charged: call wait with its task_id."
# The first that fits counts: subclasses stand before their bases.
_STEPS: Final[tuple[tuple[type[ApiModelsError], str], ...]] = (
    (ConfigurationError, "The user must fix the set-up of this server."),
    (InvalidRequestError, "Correct the arguments and call again."),
    (AuthenticationError, "The user must check the API key of this server."),
    (PermissionDeniedError, "The user must check what this API key may do."),
    (InsufficientCreditsError, "The user must top up the account."),
    (RateLimitError, "Wait a minute, then call again."),
    (BadRequestError, "Change the prompt or the parameters, then call again."),
    (ServerError, "Call again later."),
    (GenerationFailedError, "Change the prompt, or call again."),
    (TaskTimeoutError, _LATER),
    (SessionClosedError, _LATER),
    (TaskNotFoundError, "Check the task_id; it must belong to this account."),
    (DownloadError, "The picture is paid for: use its link."),
    (TransportError, "Call again later; the network or the API is down."),
    (BudgetExceededError, "Tell the user; --max-cost of this server sets the budget."),
    (ApiModelsError, "Tell the user before calling again."),
)

Money = Annotated[str, Field(description="US dollars")]


class Picture(BaseModel):
    """A generation, finished or not."""

    state: str = Field(description="pending, processing, completed, or the API's word")
    task_id: str | None = Field(
        default=None, description="For status and wait; null where there is no task"
    )
    urls: list[str] = Field(
        default_factory=list, description="Of the pictures, once completed"
    )
    model: str | None = None
    cost: Money | None = Field(default=None, description="US dollars charged")
    expires_at: datetime | None = Field(
        default=None, description="UTC; the links are good until then"
    )
    next: str | None = Field(default=None, description="What to do now, if anything")


class Listed(BaseModel):
    """One model."""

    id: str
    modality: str | None
    prices: dict[str, Money] = Field(
        description="Per picture, by size or quality; hints: the API decides"
    )
    takes_images: bool | None = Field(description="For edit; null: not known")


class Models(BaseModel):
    """What can be ordered."""

    models: list[Listed]
    left_out: int = Field(description="How many more the API lists")


class Account(BaseModel):
    """The account, and what this server may still spend of it."""

    balance: Money = Field(description="What the account can spend, US dollars")
    budget: Money = Field(description="What this server may spend in all")
    spent: Money = Field(description="By this server, on finished pictures")
    reserved: Money = Field(description="On orders under way or of unknown outcome")
    left: Money = Field(description="What this server may still order")
    tasks: list[str] = Field(
        description="Orders that have not ended, and those of cancelled calls; see wait"
    )
    pictures: list[str] = Field(
        description="Links of finished orders of cancelled calls; they are paid for"
    )
    unknown: int = Field(
        description="Orders of cancelled calls that may be charged, without a task_id"
    )


def error_text(error: ApiModelsError, *, orders: bool = True) -> str:
    """
    Return what happened, whether it was charged, and what to do next.

    Args:
        orders: Whether the tool orders.
    """
    if isinstance(error, OutcomeUnknownError):
        step = (
            "DO NOT REPEAT THIS CALL: the order may have been taken and charged. "
            + (
                f"Call wait with task_id {error.task_id}."
                if error.task_id
                else "Tell the user; balance shows what the account has left."
            )
        )
    elif isinstance(error, SessionClosedError) and error.charged is False:
        step = "Nothing was sent: this server ends."
    else:
        step = next(step for kind, step in _STEPS if isinstance(error, kind))
        if error.charged is None and step != _LATER:
            step += " DO NOT ORDER IT AGAIN: what was ordered may still be charged."
    said = printable(f"{type(error).__name__}: {error}")
    task = f" Task: {printable(error.task_id, ID_CHARS)}." if error.task_id else ""
    charged = charge(error, orders=orders)
    money = f" {charged[0].upper()}{charged[1:]}." if charged else ""
    return f"{_sentence(said)}{task}{money} Next: {step}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?")) else f"{text}."


def pending_reply(handle: TaskHandle, seconds: float | None = None) -> CallToolResult:
    """
    Return what is known of a task that has not ended.

    Args:
        seconds: How long it has been waited for, if it has.
    """
    task_id, state = handle.task_id, printable(handle.state.value, WORD_CHARS)
    waited = "" if seconds is None else f" after {seconds:g} s"
    step = f"Call wait with task_id {task_id}; that is free. Do not order it again."
    picture = Picture(state=state, task_id=task_id, next=step)
    text = f"Task {task_id} is {state}{waited}. {step}"
    return _reply(picture, [TextContent(text=text)])


async def finished_reply(
    result: ImageResult, session: Session, *, inline: bool, most: int = INLINE_BYTES
) -> CallToolResult:
    """
    Return a result: facts, a link for each picture, and the first one itself.

    Args:
        inline: Whether the first picture comes along.

        most: Bytes it may have for that.
    """
    links = links_of(result)
    picture = Picture(
        state="completed",
        task_id=result.task_id and printable(result.task_id, ID_CHARS),
        urls=links,
        model=result.model and printable(result.model, ID_CHARS),
        cost=None if result.credits is None else str(result.credits),
        expires_at=result.expires_at,
    )
    count = len(result.urls)
    text = f"Done: {count} picture{'s' if count > 1 else ''}."
    if result.expires_at is not None:
        text += f" The links are good until {result.expires_at:%Y-%m-%d %H:%M} UTC."
    left_out = len(set(filter(_is_web, result.urls))) - len(links)
    if left_out:
        text += (
            f" {left_out} more are not listed here; the user gets them all with: "
            f"apimodels wait {picture.task_id or 'TASK_ID'}"
        )
    elif not links:
        text += (
            " It came as data, without a link: a server started with --inline shows it."
        )
    content: list[ContentBlock] = [_link(url, at) for at, url in enumerate(links, 1)]
    if inline:
        try:
            content.append(await _inline(result, session, most))
        except DownloadError as error:
            text += f" Not shown here: {_sentence(printable(str(error)))}"
    return _reply(picture, [TextContent(text=text), *content])


async def _inline(result: ImageResult, session: Session, most: int) -> ImageContent:
    async with anyio.TemporaryDirectory() as folder:
        file = anyio.Path(await session.download(result, f"{folder}/picture"))
        size = (await file.stat()).st_size
        if size > most:
            msg = f"it has {size} bytes, more than {most}: use the link"
            raise DownloadError(msg)
        data = await file.read_bytes()
    return ImageContent(
        data=base64.b64encode(data).decode(), mime_type=_type_of(file.name)
    )


def links_of(result: ImageResult) -> list[str]:
    """Return the links of *result*, each once, at most 20, none of them huge."""
    links = dict.fromkeys(filter(_is_web, result.urls))
    return [url for url in links if len(url) <= URL_CHARS_MAX][:URLS_MAX]


def _link(url: str, number: int) -> ResourceLink:
    name = f"picture-{number}"
    return ResourceLink(uri=url, name=name, mime_type=_type_of(urlsplit(url).path))


def _is_web(url: str) -> bool:
    return url.startswith(("https://", "http://")) and url.isprintable()


def _type_of(name: str) -> str:
    return type_of(name) or "image/png"


def _reply(picture: Picture, content: list[ContentBlock]) -> CallToolResult:
    return CallToolResult(
        content=content, structured_content=picture.model_dump(mode="json")
    )
