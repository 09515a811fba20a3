"""Who gets the money of a batch, and when."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from apimodels_async._core.money.budget import Budget
from apimodels_async.batch.reservations import Reservations
from apimodels_async.errors import OutcomeUnknownError
from apimodels_async.models import ImageResult

FIVE = Decimal("0.05")
ENDS = ["all", "half", "none", "?", "cut"]
UNKNOWN = OutcomeUnknownError("who knows")


class Till:
    """The money of one batch, and the items that ask for it, each in its own task."""

    def __init__(self, limit):
        self.budget = Budget(Decimal(limit))
        self.money = Reservations(self.budget, nullcontext)
        self.asked = []

    async def ask(self, *prices):
        """Have items ask, one after the other; let all run as far as they can."""
        loop = asyncio.get_running_loop()
        for price in prices:
            number = len(self.asked)
            self.money.opened(number)
            asking = self._ask(number, Decimal(price))
            self.asked.append(loop.create_task(asking))
        await self.rest()

    async def _ask(self, number, price):
        given = await self.money.reserve(number, price)
        if not given:
            self.money.end()  # as a batch does, in the same step
        return given

    async def end(self, number, price, ended):
        """End an item that had got its price."""
        if not isinstance(ended, OutcomeUnknownError):
            ended = ImageResult(urls=("https://a/b",), credits=Decimal(ended))
        self.money.settle(number, Decimal(price), ended)
        await self.rest()

    async def rest(self):
        """Let every task run until it waits."""
        for _ in range(len(self.asked) + 5):
            await asyncio.sleep(0)

    @property
    def said(self):
        """What each was told: True, False, or None while it waits."""
        told = (
            "cut" if each.cancelled() else each.result() if each.done() else None
            for each in self.asked
        )
        return [*told]


async def test_what_does_not_fit_waits_for_what_comes_back():
    """A reservation that ends for less makes room for the next in line."""
    till = Till("0.10")
    await till.ask(*["0.05"] * 4)
    assert till.said == [True, True, None, None]

    await till.end(0, "0.05", "0.025")
    assert till.said == [True, True, None, None]
    await till.end(1, "0.05", "0.025")
    assert till.said == [True, True, True, None]
    await till.end(2, "0.05", "0.025")
    assert till.said == [True, True, True, False]
    assert (Decimal("0.075"), 0) == (till.budget.spent, till.budget.reserved)


async def test_nothing_overtakes_one_that_waits():
    """What would fit stands in line as well, also at the moment the line moves on."""
    till = Till("0.10")
    await till.ask("0.06", "0.05", "0.01", "0.01")
    assert till.said == [True, None, None, None]

    till.money.settle(0, Decimal("0.06"), ImageResult(urls=("https://a/b",)))
    await till.ask("0.01")
    assert till.said == [True, False, False, False, False]


async def test_unknown_outcomes_are_no_hope():
    """What stays reserved for ever is not waited for."""
    till = Till("0.10")
    await till.ask("0.05", "0.05", "0.05")
    await till.end(0, "0.05", UNKNOWN)
    assert till.said == [True, True, None]
    await till.end(1, "0.05", UNKNOWN)
    assert till.said == [True, True, False]
    assert Decimal("0.10") == till.budget.reserved


async def test_one_that_is_cancelled_while_it_waits_holds_nothing():
    """The next in line takes its turn, also in the step in which its money came."""
    till = Till("0.05")
    await till.ask("0.05", "0.05", "0.03", "0.02")
    till.asked[1].cancel()
    await till.rest()
    assert till.said == [True, "cut", None, None]

    till.money.settle(0, FIVE, ImageResult(urls=("https://a/b",), credits=Decimal(0)))
    till.asked[2].cancel()  # it was told, and did not run yet
    await till.rest()
    assert till.said == [True, "cut", "cut", True]
    assert Decimal("0.02") == till.budget.reserved


async def test_the_end_sends_everybody_home():
    """Once nothing more may be ordered, those in line get nothing, nor who comes."""
    till = Till("0.05")
    await till.ask("0.05", "0.05", "0.05")
    till.money.end()
    await till.rest()
    assert till.said == [True, False, False]
    await till.ask("0")
    assert till.said[-1] is False


@given(
    st.integers(0, 30),
    st.lists(st.integers(0, 9), max_size=12),
    st.lists(st.tuples(st.integers(0, 11), st.sampled_from(ENDS))),
)
def test_the_limit_holds_and_nobody_waits_for_nothing(limit, prices, events):
    """Whatever ends when, the limit holds, and at the end nobody is left waiting."""

    async def play():
        till = Till(limit)
        await till.ask(*prices)
        under_way = {}
        for number, how in [*events, *((n, "half") for n in range(12) for _ in (1, 2))]:
            assert till.budget.spent + till.budget.reserved <= limit
            if number >= len(prices) or number in under_way:
                continue
            if how == "cut":
                till.asked[number].cancel()
                await till.rest()
            if till.said[number] is not True:
                continue
            price = Decimal(prices[number])
            under_way[number] = how
            cost = {"all": price, "half": price / 2, "none": 0, "cut": price}
            await till.end(number, price, UNKNOWN if how == "?" else cost[how])
        assert None not in till.said
        first = till.said.index(False) if False in till.said else len(prices)
        assert True not in till.said[first:]

    asyncio.run(play())
