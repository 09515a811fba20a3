"""The served emulator: its record, its faults, its sessions."""

from __future__ import annotations

import asyncio
import http.client
import subprocess
import sys
from contextlib import closing
from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from apimodels_async import (
    BadRequestError,
    GenerationFailedError,
    InsufficientCreditsError,
    OutcomeUnknownError,
    RateLimitError,
    RetryPolicy,
    testing,
)
from apimodels_async.testing import Order, serve_emulator


def test_orders_compare_by_what_they_ask_for(apimodels_sync_session, apimodels_record):
    """The orders of a test are its paid requests, as values, in order."""
    images = apimodels_sync_session.images
    fox = images.generate("a fox", seed=3)
    images.edit("at night", images=[fox.url])
    images.generate("a moose", model="gpt-image-2", resolution="1K")
    apimodels_sync_session.balance()

    assert apimodels_record.orders == [
        Order("sparkpix-image", "a fox", {"seed": 3}),
        Order("sparkpix-image-edit", "at night", {"images": [fox.url]}),
        Order("gpt-image-2", "a moose", {"resolution": "1K"}),
    ]


def test_an_order_says_how_it_went(apimodels_sync_session, apimodels_record):
    """An order has its path, time, status, task and whether it was charged."""
    result = apimodels_sync_session.images.generate("a moose", model="gpt-image-2")

    (order,) = apimodels_record.orders
    assert order.path == "/api/v1/images/generations"
    assert order.at >= 0
    assert (order.status, order.task_id) == (200, result.task_id)
    assert order.charged
    assert order.fault is None
    assert apimodels_record.spent > 0
    assert len({order, order}) == 1


def test_free_requests_are_recorded_too(apimodels_sync_session, apimodels_record):
    """Every request is there with its method, and polls are counted."""
    moose = apimodels_sync_session.images.generate("a moose", model="gpt-image-2")
    apimodels_sync_session.balance()

    first, *polls, last = apimodels_record.requests
    assert (first.method, first.endpoint) == ("POST", "create")
    assert {each.endpoint for each in polls} == {"poll"}
    assert {each.task_id for each in polls} == {moose.task_id}
    assert (last.method, last.path, last.status) == ("GET", "/api/v1/balance", 200)
    assert apimodels_record.polls == len(polls)


def test_what_cannot_be_read_is_an_order_all_the_same(apimodels_emulator):
    """A paid request without a readable body is recorded, with nothing in it."""
    site = urlsplit(apimodels_emulator.base_url)
    key = {"Authorization": f"Bearer {apimodels_emulator.api_key}"}
    with closing(http.client.HTTPConnection(site.netloc)) as line:
        line.request("POST", f"{site.path}/images/generations", b"{", key)
        line.getresponse().close()

    (order,) = apimodels_emulator.record.orders
    assert (order, order.status) == (Order(""), 400)


def test_a_refused_order_is_an_order_that_cost_nothing(
    apimodels_sync_session, apimodels_faults, apimodels_record
):
    """An order refused for lack of credit is recorded with its status."""
    apimodels_faults.refuse_credit()

    with pytest.raises(InsufficientCreditsError):
        apimodels_sync_session.images.generate("a fox")

    apimodels_sync_session.images.generate("a fox")
    assert [order.status for order in apimodels_record.orders] == [402, 200]
    assert [order.charged for order in apimodels_record.orders] == [False, True]


def test_a_rate_limit_is_sat_out_or_raised(
    apimodels_sync_session, apimodels_faults, apimodels_record
):
    """One 429 is tried again; one that asks for ten minutes is an error."""
    apimodels_faults.rate_limit()
    apimodels_sync_session.images.generate("a fox")
    assert [order.status for order in apimodels_record.orders] == [429, 200]

    apimodels_faults.rate_limit(retry_after=600)
    with pytest.raises(RateLimitError):
        apimodels_sync_session.images.generate("a hare")


@pytest.mark.parametrize("model", [{}, {"model": "gpt-image-2"}])
def test_a_lost_answer_is_paid_for(
    apimodels_sync_session, apimodels_faults, apimodels_record, model
):
    """The order takes effect, and its caller is told that nobody knows."""
    lost = apimodels_faults.lose_answer(match="fox")

    with pytest.raises(OutcomeUnknownError):
        apimodels_sync_session.images.generate("a fox", **model)

    (order,) = apimodels_record.orders
    assert (order.status, order.fault, lost.hits) == (None, "reset", 1)


def test_a_picture_can_fail(apimodels_sync_session, apimodels_faults, apimodels_record):
    """A task fails moderation, a synchronous generation is refused; both are free."""
    apimodels_faults.fail(times=2)

    with pytest.raises(GenerationFailedError):
        apimodels_sync_session.images.generate("a fox", model="gpt-image-2")
    with pytest.raises(BadRequestError):
        apimodels_sync_session.images.generate("a fox")

    assert apimodels_record.spent == 0


def test_faults_can_be_taken_back(apimodels_sync_session, apimodels_faults):
    """What is cleared does not happen; any fault of the emulator can be added."""
    apimodels_faults.slow(3600, times=None)
    apimodels_faults.add("balance", "status", status=401)
    apimodels_faults.clear()

    assert apimodels_sync_session.balance().balance == 100
    apimodels_sync_session.images.generate("a fox")


def test_a_fault_that_does_not_exist_is_refused(apimodels_faults):
    """An unknown kind is refused in the test's own thread, with the allowed ones."""
    with pytest.raises(ValueError, match="allowed: "):
        apimodels_faults.add("paid", "boredom")


async def test_an_async_session_is_one_line(apimodels_emulator):
    """The emulator serves a session of the test's own loop, which its calls spare."""
    retry = RetryPolicy(attempts=1)
    async with apimodels_emulator.session(retry=retry) as session:
        handle = await session.images.submit("a moose [slow]", model="gpt-image-2")
        apimodels_emulator.advance(3600)
        async with asyncio.timeout(30):
            await handle

    assert apimodels_emulator.record.orders == [Order("gpt-image-2", "a moose [slow]")]
    assert "orders [Order(" in repr(apimodels_emulator.record)
    assert repr(apimodels_emulator).startswith("<ServedEmulator http://127.0.0.1:")


def test_another_process_finds_it_by_its_environment(monkeypatch):
    """A program started with its environment talks to it; no pytest is needed."""
    code = (
        "from apimodels_async.sync import Session\n"
        "with Session() as session: session.images.generate('a fox')"
    )
    with serve_emulator(credits="1") as emulator:
        subprocess.run(
            [sys.executable, "-P", "-c", code], check=True, env=emulator.environment
        )

        assert emulator.record.orders == [Order("sparkpix-image", "a fox")]
        assert emulator.balance < Decimal(1)

    assert "a fox" in repr(emulator.record)  # after its end, too


def test_a_name_that_is_not_there_is_an_attribute_error():
    """The lazy module says what it has not."""
    with pytest.raises(AttributeError, match="nothing"):
        testing.nothing  # noqa: B018
