"""What stops a whole batch: the budget, an empty account, a refused key."""

from __future__ import annotations

import asyncio
import math
from decimal import Decimal

import pytest
from support.batches import (
    TASK,
    drain,
    orders,
    prompts_ordered,
    rewrite,
    rows,
    tasks,
)
from support.waiting import until

from apimodels_async import (
    AuthenticationError,
    BudgetExceededError,
    ImageRequest,
    InsufficientCreditsError,
    InvalidRequestError,
    JournalError,
    OutcomeUnknownError,
    PermissionDeniedError,
    Session,
    SessionClosedError,
)
from apimodels_async._adapters import Adapters
from apimodels_async.stores.sqlite.journal import Journal

CENT = Decimal("0.01")  # SparkPix Image, in the catalogue and at the emulator


@pytest.mark.parametrize("most", [1, 4, 30])
async def test_max_cost_stops_before_it_is_passed(emulator, session, most):
    """Every paid outcome is handed over, and then comes BudgetExceededError."""
    batch = session.images.batch(
        (f"moose {n}" for n in range(100)), max_pending=most, max_cost=0.055
    )
    outcomes, raised = await drain(batch)

    assert isinstance(raised, BudgetExceededError)
    assert "0.055" in str(raised)
    assert 5 == len(outcomes) == len(orders(emulator))
    assert all(outcome.result for outcome in outcomes.values())
    assert 5 * CENT == batch.spent == emulator.spent
    assert batch.reserved == 0


@pytest.mark.parametrize("most", [1, 7, 50])
async def test_all_is_bought_that_the_money_allows(emulator, session, most):
    """What is reserved at the dearest hint and costs half of it ends no batch early."""
    batch = session.images.batch(tasks(40), max_pending=most, max_cost=1.0)
    outcomes, raised = await drain(batch)

    # The last one needs 0.05 as well, and 0.025 is left.
    assert isinstance(raised, BudgetExceededError)
    assert [*range(39)] == sorted(outcomes)
    assert 39 == len(orders(emulator)) == len(emulator.tasks)
    assert Decimal("0.975") == batch.spent == emulator.spent
    assert batch.reserved == 0


async def test_an_item_waits_for_what_an_earlier_run_ordered(
    emulator, session, tmp_path
):
    """The first new item waits also while an attached task has not been read yet."""
    journal, bought = tmp_path / "j.sqlite", ImageRequest(TASK, "[slow] moose")
    async with session.images.batch([bought], journal=journal) as outcomes:
        await until(lambda: outcomes.pending)
    items = [*tasks(1), bought]
    again = session.images.batch(items, journal=journal, max_cost=0.08, max_pending=2)
    outcomes, raised = await drain(again)
    assert (raised, sorted(outcomes)) == (None, [0, 1])


async def test_a_stop_reaches_items_that_wait_for_money(emulator, session):
    """A refused key ends the batch for them too: none is ordered with what is freed."""
    emulator.fault("create", "unauthorized", times=1, match="moose 1")
    batch = session.images.batch(tasks(9), max_pending=9, max_cost=0.1)
    outcomes, raised = await drain(batch)
    assert isinstance(raised, AuthenticationError)
    assert sorted(outcomes) == [0, 1]
    assert len(orders(emulator)) == 2


async def test_leaving_orders_nothing_that_waits_for_money(emulator, session):
    """What waits when the batch is left is not ordered with what is freed by then."""
    batch = session.images.batch(
        ["[slow] moose"] * 9, max_pending=9, max_cost=0.1, price=lambda _: 0.05
    )
    async with batch:
        await until(lambda: len(orders(emulator)) == 2)
    assert len(orders(emulator)) == len(batch.unread) == 2
    assert (batch.spent, batch.reserved) == (2 * CENT, 0)


async def test_an_unknown_outcome_of_an_earlier_run_is_not_waited_for(
    emulator, session, tmp_path
):
    """Its end is known to change nothing: the batch ends, and does not hang."""
    journal = tmp_path / "j.sqlite"
    emulator.fault("sync", "drop", times=1)
    await drain(session.images.batch(["lost"], journal=journal))
    again = session.images.batch(
        ["moose", "lost"], journal=journal, max_cost=CENT, max_pending=2
    )
    async with asyncio.timeout(30):
        outcomes, raised = await drain(again)
    assert isinstance(raised, BudgetExceededError)
    assert isinstance(outcomes[1].error, OutcomeUnknownError)
    assert (len(orders(emulator)), again.reserved) == (1, CENT)


async def test_a_session_that_closes_ends_the_wait_for_money(emulator, connect):
    """Closed, it says so to who reads, and what waits is not ordered."""
    session = connect(emulator)
    items = tasks(9, "[slow] moose")
    async with session.images.batch(items, max_pending=9, max_cost=0.1) as outcomes:
        await until(lambda: len(outcomes.pending) == 2)
        await session.aclose()
        ended = [await anext(outcomes) for _ in range(2)]
        with pytest.raises(SessionClosedError):
            await anext(outcomes)
    assert [SessionClosedError] * 2 == [type(each.error) for each in ended]
    assert len(orders(emulator)) == 2


async def test_who_stops_ordering_is_given_what_is_under_way(emulator, session):
    """Told to order nothing more, what waits for money goes without an error."""
    batch = session.images.batch(tasks(9), max_pending=9, max_cost=0.1)
    async with batch as outcomes:
        await until(lambda: len(outcomes.pending) == 2)
        batch._stop_ordering()
        assert sorted([outcome.index async for outcome in outcomes]) == [0, 1]
    assert len(orders(emulator)) == 2


async def test_a_limit_met_exactly_is_not_passed(emulator, session):
    """Ten cents buy ten pictures of a cent, and the batch ends without an error."""
    batch = session.images.batch(["moose"] * 10, max_cost=Decimal("0.10"))
    outcomes, raised = await drain(batch)
    assert (len(outcomes), raised) == (10, None)
    assert Decimal("0.10") == batch.spent


async def test_failures_cost_nothing(emulator, session):
    """A failed task's price can be spent on the next one."""
    items = tasks(2, "[refused] moose") + tasks(2)
    batch = session.images.batch(
        items, max_pending=1, max_cost=1, price=lambda _: Decimal("0.45")
    )
    outcomes, raised = await drain(batch)
    assert raised is None
    assert [bool(outcomes[n].result) for n in range(4)] == [False, False, True, True]


async def test_unknown_outcomes_count_as_spent(emulator, session):
    """An order of unknown fate keeps its share of the budget."""
    emulator.fault("sync", "drop", times=2)
    batch = session.images.batch(
        (f"moose {n}" for n in range(9)), max_pending=1, max_cost=0.03
    )
    outcomes, raised = await drain(batch)

    assert isinstance(raised, BudgetExceededError)
    assert len(outcomes) == 3
    assert isinstance(outcomes[0].error, OutcomeUnknownError)
    assert isinstance(outcomes[1].error, OutcomeUnknownError)
    assert (batch.spent, batch.reserved) == (CENT, 2 * CENT)


async def test_a_price_function_counts(emulator, session):
    """The caller's price is reserved; the API's own figure is what was spent."""
    asked = []

    def price(request):
        asked.append(request.prompt)
        return Decimal("0.50")

    batch = session.images.batch(["a", "b"], max_cost=0.6, price=price, max_pending=1)
    outcomes, raised = await drain(batch)
    assert (len(outcomes), raised) == (2, None)
    assert asked == ["a", "b"]
    assert batch.spent == 2 * CENT


async def test_without_a_price_max_cost_refuses(emulator, session):
    """A model of no known price is an InvalidRequestError, before anything is sent."""
    items = [ImageRequest("gpt-image-2-beta", "moose"), "hare"]
    outcomes, raised = await drain(session.images.batch(items, max_cost=1))
    assert raised is None
    error = outcomes[0].error
    assert isinstance(error, InvalidRequestError)
    assert (error.parameter, error.charged) == ("price", False)
    assert "gpt-image-2-beta" in str(error)
    assert prompts_ordered(emulator) == {"hare": 1}


@pytest.mark.parametrize("limit", [None, 1])
@pytest.mark.parametrize(
    "price",
    [Decimal(-1), -0.5, Decimal("NaN"), math.inf, Decimal("1E-20"), "0.02", True, [1]],
)
async def test_a_price_that_is_none_is_refused(emulator, session, price, limit):
    """Below zero, not finite, out of range or no number: nothing is sent for it."""
    batch = session.images.batch(
        ["hare"], price=lambda _: price, max_cost=limit, max_pending=1
    )
    outcomes, raised = await drain(batch)

    assert raised is None
    assert isinstance(outcomes[0].error, InvalidRequestError)
    assert (outcomes[0].error.parameter, outcomes[0].error.charged) == ("price", False)
    assert orders(emulator) == []
    assert batch.reserved == 0


async def test_a_price_may_be_any_number(session):
    """Decimals, whole numbers and floats from 0 on count, also in a journal."""
    prices = iter([Decimal("0.25"), 0, 0.5, Decimal("-0"), 1])
    batch = session.images.batch(
        ["hare"] * 6, price=lambda _: next(prices), max_cost=0.9, max_pending=1
    )
    outcomes, raised = await drain(batch)

    assert isinstance(raised, BudgetExceededError)
    assert [bool(each.result) for each in outcomes.values()] == [True] * 4


async def test_without_max_cost_no_price_is_needed(emulator, session):
    """A model of no known price is ordered where no limit is kept."""
    outcomes, _ = await drain(
        session.images.batch([ImageRequest("gpt-image-2-beta", "moose")])
    )
    assert outcomes[0].result is not None


async def test_an_empty_account_stops_the_batch(connect, tmp_path):
    """402 in the middle: what was bought is handed over, nothing more is sent."""
    from apimodels_async.emulator import Emulator

    journal = tmp_path / "j.sqlite"
    async with Emulator(service_times={"*": 0.05}, credits="0.08") as emulator:
        session = connect(emulator)
        source = iter(tasks(50))
        batch = session.images.batch(source, max_pending=2, journal=journal)
        outcomes, raised = await drain(batch)
        await session.aclose()

    assert isinstance(raised, InsufficientCreditsError)
    paid = [outcome for outcome in outcomes.values() if outcome.result]
    assert len(emulator.tasks) == len(paid) > 1
    refused = [outcome for outcome in outcomes.values() if outcome.error]
    assert 1 <= len(refused) <= 2  # what was under way at that moment
    assert len(orders(emulator)) == len(outcomes)
    assert len(refused) == rows(journal).count("refused")
    assert len([*source]) > 40


@pytest.mark.parametrize(
    ("kind", "error"),
    [("unauthorized", AuthenticationError), ("forbidden", PermissionDeniedError)],
)
async def test_a_refused_key_stops_the_batch(emulator, session, kind, error):
    """401 and 403 on an order would meet the next one as well."""
    emulator.fault("create", kind, times=None, match="moose 5")
    outcomes, raised = await drain(session.images.batch(tasks(30), max_pending=1))
    assert isinstance(raised, error)
    assert [*range(6)] == sorted(outcomes)
    assert sum(bool(outcome.result) for outcome in outcomes.values()) == 5
    assert len(orders(emulator)) == 6


@pytest.mark.parametrize("kind", ["unauthorized", "forbidden"])
async def test_a_key_refused_while_polling_orders_nothing_twice(
    emulator, session, connect, tmp_path, kind
):
    """Tasks that were accepted stay accepted: the next run attaches them."""
    journal = tmp_path / "j.sqlite"
    emulator.fault("poll", kind, times=None)
    batch = session.images.batch(tasks(3), journal=journal, max_cost=1)
    outcomes, raised = await drain(batch)
    assert isinstance(raised, (AuthenticationError, PermissionDeniedError))
    assert {type(raised)} == {type(outcome.error) for outcome in outcomes.values()}
    assert rows(journal) == ["accepted"] * 3
    assert batch.reserved > 0  # each may still complete, and is charged then

    emulator.clear_faults()
    outcomes, raised = await drain(session.images.batch(tasks(3), journal=journal))
    assert raised is None
    assert all(outcome.result for outcome in outcomes.values())
    assert {1} == set(prompts_ordered(emulator).values())


async def test_a_budget_is_for_all_runs_of_a_journal(emulator, session, tmp_path):
    """What earlier runs spent and left unknown counts in the next one."""
    journal = tmp_path / "j.sqlite"
    prompts = [f"moose {n}" for n in range(9)]
    emulator.fault("sync", "drop", times=1)
    options = {"max_pending": 1, "journal": journal}
    _, raised = await drain(session.images.batch(prompts, max_cost=0.04, **options))
    assert isinstance(raised, BudgetExceededError)
    outcomes, raised = await drain(
        session.images.batch(prompts, max_cost=0.06, **options)
    )
    assert isinstance(raised, BudgetExceededError)
    assert 6 == len(outcomes) == len(orders(emulator))
    assert Decimal("0.05") == emulator.spent


async def test_a_task_still_under_way_counts_in_the_next_run(
    emulator, session, connect, tmp_path
):
    """An attached task's price is reserved before anything new is ordered."""
    journal = tmp_path / "j.sqlite"
    slow = [ImageRequest(TASK, "[slow] moose"), ImageRequest(TASK, "hare")]
    async with session.images.batch(slow, max_pending=1, journal=journal) as outcomes:
        await until(lambda: outcomes.pending)
    # Each is reserved at 0.05 and costs 0.025.
    for max_cost, bought, said in [
        (0.07, 1, "0.025 spent, 0.00 reserved"),
        (0.08, 2, "None"),
    ]:
        again = session.images.batch(
            slow, journal=journal, max_cost=max_cost, max_pending=2
        )
        outcomes, raised = await drain(again)
        assert said in str(raised)
        assert [*outcomes] == [*range(bought)]
        assert len(emulator.tasks) == bought
        assert again.spent == emulator.spent


async def test_a_limit_knows_earlier_runs_before_their_lines_are_read(
    emulator, session, tmp_path
):
    """What earlier runs spent counts from the start, whatever is read first."""
    journal = tmp_path / "j.sqlite"
    async with session.images.batch(["a", "b"], journal=journal) as outcomes:
        assert len([outcome async for outcome in outcomes]) == 2
    batch = session.images.batch(
        ["new", "a", "b"], journal=journal, max_cost=0.02, max_pending=1
    )
    async with batch as outcomes:
        with pytest.raises(BudgetExceededError):
            async for _ in outcomes:
                pass
    assert Decimal("0.02") == batch.spent == emulator.spent


class SlowJournal(Journal):
    """Finds the second item only after the first has ended."""

    first_ended = asyncio.Event()
    asked = 0

    async def find(self, scope, key):
        """Look, and take a while over it."""
        self.asked += 1
        if self.asked > 1:
            await self.first_ended.wait()
        return await super().find(scope, key)


class SlowAdapters(Adapters):
    """Those of a session, with a slow journal."""

    def journal(self, path):
        """Return it."""
        return SlowJournal(path)


class SlowSession(Session):
    """A session whose batches have a slow journal."""

    def _make_adapters(self):
        return SlowAdapters()


async def test_what_was_read_before_a_stop_is_not_ordered(emulator, connect, tmp_path):
    """An item whose turn comes after the stop is not sent."""
    emulator.fault("sync", "envelope", code=402)
    session = connect(emulator, kind=SlowSession)
    batch = session.images.batch(["a", "b"], max_pending=2, journal=tmp_path / "j")
    async with batch as outcomes:
        assert isinstance((await anext(outcomes)).error, InsufficientCreditsError)
        SlowJournal.first_ended.set()
        with pytest.raises(InsufficientCreditsError):
            await anext(outcomes)
    assert len(orders(emulator)) == 1


async def test_an_amount_that_is_damaged_lets_go_of_the_journal(session, tmp_path):
    """A journal whose sums cannot be read is refused, and closed: it can be mended."""
    journal = tmp_path / "j.sqlite"
    await drain(session.images.batch(["moose"], journal=journal))
    rewrite(journal, "UPDATE orders SET state = 'unknown', price = 'x'")
    with pytest.raises(JournalError):
        await session.images.batch(["moose"], journal=journal).__aenter__()
    rewrite(journal, "UPDATE orders SET state = 'unknown', price = '0.01'")
    batch = session.images.batch(["moose"], journal=journal)
    await drain(batch)

    assert batch.reserved == Decimal("0.01")
