"""What a batch takes, how far it reads ahead, and that failures are values."""

from __future__ import annotations

import asyncio
import csv
from decimal import Decimal

import pytest
from support.batches import TASK, drain, orders, prompts_ordered, tasks

from apimodels_async import (
    ImageRequest,
    InvalidRequestError,
    SparkPixEdit,
    SparkPixImage,
    check_request,
)
from apimodels_async.errors import BadRequestError, GenerationFailedError

MIXED = [
    "a moose",
    {"prompt": "a lynx", "aspect_ratio": "16:9", "seed": 7},
    {"prompt": "a heron", "model": TASK, "resolution": "2K"},
    SparkPixImage(prompt="an otter"),
    SparkPixEdit(prompt="at dusk", images=["https://example.com/a.png"]),
    ImageRequest("flux-2-klein-4b", "a newt"),
]


async def test_every_item_has_the_defaults_it_does_not_name(emulator, session):
    """Prompts and mappings take them, request values say everything themselves."""
    items = ["a moose", {"prompt": "a lynx", "seed": 8}, ImageRequest(TASK, "a newt")]
    batch = session.images.batch(
        items, model=TASK, seed=7, extra={"note": "x"}, resolution="1K"
    )
    outcomes, _ = await drain(batch)

    assert [outcomes[n].error for n in range(3)] == [None] * 3
    sent = {record.body["prompt"]: record.body for record in orders(emulator)}
    seeds = [sent[each].get("seed") for each in ("a moose", "a lynx", "a newt")]
    assert {body["model"] for body in sent.values()} == {TASK}
    assert seeds == [7, 8, None]
    assert sent["a moose"]["note"] == sent["a lynx"]["note"] == "x"


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ({"max_cots": 1}, "max_cost"),
        ({"jornal": "j.sqlite"}, "journal"),
        ({"model": TASK, "resoluton": "2K"}, "resolution"),
        ({"model": "sparkpix-image", "aspect_rato": "1:1"}, "aspect_ratio"),
    ],
)
async def test_a_misspelt_option_of_a_batch_is_no_parameter(session, slip, meant):
    """It would be ordered with every item, and a limit would be none."""
    with pytest.raises(InvalidRequestError, match=meant) as caught:
        session.images.batch(["a moose"], **slip)
    # Nobody wants to send an option of ours to the API.
    assert ("extra=" in str(caught.value)) is ("model" in slip)


URL = "https://example.com/a.png"


@pytest.mark.parametrize(
    "wrong",
    [
        *({"callback_url": "nope"}, {"seed": object()}, {"image": b"a.png"}),
        *({"extra": 5}, {"extra": {"a": object()}}, {"novelty": {1: 2}}),
        *({"model": "novelty-9", "callback_url": "nope"}, {"model": ""}),
        {"model": TASK, "resolution": "9K"},
        {"model": "sparkpix-image", "aspect_ratio": "21:9"},
        {"model": "sparkpix-image", "lora_weights": "x"},
        {"model": "sparkpix-image-edit", "images": ["a.png"]},
        {"model": "sparkpix-image-edit", "images": iter([URL])},
        {"model": "novelty-9", "seed": object()},
        {"price": 0.01},
    ],
)
async def test_what_is_wrong_for_every_item_is_an_error_of_the_call(session, wrong):
    """A value that no item can have is refused at once, and not once an item."""
    with pytest.raises(InvalidRequestError) as caught:
        session.images.batch(["a moose"], **wrong)
    assert caught.value.charged is False


@pytest.mark.parametrize(
    "right",
    [
        *({"aspect_ratio": "21:9"}, {"resolution": "2K"}),
        *({"seed": "random"}, {"width": 4096}, {"lora_scale": 5}, {"mask": {"a": 1}}),
        *({"images": ["asset:1"]}, {"n": "auto"}, {"size": "large"}),
        *({"model": "novelty-9", "seed": "x"}, {"lora_weights": "civitai.com/x"}),
        {"model": "novelty-9-lora", "lora_weights": [{"path": "a", "scale": 1}]},
        {"model": "sparkpix-image-edit"},
    ],
)
async def test_what_an_item_may_have_is_no_error_of_the_call(session, right):
    """Each may name a model of its own, also one that is not in the catalogue."""
    session.images.batch(["a moose"], **right)
    session.images.batch(["a moose"], model="sparkpix-image-edit", images={URL})
    assert check_request({**right, "prompt": "a moose", "model": "novelty-9"})


async def generator(items):
    """Yield *items*, giving way before each."""
    for item in items:
        await asyncio.sleep(0)
        yield item


class Chairs:
    """An async iterator that is no generator."""

    def __init__(self, items):
        self.items = iter(items)

    def __aiter__(self):
        return self

    async def __anext__(self):
        for item in self.items:
            return item
        raise StopAsyncIteration


async def test_a_part_of_a_list_keeps_its_numbers(session, tmp_path):
    """With *start* and *step* outcomes and files have the numbers of the whole list."""
    batch = session.images.batch([*"abc"], start=3, step=16, download_to=tmp_path)
    outcomes, _ = await drain(batch)

    assert sorted(outcomes) == [3, 19, 35]
    assert {path.name[:5] for path in tmp_path.iterdir()} == {"00003", "00019", "00035"}


@pytest.mark.parametrize(
    "numbers", [{"start": -1}, {"start": True}, {"start": 0.5}, {"step": 0}]
)
async def test_numbers_that_cannot_be_are_refused(session, numbers):
    """*start* is a whole number from 0, *step* one from 1."""
    with pytest.raises(InvalidRequestError) as caught:
        session.images.batch(["a"], **numbers)

    assert caught.value.parameter in numbers


@pytest.mark.parametrize(
    "kind",
    [list, tuple, iter, lambda items: (item for item in items), generator, Chairs],
    ids=["list", "tuple", "iterator", "generator", "async generator", "async iterator"],
)
async def test_any_source_of_any_requests_is_taken(emulator, session, kind):
    """Strings, mappings and values of five endpoints; each once, under its index."""
    outcomes, raised = await drain(session.images.batch(kind(MIXED), max_pending=3))

    assert raised is None
    assert list(range(len(MIXED))) == sorted(outcomes)
    assert all(
        outcome.result and outcome.error is None for outcome in outcomes.values()
    )
    assert list(prompts_ordered(emulator).values()) == [1] * 6
    wanted = ["a moose", "a lynx", "a heron", "an otter", "at dusk", "a newt"]
    assert wanted == [outcomes[index].request.prompt for index in range(6)]
    assert outcomes[2].result.task_id in emulator.tasks


async def test_an_empty_source_ends_at_once(session):
    """No item, no outcome, no error."""
    assert await drain(session.images.batch([])) == ({}, None)


async def test_equal_requests_are_orders_in_their_own_right(emulator, session):
    """Three equal lines are three pictures."""
    outcomes, _ = await drain(session.images.batch(["a moose"] * 3))
    assert len({outcome.result.url for outcome in outcomes.values()}) == 3
    assert prompts_ordered(emulator) == {"a moose": 3}


async def test_outcomes_come_as_they_finish(session):
    """A slow first item does not hold up a quick second one."""
    items = [ImageRequest(TASK, "[slow] moose"), ImageRequest(TASK, "hare")]
    async with session.images.batch(items) as outcomes:
        assert [outcome.index async for outcome in outcomes] == [1, 0]


async def test_the_source_is_read_at_most_max_pending_ahead(emulator, session):
    """A slow consumer slows the source down: what was read minus what was taken."""
    read, taken, ahead = 0, 0, []

    def source():
        nonlocal read
        for number in range(30):
            read += 1
            ahead.append(read - taken)
            yield f"moose {number}"

    async with session.images.batch(source(), max_pending=4) as outcomes:
        await asyncio.sleep(0.3)  # the consumer is elsewhere
        assert read == 4
        async for _ in outcomes:
            taken += 1
    assert taken == 30
    # The one handed over is taken when its receiver runs again, hence one more.
    assert max(ahead) <= 4 + 1


async def test_a_slow_consumer_keeps_the_bound(emulator, session):
    """However slow it reads, no more than max_pending tasks are unfinished."""
    async with session.images.batch(tasks(15), max_pending=3) as outcomes:
        async for _ in outcomes:
            await asyncio.sleep(0.01)
    assert len(emulator.tasks) == 15
    assert emulator.peak_pending <= 3


@pytest.mark.parametrize("most", [1, 2, 7])
async def test_max_pending_is_kept_at_the_server(emulator, session, most):
    """The server never has more unfinished tasks than allowed, and reaches that."""
    await drain(session.images.batch(tasks(20), max_pending=most))
    assert most == emulator.peak_pending


async def test_failures_are_values(emulator, session):
    """One refused, one failed and one unreadable item stop none of the others."""
    items = [
        ImageRequest(TASK, "[refused] moose"),
        {"prompt": "lynx", "width": 100},
        17,
        {"prompt": None},
        ImageRequest(TASK, "owl", extra={"resolution": "9K"}),
        "heron",
    ]
    outcomes, raised = await drain(session.images.batch(items, max_pending=2))

    assert raised is None
    kinds = [
        GenerationFailedError,
        InvalidRequestError,
        InvalidRequestError,
        InvalidRequestError,
        BadRequestError,
        type(None),
    ]
    assert kinds == [type(outcomes[index].error) for index in range(6)]
    assert outcomes[0].request == items[0]
    assert outcomes[2].request is None
    assert outcomes[5].result is not None
    assert len(orders(emulator)) == 3


async def test_a_source_that_raises_is_heard_last(emulator, session):
    """Its own error reaches the consumer, after every paid outcome."""

    def source():
        yield from tasks(3)
        raise LookupError(*["no more lines"])

    async with session.images.batch(source(), max_pending=5) as outcomes:
        got = [await anext(outcomes) for _ in range(3)]
        with pytest.raises(LookupError, match="no more lines"):
            await anext(outcomes)
        with pytest.raises(LookupError):  # and again, for whoever asks again
            await anext(outcomes)
    assert all(outcome.result for outcome in got)
    assert len(emulator.tasks) == 3


async def test_a_price_function_that_raises_is_heard_too(emulator, session):
    """A bug of the caller's ends the batch; it is not an outcome."""

    def price(request):
        return {"hare": Decimal(1)}[request.prompt]

    batch = session.images.batch(["hare", "moose"], price=price, max_pending=1)
    async with batch as outcomes:
        assert (await anext(outcomes)).index == 0
        with pytest.raises(KeyError, match="moose"):
            await anext(outcomes)
    assert prompts_ordered(emulator) == {"hare": 1}


@pytest.mark.parametrize(
    ("source", "other"),
    [
        *(("a moose", "a single one"), (b"a hare", "a single one")),
        *(({"prompt": "a moose"}, "a single one"), (MIXED[-1], "a single one")),
        *((None, "NoneType"), (5, "int"), (generator, "function")),
    ],
)
async def test_a_single_prompt_is_no_source(session, source, other):
    """A string would be a batch of letters, and nothing has no items."""
    with pytest.raises(
        InvalidRequestError, match=f"list or an.* not {other}"
    ) as caught:
        session.images.batch(source)
    assert caught.value.parameter == "source"


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("max_pending", 0),
        ("max_pending", True),
        ("max_pending", 2.0),
        ("max_cost", 0),
        ("max_cost", -1),
        ("max_cost", "1"),
        ("max_cost", True),
        ("max_cost", Decimal("nan")),
        ("max_cost", float("inf")),
        ("download_to", 5),
        ("journal", b"j"),
        ("journal", "a\0b"),
        ("journal", ""),
    ],
)
async def test_numbers_out_of_range_are_refused(emulator, session, parameter, value):
    """Nor is what is no path: nothing is sent, and the error names the parameter."""
    with pytest.raises(InvalidRequestError, match=parameter) as caught:
        session.images.batch(["a moose"], **{parameter: value})
    assert parameter == caught.value.parameter
    assert orders(emulator) == []


async def test_two_batches_share_a_session(emulator, session):
    """Each gets its own outcomes, and each keeps its own bound."""
    (one, _), (two, _) = await asyncio.gather(
        drain(session.images.batch(tasks(12, "moose"), max_pending=2)),
        drain(session.images.batch(tasks(12, "hare"), max_pending=3)),
    )
    assert {"moose"} == {o.request.prompt.split()[0] for o in one.values()}
    assert {"hare"} == {o.request.prompt.split()[0] for o in two.values()}
    assert len(emulator.tasks) == 24
    assert emulator.peak_pending <= 5


async def test_several_consumers_may_share_a_batch(emulator, session):
    """Each outcome goes to one of them."""
    async with session.images.batch(tasks(10), max_pending=4) as outcomes:

        async def consume():
            return [outcome.index async for outcome in outcomes]

        halves = await asyncio.gather(consume(), consume())
    assert list(range(10)) == sorted(halves[0] + halves[1])


async def test_what_was_not_awaited_is_said_to_be_awaited_first(session):
    """A call in place of its result is refused wherever it is given."""
    early = session.images.generate("a fox")

    async def order(source):
        outcomes, _ = await drain(session.images.batch(source))
        outcomes[0].unwrap()

    for use in (
        lambda: order([early]),
        lambda: order(early),
        lambda: session.upload(early),
        lambda: session.images.generate("a fox", model=TASK, image_url=early),
    ):
        with pytest.raises(InvalidRequestError, match="await the call first"):
            await use()
    early.close()


async def test_a_csv_row_of_too_many_cells_is_no_order(session, emulator):
    """A comma without quotes would cut the prompt, and be paid for."""
    rows = csv.DictReader(["prompt,seed", "a fox, red,7"])
    outcomes, _ = await drain(session.images.batch(rows))

    assert "more cells than the header" in str(outcomes[0].error)
    assert orders(emulator) == []
