"""
What makes a task that of a lost order: the API's word, and never that it was named.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from support.desks import OrderingRig
from support.fakes import EPOCH, completed, failed, refused, reply, state
from support.virtual_time import virtual_time

from apimodels_async import ImageRequest, OutcomeUnknownError
from apimodels_async._ports import Failure, Phase
from apimodels_async.webhooks import Callback, Hint
from apimodels_async.webhooks.expected_callback import NAMED_MAX, REFUTED_MAX

MOOSE = ImageRequest("gpt-image-2", "a moose")
OTHERS_AGE_S = 600
"""Seconds before the order that a task of somebody else's was made."""


anyio_backend = virtual_time


def ms(seconds):
    """Return a moment of the virtual clock as the API tells it."""
    return int((EPOCH.timestamp() + seconds) * 1000)


class Desk(OrderingRig):
    """
    Ordering with callbacks, whose orders are answered by *answers*, the last for good.
    """

    def __init__(self, *answers, tasks, patience=60.0):
        answers = list(answers)

        def script(call):
            if call.request.method == "POST":
                return answers.pop(0) if len(answers) > 1 else answers[0]
            return tasks.get(call.task_id, lambda _: refused(404))(call)

        callback = Callback("https://app.example/hooks", patience=patience)
        super().__init__(script, callback=callback)

    async def __aenter__(self):
        self.callbacks.start(self.ordering.adopt_late)
        await asyncio.sleep(OTHERS_AGE_S)
        self.order = asyncio.create_task(self.ordering.submit(MOOSE))
        await asyncio.sleep(1)
        (self.expected,) = self.callbacks._expected.values()
        return self

    async def __aexit__(self, *error):
        self.callbacks.give_up()
        await asyncio.gather(self.order, return_exceptions=True)
        await self.callbacks.aclose()
        await self.ordering.drain()
        await super().__aexit__(*error)

    async def call(self, task_id, *, then=0.0):
        """Call the order's address, naming a task."""
        await self.callback.relay.publish(Hint(self.expected.nonce, task_id))
        await asyncio.sleep(then)

    def looks(self):
        """Return the ids that were asked for, in their order."""
        return [call.task_id for call in self.transport.calls if call.task_id]


LOST = Failure(sent=True, phase=Phase.ANSWER, reason="reset")


def mine(call):
    """Answer for a task that was made by the order."""
    return completed(call.task_id, createTime=ms(OTHERS_AGE_S))


def elders(call):
    """Answer for a task that was made long before."""
    return completed(call.task_id, createTime=ms(0))


def undated(call):
    """Answer for a task of which nobody says when it was made."""
    return failed(call.task_id)


def failed_elder(call):
    """Answer for a task that failed long before."""
    data = {"taskId": call.task_id, "state": "failed", "failMsg": "no"}
    return reply({**data, "createTime": ms(0), "completeTime": ms(20)})


FORGED = {"completed": elders, "failed": failed_elder, "undated": undated}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
async def test_a_task_is_not_the_orders_for_being_named(forged):
    """One of another time is passed over, and the API's own call finds the order's."""
    async with Desk(LOST, tasks={"other": forged, "mine": mine}) as desk:
        await desk.call("other", then=5)
        assert not desk.order.done()
        await desk.call("mine", then=5)
        handle = await desk.order
        assert handle.task_id == "mine"
        assert desk.looks() == ["other", "mine"]
        stats = desk.counters
        assert (stats.submitted, stats.completed, stats.failed) == (1, 1, 0)


async def test_nothing_but_a_forged_call_leaves_it_unknown():
    """The order's fate stays open: no id, no word about money."""
    async with Desk(LOST, tasks={"other": failed_elder}, patience=20) as desk:
        for _ in range(5):
            await desk.call("other", then=1)
        with pytest.raises(OutcomeUnknownError) as caught:
            await desk.order
        assert (caught.value.task_id, caught.value.charged) == (None, None)
        assert desk.looks() == ["other"]
        assert desk.counters.failed == 0


async def test_a_running_task_is_no_answer_to_a_call():
    """Callbacks come at the end: one that runs is left, and may be named again."""
    ended = asyncio.Event()

    def runs(call):
        return mine(call) if ended.is_set() else state(call.task_id, "processing")

    async with Desk(LOST, tasks={"mine": runs}) as desk:
        await desk.call("mine", then=20)
        assert not desk.order.done()
        assert list(desk.ledger) == []
        looked = len(desk.looks())
        assert looked <= 4
        ended.set()
        await desk.call("mine", then=5)
        assert (await desk.order).task_id == "mine"


async def test_a_flood_costs_one_look_an_interval():
    """Before and after the order is given up, whatever the calls name."""
    async with Desk(LOST, tasks={}, patience=10) as desk:
        for number in range(3 * NAMED_MAX):
            await desk.call(f"before{number}")
        await asyncio.sleep(30)
        assert isinstance(desk.order.exception(), OutcomeUnknownError)
        for number in range(300):
            await desk.call(f"after{number}", then=0.01)
            assert len(desk.ledger) <= 1
        await asyncio.sleep(60)
        times = desk.transport.times()[1:]
        assert len(times) <= 110 / 2.5
        assert min(later - sooner for sooner, later in pairwise(times)) >= 2.3


async def test_what_is_refuted_is_not_kept_without_bound():
    """A forger who knows many tasks fills no memory."""
    async with Desk(LOST, tasks={}) as desk:
        for number in range(2 * REFUTED_MAX):
            desk.expected.refute(f"t{number}")
        assert len(desk.expected.refuted) == REFUTED_MAX


async def test_a_late_call_makes_an_orphan_of_the_orders_own_task_only():
    """After the order was given up, the same evidence is asked for."""
    tasks = {"other": elders, "mine": mine}
    async with Desk(LOST, tasks=tasks, patience=2) as desk:
        await asyncio.sleep(5)
        assert desk.order.exception() is not None
        await desk.call("other", then=5)
        assert desk.ordering.orphans == []
        await desk.call("mine", then=5)
        assert [each.task_id for each in desk.ordering.orphans] == ["mine"]


class Named:
    """The log of an order with an idempotency key, which writes nothing."""

    idempotency_key = "chat42/msg17"

    async def may_have(self, task_id):
        """Know of no other order."""
        return True

    def found(self, task_id):
        """Write nothing."""

    def settled(self, outcome):
        """Write nothing."""


@pytest.mark.parametrize(
    ("record", "words"), [(None, "an order"), (Named(), "order 'chat42/msg17'")]
)
async def test_a_late_call_is_logged_with_the_order_s_key(caplog, record, words):
    """The line that names the task names the order, where that has a name."""
    async with Desk(LOST, tasks={"mine": mine}, patience=2) as desk:
        await asyncio.sleep(5)
        assert desk.order.exception() is not None
        desk.expected.record = record
        await desk.call("mine", then=5)

    assert f"{words} of unknown fate is task mine" in caplog.text


async def test_a_salvaged_id_that_is_another_orders_is_not_told():
    """Neither in the error nor to the callbacks; nor is it taken for an order's own."""
    broken = Failure(
        sent=True, phase=Phase.BODY, reason="cut", body=b'{"data":{"taskId":"mine","'
    )
    async with Desk(broken, tasks={"mine": mine}, patience=2) as desk:
        assert (await desk.order).task_id == "mine"
        with pytest.raises(OutcomeUnknownError) as caught:
            await desk.ordering.submit(MOOSE)
        assert caught.value.task_id is None
        assert "not this order's" in str(caught.value)


async def test_a_salvaged_id_is_the_first_orders_that_shows_it():
    """Of broken answers with one id the first has it, with and without callbacks."""
    broken = Failure(
        sent=True, phase=Phase.BODY, reason="cut", body=b'{"data":{"taskId":"t1","'
    )
    async with Desk(broken, tasks={}, patience=2) as desk:
        await asyncio.sleep(30)
        told = [desk.order.exception()]
        for callbacks in (desk.callbacks, None):
            desk.ordering._callbacks = callbacks
            with pytest.raises(OutcomeUnknownError) as caught:
                await desk.ordering.submit(MOOSE)
            told.append(caught.value)
        assert [error.task_id for error in told] == ["t1", None, None]


async def test_a_salvaged_id_is_its_orders_while_that_waits():
    """A stray copy of the answer gives it to no other order, between two looks too."""
    shown = b'{"data":{"taskId":"t1","'
    broken = Failure(sent=True, phase=Phase.BODY, reason="cut", body=shown)
    gone = {"t1": lambda _: refused(503)}
    async with Desk(broken, state("t1", "pending"), tasks=gone) as desk:
        await asyncio.sleep(10)
        assert not desk.order.done()
        with pytest.raises(OutcomeUnknownError, match="second order"):
            await desk.ordering.submit(MOOSE)


async def test_a_salvaged_id_that_is_not_its_orders_is_free_for_its_own():
    """An order that is found under another id leaves that one to who bought it."""
    shown = b'{"data":{"taskId":"t1","'
    broken = Failure(sent=True, phase=Phase.BODY, reason="cut", body=shown)
    async with Desk(broken, state("t1", "pending"), tasks={"mine": mine}) as desk:
        await desk.call("mine", then=20)
        assert (await desk.order).task_id == "mine"
        assert (await desk.ordering.submit(MOOSE)).task_id == "t1"


async def test_an_answer_that_names_an_attached_task_is_another_orders():
    """Also one that has ended since: what was taken up is not what is bought now."""
    stray = completed("t1")
    async with Desk(stray, tasks={"t1": elders}) as desk:
        await asyncio.gather(desk.order, return_exceptions=True)
        desk.ledger.claimed.clear()
        await desk.ordering.attach("t1")
        with pytest.raises(OutcomeUnknownError, match="second order"):
            await desk.ordering.submit(MOOSE)


async def test_a_look_becomes_a_task_once_somebody_attaches_it():
    """Who attaches what a callback named waits for it, and it is told of as pending."""
    async with Desk(
        LOST, tasks={"t1": lambda call: state(call.task_id, "pending")}
    ) as desk:
        await desk.call("t1", then=1)
        assert list(desk.ledger) == []
        handle = desk.ordering.attach("t1")
        await asyncio.sleep(30)
        assert list(desk.ledger) == ["t1"]
        assert not handle.done
        desk.order.cancel()
