"""The free calls: balance, models, reconcile, stats."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from support.cases import check_all_at_once
from support.raw import (
    CUTS,
    RawServer,
    close,
    envelope,
    in_turn,
    respond,
)
from support.sessions import patience

from apimodels_async import (
    AuthenticationError,
    ConnectionFailedError,
    NotFoundError,
    OutcomeUnknownError,
    PollPolicy,
    RetryPolicy,
    ServerError,
    Session,
    TransportTimeoutError,
    UnexpectedResponseError,
    known_models,
)

TASK = {"model": "gpt-image-2"}
UNTIRING = RetryPolicy(attempts=20, base=0.01)


async def test_the_balance_is_exact(session, emulator):
    """Money is decimal, and moves with what was spent."""
    before = await session.balance()
    await session.images.generate("a fox")
    after = await session.balance()

    assert (before.balance, before.currency) == (Decimal(100), "USD")
    assert before.balance - after.balance == Decimal("0.01")
    assert session.stats().spent == Decimal("0.01")


async def test_the_models_are_listed(session):
    """The catalogue comes in the API's order, with its own rows."""
    models = await session.models()

    assert "gpt-image-2" in [model.id for model in models]
    assert all(model.raw["id"] == model.id for model in models)
    assert all(model.known == known_models()[model.id] for model in models)


async def test_a_wrong_key_is_typed(emulator):
    """401 is AuthenticationError on every kind of call; a task may still be charged."""
    quick = PollPolicy.unchecked(interval=0.05)
    where = emulator.base_url
    async with Session("sk_wrong", base_url=where, polling=quick) as session:
        for call in (
            session.balance(),
            session.images.generate("a fox"),
            session.images.submit("a moose", **TASK),
            session.images.attach("clx").result(),
        ):
            with pytest.raises(AuthenticationError) as caught:
                await call
            assert caught.value.charged is (None if caught.value.task_id else False)
    assert emulator.spent == 0


async def test_a_base_url_without_its_version_is_said(emulator, connect):
    """What answered is named, and what the address should look like; no key."""
    root = emulator.base_url.removesuffix("/api/v1")
    session = connect(emulator, base_url=f"{root}/")
    calls = {
        "balance": session.balance(),
        "images/generations-sync": session.images.generate("a fox"),
        "images/generations": session.images.submit("a moose", **TASK),
    }
    for path, call in calls.items():
        with pytest.raises(NotFoundError) as caught:
            await call
        assert str(caught.value) == (
            "the API does not know this (HTTP 404): Not Found. "
            f"It was {root}/{path} that answered: base_url (or APIMODELS_BASE_URL) "
            "should end in a version path, as https://apimodels.app/api/v1 does"
        )
        assert caught.value.charged is False


async def test_a_page_instead_of_the_api_is_said(connect):
    """A welcome page with 200 may hide an order; where it came from is named."""
    page = respond(b" <html>Welcome</html>", 200)
    async with RawServer(page) as server:
        session = connect(server)
        for call, kind in (
            (session.balance(), UnexpectedResponseError),
            (session.images.generate("a fox"), OutcomeUnknownError),
        ):
            with pytest.raises(kind, match=r"is base_url \(or \w+\) right\?|path, as"):
                await call


UNREADABLE = {
    "cut, no length",
    "no body",
    "204",
    "html",
    "half json",
    "latin-1",
    "deep",
    "null data",
    "another shape",
    "id is a path",
    "zipped",
    "307",
    "308 elsewhere",
    "302",
}
"""Whole answers that say nothing: asking again is the caller's decision."""


async def test_a_free_call_is_repeated_where_that_helps(connect):
    """Whatever cuts it, a free call ends in its answer or a typed, uncharged error."""
    fine = respond(envelope({"balance": "5"}))

    async def check(name):
        async with RawServer(in_turn(CUTS[name], fine)) as server:
            # One that is too impatient for the good answer asks again.
            session = connect(server, timeouts=patience(name), retry=UNTIRING)
            if name in UNREADABLE:
                with pytest.raises(UnexpectedResponseError) as caught:
                    await session.balance()
                assert caught.value.charged is False
                assert len(server.received) == 1
            else:
                assert (await session.balance()).balance == 5

    await check_all_at_once(CUTS, check)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("close", ConnectionFailedError),
        ("hang", TransportTimeoutError),
        ("503", ServerError),
    ],
)
async def test_a_free_call_gives_up(connect, name, kind):
    """After four tries a free call ends in its error."""
    async with RawServer(CUTS[name]) as server:
        with pytest.raises(kind) as caught:
            await connect(server, timeouts=patience(name)).balance()

        assert caught.value.charged is False
        assert len(server.received) >= 4


async def unknown(session):
    """Order something that ends in OutcomeUnknownError."""
    with pytest.raises(OutcomeUnknownError) as caught:
        await session.images.generate("a fox")
    return caught.value


# --- stats ------------------------------------------------------------------------


async def test_stats_add_up(emulator, connect):
    """Counts say what happened, also after the close."""
    session = connect(emulator)
    prompts = ["moose 0 [slow]", "moose 1 [slow]", "moose 2 [slow]", "moose [fail]"]
    emulator.fault("poll", "status", status=500, times=4)
    handles = [await session.images.submit(prompt, **TASK) for prompt in prompts]
    assert session.stats().pending == 4
    assert session.stats().connections >= 1
    assert f"pending 4 | {session.stats().connections}/100" in repr(session)
    await asyncio.gather(*handles, return_exceptions=True)
    emulator.fault("sync", "drop")
    await unknown(session)
    await session.images.generate("a fox")
    await session.aclose()

    stats = session.stats()
    assert (stats.pending, stats.submitted, stats.completed) == (0, 5, 3)
    assert (stats.failed, stats.unknown, stats.poll_errors) == (1, 1, 4)
    assert stats.polls >= 5
    assert stats.lateness_s >= 0
    assert stats.spent == emulator.spent == Decimal("0.085")


async def test_the_base_url_is_shown(session, emulator):
    """A session says where the API is."""
    assert session.base_url == emulator.base_url


async def test_closing_an_order_midway_is_counted(connect):
    """Unknown fates are counted by the session."""
    async with RawServer(close) as server:
        session = connect(server)
        await unknown(session)

        assert session.stats().unknown == 1
        assert session.stats().submitted == 0
