"""Idempotency keys of tools, and what they cost the budget of a server."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from support.agents import call, connected, orders_of, refused

from apimodels_async import JournalError
from apimodels_async._core.money.budget import Budget
from apimodels_async.cli.mcp.payments import Payment, Payments
from apimodels_async.stores import MemoryStore

TASK = "gpt-image-2"
FOX = {"prompt": "a fox", "idempotency_key": "fox"}
MOOSE = {"prompt": "a moose", "model": TASK, "idempotency_key": "moose"}


@pytest.fixture
def store():
    """Remember orders."""
    return MemoryStore()


@pytest.fixture
async def agent(emulator, connect, store):
    """Connect an agent to a server with a store that may spend six cents."""
    orders = orders_of(connect(emulator, store=store), "0.06")
    async with connected(orders, stored=True) as agent:
        yield agent


async def draw(agent, tool="generate", **arguments):
    """Call a tool that must succeed; return the facts."""
    return (await call(agent, tool, **arguments))[1]


async def spent(agent):
    """Return what the budget has spent and reserved."""
    facts = await draw(agent, "balance")
    return Decimal(facts["spent"]), Decimal(facts["reserved"])


async def test_a_server_with_a_store_says_so(agent):
    """Instructions, descriptions and schemas tell of the argument."""
    tools = {tool.name: tool for tool in (await agent.list_tools()).tools}

    assert "Give each new order an idempotency_key" in agent.instructions
    for name in ("generate", "edit", "submit"):
        assert "idempotency_key" in tools[name].input_schema["properties"]
        assert "charged once" in tools[name].description


async def test_a_server_without_a_store_refuses_the_argument(session, emulator):
    """The schema has no such argument; given all the same, nothing is sent."""
    async with connected(orders_of(session)) as agent:
        told = agent.instructions
        listed = (await agent.list_tools()).tools
        words = await refused(agent, "generate", **FOX)

    assert "idempotency_key" not in told
    assert all("idempotency_key" not in str(tool.input_schema) for tool in listed)
    assert "this server has no store" in words
    assert "--store PATH" in words
    assert emulator.requests == []


async def test_the_same_call_again_is_free(agent, emulator):
    """It brings the same picture, also when nothing is left of the budget."""
    first = [await draw(agent, **FOX), await draw(agent, **MOOSE)]
    paid = await spent(agent)
    again = [await draw(agent, **FOX), await draw(agent, **MOOSE)]
    submitted = await draw(agent, "submit", **MOOSE)

    assert [each["urls"] for each in again] == [each["urls"] for each in first]
    assert submitted["task_id"] == first[1]["task_id"]
    assert paid == await spent(agent) == (emulator.spent, 0)
    assert len(emulator.tasks) + len(emulator.generations) == 2


async def test_calls_at_once_under_one_key_buy_once(agent, emulator):
    """All get the picture, and it counts once."""
    found = await asyncio.gather(
        *(draw(agent, **FOX) for _ in range(3)),
        *(draw(agent, "submit", **{**MOOSE, "model": "z-image-spicy"}) for _ in "ab"),
    )

    assert len({str(each["urls"]) for each in found[:3]}) == 1
    assert len({each["task_id"] for each in found[3:]}) == 1


async def test_what_another_server_bought_costs_this_one_nothing(
    agent, emulator, connect, store
):
    """A key of an earlier server brings its picture, and spends nothing here."""
    earlier = connect(emulator, store=store)
    await earlier.images.generate("a fox", idempotency_key="fox")

    await draw(agent, **FOX)

    assert await spent(agent) == (0, 0)
    assert len(emulator.generations) == 1


async def test_an_order_of_unknown_outcome_is_not_repeated(agent, emulator):
    """The same call again says the same, keeps one reservation, and sends nothing."""
    emulator.fault("create", "drop", after=True)
    first = await refused(agent, "generate", **MOOSE)
    again = await refused(agent, "generate", **MOOSE)

    assert "DO NOT REPEAT" in first
    assert "Only the user may risk paying twice" in again
    assert await spent(agent) == (0, Decimal("0.05"))
    assert len(emulator.tasks) == 1


async def test_a_key_names_one_request(agent, emulator):
    """Another prompt under the same key is refused, and costs nothing."""
    await draw(agent, **FOX)
    words = await refused(agent, "generate", prompt="a hare", idempotency_key="fox")

    assert "names another request" in words
    assert len(emulator.generations) == 1


async def test_a_store_that_breaks_down_counts_as_paid(emulator, connect):
    """Where the store no longer answers, an order that was new counts as bought."""

    class Broken(MemoryStore):
        async def find(self, scope, idempotency_key):
            msg = "the disk is full"
            raise JournalError(msg)

    payments = Payments(connect(emulator, store=Broken()), Budget(Decimal(1)))

    assert await payments.bought(Payment("fox", Decimal(1)))
    assert not await payments.bought(Payment("fox", Decimal(0), 1))
