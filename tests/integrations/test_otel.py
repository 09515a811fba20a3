"""Spans: what they say, what they keep to themselves, and what hangs on to them."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.batches import TASK
from support.waiting import until

from apimodels_async import (
    BadRequestError,
    GenerationFailedError,
    ImageRequest,
    InsufficientCreditsError,
    OutcomeUnknownError,
)
from apimodels_async.integrations import otel
from apimodels_async.stores import MemoryStore


@pytest.fixture
def spans():
    """Return an exporter that keeps finished spans."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(spans):
    """Return a provider that exports into *spans*."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


def only(spans):
    """Return the one finished span."""
    (span,) = spans.get_finished_spans()
    return span


async def test_a_span_says_what_was_ordered(session, provider, spans):
    """Name, kind and attributes, and no prompt."""
    otel.instrument(session, provider)
    await session.images.generate("a secret moose", seed=7)
    span = only(spans)
    assert span.name == "generate_content sparkpix-image"
    assert trace.SpanKind.CLIENT is span.kind
    expected = {
        "gen_ai.operation.name": "generate_content",
        "gen_ai.provider.name": "apimodels",
        "gen_ai.request.model": "sparkpix-image",
        "gen_ai.output.type": "image",
        "gen_ai.request.seed": 7,
        "server.address": "127.0.0.1",
    }
    assert expected == dict(span.attributes)
    assert "secret" not in span.to_json()
    assert span.instrumentation_scope.name == "apimodels_async"


async def test_prompts_are_recorded_on_request(session, provider, spans):
    """Opting in puts the prompt into the span."""
    otel.instrument(session, provider, record_prompts=True)
    await session.images.generate("a moose")
    assert only(spans).attributes["gen_ai.prompt"] == "a moose"


async def test_a_task_s_span_has_its_id(emulator, session, provider, spans):
    """From the call to the result, with the vendor's id; a seed only if it is one."""
    otel.instrument(session, provider)
    for params in ({"seed": 7}, {}):
        await session.images.generate(ImageRequest("flux-2-klein-4b", "m", params))
    one, two = spans.get_finished_spans()
    ids = [span.attributes["gen_ai.response.id"] for span in (one, two)]
    assert [*emulator.tasks] == ids
    assert one.attributes["gen_ai.request.seed"] == 7
    assert "gen_ai.request.seed" not in two.attributes


async def test_a_seed_that_is_no_number_is_left_out(session, provider, spans):
    """The API refuses it; the span does not."""
    otel.instrument(session, provider)
    with pytest.raises(BadRequestError):
        await session.images.generate("m", model="flux-2-klein-4b", seed="seven")
    assert "gen_ai.request.seed" not in only(spans).attributes


async def test_submit_has_a_span_until_it_is_accepted(
    emulator, session, provider, spans
):
    """The span ends with the acceptance, not with the picture."""
    otel.instrument(session, provider)
    handle = await session.images.submit("[slow] m", model=TASK)
    assert handle.task_id == only(spans).attributes["gen_ai.response.id"]
    assert not handle.done


@pytest.mark.parametrize(
    ("where", "kind", "error"),
    [
        ("sync", "drop", OutcomeUnknownError),
        ("sync", "envelope", InsufficientCreditsError),
    ],
)
async def test_a_span_names_its_error(
    emulator, session, provider, spans, where, kind, error
):
    """error.type is the class; the status is an error."""
    otel.instrument(session, provider)
    emulator.fault(where, kind)
    with pytest.raises(error):
        await session.images.generate("a secret moose")
    span = only(spans)
    assert error.__name__ == span.attributes["error.type"]
    assert trace.StatusCode.ERROR is span.status.status_code
    assert "gen_ai.response.id" not in span.attributes
    assert "secret" not in span.to_json()


async def test_a_failed_task_s_span_has_error_and_id(
    emulator, session, provider, spans
):
    """The id helps to ask the vendor."""
    otel.instrument(session, provider)
    with pytest.raises(GenerationFailedError):
        await session.images.generate("[refused] secret", model=TASK)
    span = only(spans)
    assert span.attributes["error.type"] == "GenerationFailedError"
    assert [span.attributes["gen_ai.response.id"]] == [*emulator.tasks]


async def test_a_span_has_the_order_s_idempotency_key(
    emulator, connect, provider, spans
):
    """With a store every order has one, be it random; an error's is the same."""
    session = connect(emulator, store=MemoryStore())
    otel.instrument(session, provider)
    await session.images.generate("a fox", idempotency_key="fox")
    await session.images.submit("a moose", model=TASK, idempotency_key="moose")
    await session.images.generate("a hare")
    emulator.fault("sync", "drop")
    with pytest.raises(OutcomeUnknownError):
        await session.images.generate("a bear", idempotency_key="bear")

    fox, moose, hare, bear = (
        span.attributes["apimodels.idempotency_key"]
        for span in spans.get_finished_spans()
    )
    assert (fox, moose, bear) == ("fox", "moose", "bear")
    assert (await session.find(hare)).prompt == "a hare"


async def test_a_cancelled_call_ends_its_span(emulator, session, provider, spans):
    """A span never stays open."""
    otel.instrument(session, provider)
    caller = asyncio.get_running_loop().create_task(
        session.images.generate("[slow] m", model=TASK)
    )
    await until(lambda: emulator.tasks)
    caller.cancel()
    await asyncio.wait([caller])
    assert only(spans).end_time is not None


async def test_the_global_provider_is_the_default(session):
    """Without a provider the global one is used, which may do nothing."""
    otel.instrument(session)
    assert (await session.images.generate("a moose")).url


async def test_no_poll_hangs_on_to_a_caller_s_trace(emulator, connect, provider):
    """Polls run under no span; an order's own request runs under its own."""
    seen = []

    async def note(_session, _context, params):
        seen.append((params.method, trace.get_current_span().get_span_context()))

    config = aiohttp.TraceConfig()
    config.on_request_start.append(note)
    async with aiohttp.ClientSession(trace_configs=[config]) as http:
        session = connect(emulator, http=http)
        otel.instrument(session, provider)
        tracer = provider.get_tracer("the caller")
        with tracer.start_as_current_span("the caller's") as outer:
            await session.images.generate("m", model=TASK)
            await session.images.generate("n", model=TASK)
        await session.aclose()
    polls = [context for method, context in seen if method == "GET"]
    posts = [context for method, context in seen if method == "POST"]
    assert polls
    assert not any(context.is_valid for context in polls)
    assert 2 == len(posts) == len({context.span_id for context in posts})
    assert {outer.get_span_context().trace_id} == {c.trace_id for c in posts}


async def test_every_order_of_a_batch_has_a_span(session, provider, spans, tmp_path):
    """Orders of a batch are seen like any other, and what a journal replays is none."""
    otel.instrument(session, provider)
    tasks = [ImageRequest(TASK, "a moose"), ImageRequest(TASK, "no [fail]")]
    journal = tmp_path / "j.sqlite"
    for _ in range(2):
        async with session.images.batch(["a fox", *tasks], journal=journal) as outcomes:
            results = {each.index: each async for each in outcomes}
    assert [(i, r.error is None) for i, r in sorted(results.items())] == [
        (0, True),
        (1, True),
        (2, False),
    ]
    seen = sorted(
        (span.name.split()[1], span.status.status_code.name)
        for span in spans.get_finished_spans()
    )
    assert seen == [
        ("gpt-image-2", "ERROR"),
        ("gpt-image-2", "UNSET"),
        ("sparkpix-image", "UNSET"),
    ]
