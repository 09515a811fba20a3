"""
Orders with slips in them: refused before anything is sent, or sent by ``extra``.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from apimodels_async import ImageRequest, InvalidRequestError, SparkPixEdit, sync

TASK = "gpt-image-2"


async def test_extra_reaches_the_api_by_every_call(session, emulator):
    """generate, edit, submit and batches send it as it is, and it is paid for."""
    images, extra = session.images, {"aspect_ratoi": "1:1"}
    fox = await images.generate("a fox", extra=extra)
    await images.generate("a moose", model=TASK, extra=extra)
    await images.edit("at night", images=[fox.url], extra=extra)
    await (await images.submit("an elk", model=TASK, extra=extra))
    items = [
        {"prompt": "a hare", "extra": extra},
        {"prompt": "a lynx", "model": TASK, "extra": extra},
        ImageRequest(TASK, "an owl", extra=extra),
    ]
    async with images.batch(items) as outcomes:
        assert [each.error async for each in outcomes] == [None] * 3

    paid = [each.body for each in emulator.requests if each.method == "POST"]
    assert [body["aspect_ratoi"] for body in paid] == ["1:1"] * 7
    assert all("extra" not in body for body in paid)
    assert emulator.spent > 0


async def test_a_request_value_says_everything(session, emulator):
    """What is given beside it would be dropped: it is refused."""
    value = SparkPixEdit(prompt="x", images=["https://example.com/a.png"])

    for more in ({"turbo": False}, {"extra": {"a": 1}}, {"images": ["https://a/b"]}):
        with pytest.raises(InvalidRequestError, match="says everything"):
            await session.images.edit(value, **more)
    with pytest.raises(InvalidRequestError, match="says everything"):
        await session.images.submit(ImageRequest(TASK, "x"), extra={"a": 1})
    assert emulator.requests == []


async def test_a_bad_item_of_a_batch_is_its_own_outcome(session, emulator):
    """A misspelt name ends that item uncharged; the others are ordered."""
    items = ["a fox", {"prompt": "a hare", "sede": 1}, {"promt": "a lynx"}]
    async with session.images.batch(items) as outcomes:
        found = {each.index: each.error async for each in outcomes}

    assert found[0] is None
    assert "did you mean seed?" in str(found[1])
    assert "did you mean prompt?" in str(found[2])
    assert found[1].charged is found[2].charged is False
    assert emulator.spent == Decimal("0.01")


async def test_the_numbers_of_a_batch_may_be_of_any_kind(session, tmp_path):
    """Counts that are no int, and amounts that are no float, are as good."""
    options = {"max_pending": Decimal(2), "start": Decimal(3), "step": Decimal(2)}
    options |= {"max_cost": Fraction(1, 2), "journal": tmp_path / "b.sqlite"}
    async with session.images.batch(["a fox", "a hare"], **options) as outcomes:
        found = sorted([each.index async for each in outcomes])

    assert (found, [type(each) for each in found]) == ([3, 5], [int, int])
    assert outcomes.spent == Decimal("0.02")


def test_the_synchronous_session_refuses_and_sends_alike():
    """Its calls take *extra*, too, and refuse the same slips."""
    with sync.Session("sk_x", base_url="http://127.0.0.1:9/v1") as session:
        for call in (session.images.generate, session.images.submit):
            with pytest.raises(InvalidRequestError, match="did you mean quality"):
                call("x", model=TASK, qualty="low")
            with pytest.raises(InvalidRequestError, match="a mapping of parameters"):
                call("x", model=TASK, extra="seed=1")
        with pytest.raises(InvalidRequestError, match="a mapping of parameters"):
            session.images.edit("x", images=["https://a/b"], extra=5)
        with pytest.raises(InvalidRequestError, match="a mapping of parameters"):
            session.images.generate("x", extra=5)


async def test_images_by_another_models_name_are_pointed_to_their_own(session):
    """edit(image=...) says that SparkPix Image Edit takes images=."""
    for name in ("image", "image_url", "image_urls"):
        with pytest.raises(InvalidRequestError) as caught:
            await session.images.edit("x", **{name: "https://example.com/a.png"})
        assert f"`{name}`: did you mean images?" in str(caught.value)
    with pytest.raises(InvalidRequestError, match="name the model"):
        await session.images.edit("x", images=["https://a/b"], resolution="2K")
