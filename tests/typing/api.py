"""
What a user's type checker sees. Never run: mypy and basedpyright read it.

Lines that must not pass are marked for both; a mark that is no longer needed is an
error of mypy (``warn_unused_ignores``), and of basedpyright, as ``pyproject.toml`` has
it for this folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any, assert_type

from aiohttp import web
from fastapi import FastAPI
from obstore.store import MemoryStore

from apimodels_async import (
    ApiModelsError,
    APIStatusError,
    AspectRatio,
    Balance,
    CheckedRequest,
    GenerationFailedError,
    ImageRequest,
    ImageResult,
    Images,
    InvalidRequestError,
    KnownModel,
    KnownModelId,
    ModelInfo,
    OrderLimit,
    Outcome,
    OutcomeUnknownError,
    PictureGrid,
    PollPolicy,
    Quality,
    RateLimitError,
    Reconciliation,
    RequestInfo,
    Resolution,
    RetryPolicy,
    Session,
    SessionClosedError,
    SessionStats,
    SparkPixEdit,
    SparkPixImage,
    TaskEvent,
    TaskHandle,
    TaskState,
    Timeouts,
    Verdict,
    check_request,
    known_models,
    sync,
)
from apimodels_async.integrations.aiohttp_web import get_session, setup
from apimodels_async.integrations.fastapi import (
    SessionDep,
    exception_handlers,
    lifespan,
)
from apimodels_async.integrations.redis import RedisLimit, RedisRelay
from apimodels_async.integrations.streaq import Answer, OrderQueue, order_worker
from apimodels_async.integrations.web import answer_to
from apimodels_async.models import AnyRequest
from apimodels_async.testing import Order, Request, ServedEmulator, serve_emulator
from apimodels_async.webhooks import (
    Callback,
    Hint,
    MemoryRelay,
    Receiver,
    Relay,
    SocketRelay,
)


async def opening() -> None:
    """A session is opened as a context, with values for its settings."""
    async with Session() as session:
        assert_type(session, Session)
        assert_type(session.images, Images)
    session = Session(
        "sk_key",
        base_url="https://example.com",
        polling=PollPolicy(2.5, deadline=60),
        retry=RetryPolicy(attempts=1),
        timeouts=Timeouts(connect=1),
        max_connections=10,
        max_polls=5,
    )
    assert_type(await session.aclose(), None)
    Session(proxy="http://127.0.0.1:3128", ssl=None)
    Session(proxy=False)
    Session(proxy=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Session("sk_key", "https://example.com")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Session(api_key=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Session(polling=2.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Session(interval=2.5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    PollPolicy(interval="2.5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    PollPolicy.unchecked(0.1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(PollPolicy.unchecked(interval=0.1), PollPolicy)
    PollPolicy().interval = 3  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def generating(session: Session) -> None:
    """A picture is asked for by SparkPix's parameters, a model's, or a value."""
    images = session.images
    assert_type(await images.generate("a fox"), ImageResult)
    assert_type(
        await images.generate(
            "a fox",
            aspect_ratio="custom",
            width=512,
            height=512,
            prompt_upsampling=True,
            seed=1,
            lora_weights="huggingface.co/a/b",
            lora_scale=0.5,
            callback_url="https://example.com",
        ),
        ImageResult,
    )
    assert_type(
        await images.generate("a moose", model="gpt-image-2", resolution="2K", n=2),
        ImageResult,
    )
    assert_type(
        await images.generate(None, model="real-esrgan", image="https://a/b"),
        ImageResult,
    )
    assert_type(await images.generate(SparkPixImage(prompt="a fox")), ImageResult)
    assert_type(
        await images.generate(SparkPixEdit(prompt="x", images=["https://a/b"])),
        ImageResult,
    )
    assert_type(await images.generate(ImageRequest("m", "x")), ImageResult)
    assert_type(await images.generate("a fox", extra={"new": 1}), ImageResult)
    assert_type(
        await images.generate("a fox", idempotency_key="k", manual_ack=True),
        ImageResult,
    )
    assert_type(
        await images.generate("a fox", model="m", extra={"new": 1}, seed=1), ImageResult
    )
    ImageRequest("m", "x", extra={"new": 1})

    images.generate("a fox", "gpt-image-2")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await images.generate("a fox", width="512")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await images.generate("a fox", widht=512)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await images.generate(None)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await images.generate("a fox", extra=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await images.generate(5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    await images.generate(ImageRequest("m"), seed=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


async def choosing(
    session: Session, model: KnownModelId, quality: Quality, size: Resolution
) -> None:
    """Parameters that models share have types; words that are new are text."""
    images, ratio = session.images, "16:9"
    assert_type(
        await images.generate("x", model=model, quality=quality, resolution=size),
        ImageResult,
    )
    await images.generate("x", model="brand-new", quality="ultra", resolution="16K")
    await images.generate("x", model=model, image_urls=["https://a/b"], n=2, seed=1)
    await images.generate("x", model=model, never_heard_of="it", extra={"nor": "this"})
    await images.generate("x", aspect_ratio=ratio)
    listed: AspectRatio = "16:9"
    handle = await images.submit("x", model=model, aspect_ratio=listed, size="1K")
    assert_type(handle, TaskHandle)
    ImageRequest(model, "x", {"quality": quality})

    await images.generate("x", model=model, quality=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await images.generate("x", model=model, n="2")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await images.generate("x", model=model, image_urls=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await images.generate("x", model=5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await images.submit("x", model=model, seed="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    model = "gpt-image-1"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    listed = "16:10"  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    ImageRequest(5, "x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def batching(session: Session, model: KnownModelId) -> None:
    """A batch has the same parameters, and outcomes that narrow."""
    images = session.images
    async with images.batch(
        ["a fox", {"prompt": "x", "model": model}, ImageRequest(model, "x")],
        model=model,
        quality="high",
        seed=1,
        never_heard_of="it",
        max_cost=Decimal(5),
    ) as outcomes:
        async for outcome in outcomes:
            narrowing(outcome)
        assert_type(outcomes.unread, tuple[Outcome, ...])
    images.batch(["x"], seed="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    images.batch(["x"], model=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    images.batch(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with images.batch(["x"]):  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass


def narrowing(outcome: Outcome) -> None:
    """Without an error there is a result, and the other way round."""
    assert_type(outcome.index, int)
    assert_type(outcome.unwrap(), ImageResult)
    assert_type(outcome.request, AnyRequest | None)
    if outcome.error is None:
        assert_type(outcome.result.url, str)
        assert_type(outcome.request, AnyRequest)
    else:
        assert_type(outcome.error.charged, bool | None)
        assert_type(outcome.result, ImageResult | None)
        outcome.result.url  # type: ignore[union-attr]  # noqa: B018  # pyright: ignore[reportOptionalMemberAccess]
    if outcome.result is None:
        assert_type(outcome.error, ApiModelsError)
    if outcome.error is not None:
        raise outcome.error
    assert_type(outcome.result, ImageResult)


def narrowing_one(outcome: Outcome) -> None:
    """Before it is asked for, a result may be missing."""
    outcome.result.url  # type: ignore[union-attr]  # noqa: B018  # pyright: ignore[reportOptionalMemberAccess]
    outcome.error.charged  # type: ignore[union-attr]  # noqa: B018  # pyright: ignore[reportOptionalMemberAccess]
    outcome.index = 1  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert_type(isinstance(outcome, Outcome), bool)


async def editing(session: Session) -> None:
    """An edit takes images, or a value."""
    images = session.images
    urls = ("https://a/b",)
    assert_type(
        await images.edit("x", images=urls, turbo=False, seed=1, new=2), ImageResult
    )
    assert_type(await images.edit(SparkPixEdit(prompt="x", images=urls)), ImageResult)
    await images.edit("x", images=urls, extra={"new": 1})
    await images.edit("x")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await images.edit(SparkPixEdit(prompt="x", images=urls), turbo=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await images.edit("x", urls)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await images.edit("x", images=[5])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await images.edit(ImageRequest("m"))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


async def submitting(session: Session) -> None:
    """A handle is awaitable for a result and iterable for events, again and again."""
    handle = await session.images.submit("a moose", model="gpt-image-2", n=1)
    assert_type(handle, TaskHandle)
    assert_type(await session.images.submit(ImageRequest("m", "x")), TaskHandle)
    assert_type(await session.images.follow("k", manual_ack=True), TaskHandle)
    assert_type(await session.ack("k"), bool)
    assert_type(session.images.attach("clx1"), TaskHandle)
    assert_type(session.images.attach(handle.to_token()), TaskHandle)
    assert_type(handle.task_id, str)
    assert_type(handle.state, TaskState)
    assert_type(handle.done, bool)
    assert_type(await handle, ImageResult)
    assert_type(await handle.result(), ImageResult)
    assert_type(await handle.result(timeout=30), ImageResult)
    async for event in handle:
        assert_type(event, TaskEvent)
        assert_type(event.state, TaskState)
        assert_type(event.task_id, str)
        assert_type(event.at, datetime)
    await session.images.submit("x")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await session.images.submit(ImageRequest("m", "x"), seed=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await session.images.submit(SparkPixImage(prompt="x"))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await session.images.attach(handle)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await handle.result(timeout="30")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    handle.state = TaskState.COMPLETED  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    for _ in handle:  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass


async def the_rest(
    session: Session,
    result: ImageResult,
    outcome: Outcome,
    error: OutcomeUnknownError,
) -> None:
    """Files, account, catalogue and counters have types of their own."""
    assert_type(await session.download(result, "out/fox"), Path | Any)
    (await session.download(result, Path("out"))).read_bytes()
    assert_type(await session.download(result, MemoryStore()), Path | Any)
    (await session.download_all(result, "out", overwrite=True))[0].with_suffix(".json")
    assert_type(await session.upload(BytesIO(b""), max_bytes=1), str)
    assert_type(await session.upload(bytearray()), str)
    assert_type(await session.show(result), PictureGrid)
    assert_type(await session.show([result, outcome]), PictureGrid)
    await session.show("https://a/b")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(await session.upload("local.png"), str)
    assert_type(await session.upload(b"bytes", name="a.png"), str)
    assert_type(await session.balance(), Balance)
    assert_type((await session.balance()).balance, Decimal)
    assert_type(await session.models(), tuple[ModelInfo, ...])
    assert_type((await session.models())[0].known, KnownModel | None)
    assert_type(await session.reconcile(error), Reconciliation)
    assert_type((await session.reconcile(error)).verdict, Verdict)
    assert_type(session.stats(), SessionStats)
    assert_type(session.stats().spent, Decimal)
    assert_type(known_models(), dict[str, KnownModel])
    await session.download("https://a/b", "out")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await session.upload(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await session.stats()  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
    await session.reconcile(ApiModelsError())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def values(result: ImageResult) -> None:
    """A result is frozen, and says what may be missing."""
    assert_type(result.url, str)
    assert_type(result.urls, tuple[str, ...])
    assert_type(result.task_id, str | None)
    assert_type(result.model, str | None)
    assert_type(result.credits, Decimal | None)
    assert_type(result.duration_s, float | None)
    assert_type(result.created_at, datetime | None)
    assert_type(result.completed_at, datetime | None)
    assert_type(result.expires_at, datetime | None)
    assert_type(result.raw, Mapping[str, Any])
    assert_type(TaskState.COMPLETED.finished, bool)
    word: str = TaskState.COMPLETED
    assert_type(word.upper(), str)
    result.urls = ()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    SparkPixImage("a fox")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    SparkPixImage(prompt="a fox", size="1K")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    SparkPixEdit(prompt="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ImageRequest()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def failures(error: ApiModelsError) -> None:
    """Every error carries facts, and some carry more."""
    assert_type(error.task_id, str | None)
    assert_type(error.status, int | None)
    assert_type(error.code, int | None)
    assert_type(error.request, RequestInfo | None)
    assert_type(error.charged, bool | None)
    assert_type(error.message, str)
    assert_type(error.fresh(), ApiModelsError)
    if isinstance(error, APIStatusError):
        assert_type(error.retry_after, float | None)
    if isinstance(error, RateLimitError):
        assert_type(error.fresh(), RateLimitError)
    if isinstance(error, GenerationFailedError):
        assert_type(error.fail_message, str)
        assert_type(error.fail_code, str | None)
    if isinstance(error, InvalidRequestError):
        assert_type(error.parameter, str | None)
        caught: ValueError = error
        assert_type(caught.args, tuple[Any, ...])
    if isinstance(error, SessionClosedError):
        assert_type(error.task_ids, tuple[str, ...])
    error.retry_after  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
    ApiModelsError("x", task="clx1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    RateLimitError("x", parameter="n")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def checking() -> None:
    """An item of a batch is checked and priced without a session."""
    assert_type(check_request("a fox"), CheckedRequest)
    checked = check_request({"prompt": "a fox", "model": "gpt-image-2"})
    assert_type(checked.price, Decimal | None)
    assert_type(checked.model, str)
    check_request(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def testing_kit() -> None:
    """The kit for tests gives values and sessions with their own types."""
    with serve_emulator(speed=50, credits=1) as emulator:
        assert_type(emulator, ServedEmulator)
        assert_type(emulator.session(), Session)
        assert_type(emulator.sync_session(), sync.Session)
        assert_type(emulator.record.orders, list[Order])
        assert_type(emulator.record.requests, list[Request])
        assert_type(emulator.record.spent, Decimal)
        emulator.faults.slow("long")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        emulator.faults.fail(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def called_back(request_body: bytes) -> None:
    """A callback is a value for the session, and for the receiver beside it."""
    callback = Callback("https://example.com/hooks", relay=SocketRelay("/run/hooks"))
    relay: Relay = MemoryRelay()
    relay = RedisRelay("redis://localhost")
    limit: OrderLimit = RedisLimit("redis://localhost", pending=20, per_second=2.5)
    Session(callback=callback, limit=limit)
    assert_type(await relay.publish(Hint("00", "clx1")), bool)
    async with Session(callback=callback) as session:
        assert_type(session.stats().callbacks, int)
        assert_type(session.pending, tuple[str, ...])
    receiver = Receiver(callback)
    assert_type(await receiver.deliver("/hooks/x", request_body), int)


async def by_workers() -> None:
    """A queue takes what a batch takes, and gives outcomes and answers."""
    worker = order_worker("redis://localhost", save_to="out", pending=5)
    assert_type(worker.context, Session)
    async with OrderQueue("redis://localhost") as queue:
        put = await queue.put([("a fox", "k"), ({"prompt": "a hare"}, "l")])
        assert_type(put, int)
        answer = await queue.wait("k")
        assert_type(answer.unwrap(), ImageResult)
        assert_type(answer.cost, Decimal | None)
        assert_type((await queue.look("k")).answer, Answer | None)
        async with queue.batch(["a fox"], name="deck", journal="j.sqlite") as outcomes:
            async for outcome in outcomes:
                assert_type(outcome.result, ImageResult | None)
        await queue.put("a fox")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def from_a_script() -> None:
    """The synchronous session has the same calls, without await."""
    with sync.Session(timeouts=Timeouts()) as session:
        assert_type(session.images.generate("a fox"), ImageResult)
        handle = session.images.submit("a moose", model="gpt-image-2")
        assert_type(handle.result(timeout=1.0), ImageResult)
        assert_type(session.balance(), Balance)
        assert_type(session.upload(b""), str)
        session.images.generate("x", model="new", quality="low", n=2, other=1)
        session.images.submit("x")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
        session.images.edit("x")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
        session.images.edit("x", images=["https://a/b"], aspect_ratio="1:1")
        with session.images.batch(["x"], quality="low") as outcomes:
            for outcome in outcomes:
                narrowing(outcome)


def web_applications(session: SessionDep, request: web.Request) -> None:
    """The packaged session and answers fit what frameworks ask for."""
    FastAPI(lifespan=lifespan(), exception_handlers=exception_handlers)
    lifespan(lambda: Session(store="orders.sqlite"), recover=True)
    setup(web.Application(), Session, recover=True)
    assert_type(session, Session)
    assert_type(get_session(request), Session)
    assert_type(answer_to(ApiModelsError()).headers, dict[str, str])
    lifespan(Session())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    answer_to(ValueError())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
