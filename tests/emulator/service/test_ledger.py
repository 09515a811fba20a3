"""Tasks, their timers and the account, on a clock that is moved by hand."""

import asyncio
from decimal import Decimal

import pytest

from apimodels_async.emulator.service.catalogue import MODELS
from apimodels_async.emulator.service.ledger import Account, Ledger, Order
from apimodels_async.emulator.service.timeline import Timeline
from apimodels_async.emulator.service.values import RefusalError, seeded

PRICE = Decimal("0.025")


def order(prompt="a moose", service_s=10.0, **more):
    """Return an order of one picture."""
    model = MODELS["gpt-image-2"]
    values = {"endpoint": "create", "params": {}, "price": PRICE, **more}
    return Order(model=model, prompt=prompt, service_s=service_s, **values)


@pytest.fixture
async def ledger():
    """Return a ledger with 1,000 USD."""
    timeline = Timeline()
    yield Ledger(
        timeline, Account(Decimal(1000)), seeded(0, "x"), lambda: "", lambda _task: None
    )
    timeline.close()


async def test_a_price_is_held_then_deducted_once(ledger):
    """A price is frozen while a task runs and deducted when it completes."""
    task = ledger.accept(order())
    running = (ledger.account.total, ledger.account.frozen, ledger.account.balance)
    ledger.timeline.advance(11)
    ledger.timeline.advance(11)

    assert running == (1000, PRICE, 1000 - PRICE)
    assert (task.state, task.charged) == ("completed", True)
    assert (ledger.account.spent, ledger.account.frozen) == (PRICE, 0)
    assert ledger.account.total == 1000 - PRICE


async def test_a_failed_task_costs_nothing(ledger):
    """What was held for a task that fails is given back."""
    task = ledger.accept(order("[fail]"))
    ledger.timeline.advance(11)

    assert (task.state, task.charged) == ("failed", False)
    assert (ledger.account.spent, ledger.account.balance) == (0, 1000)


async def test_a_stuck_task_stays(ledger):
    """A prompt with [stuck] is unfinished a year later, and its price is held."""
    task = ledger.accept(order("[stuck]"))
    ledger.timeline.advance(365 * 24 * 3600)

    assert task.state == "pending"
    assert ledger.account.frozen == PRICE


async def test_a_low_balance_enters_nothing(ledger):
    """When the balance is below the price, 402 is raised and nothing is entered."""
    ledger.account.total = PRICE * 3 / 2
    ledger.accept(order())
    with pytest.raises(RefusalError, match="Insufficient credits") as caught:
        ledger.accept(order())

    assert caught.value.status == 402
    assert len(ledger.tasks) == 1


async def test_tasks_are_bounded(ledger):
    """Tasks beyond the limit push out the oldest settled one, poll times just stop."""
    ledger.kept_tasks = ledger.kept_poll_times = 1
    first = ledger.accept(order())
    ledger.timeline.advance(11)
    ledger.count_poll(first.id, 1.0)
    ledger.count_poll(first.id, 2.0)
    second = ledger.accept(order())

    assert list(ledger.tasks) == [second.id]
    assert (first.polls, first.poll_times) == (2, [1.0])


async def test_ten_thousand_tasks_are_no_trouble(ledger):
    """Ten thousand tasks settle without an asyncio task each."""
    before = len(asyncio.all_tasks())
    for at in range(10_000):
        ledger.accept(order(service_s=10 + at % 7))

    assert len(asyncio.all_tasks()) == before
    assert ledger.peak_pending == 10_000
    ledger.timeline.advance(20)
    assert {task.state for task in ledger.tasks.values()} == {"completed"}
    assert ledger.account.spent == 250
