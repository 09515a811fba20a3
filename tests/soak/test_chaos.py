"""Hundreds of orders through a network that spoils every one of them, by seed."""

from __future__ import annotations

import pytest
from soak import campaign
from soak.checker import Books, Intent, check, found_again, leaks
from support.proxy import PAID_KINDS, Fault, draw_schedule, shrink

from apimodels_async import ConnectionFailedError, OutcomeUnknownError
from apimodels_async.emulator.service.values import EmulatedTask

SEED = 1000
INTENTS = 120  # the nightly session orders thousands

# With a shared pool, an answer nobody asked for that is under way while the next
# request leaves is that one's answer: who fears that wants fresh connections.
POOLED = tuple(kind for kind in PAID_KINDS if kind != "stray")


@pytest.mark.parametrize("fresh", [False, True], ids=["pool", "fresh"])
async def test_no_schedule_of_faults_loses_or_doubles_an_order(fresh):
    """Every order is paid for at most once, and every payment is accounted for."""
    kinds = PAID_KINDS if fresh else POOLED
    report = await campaign.run(SEED, INTENTS, fresh=fresh, kinds=kinds)

    assert report.broken == [], await campaign.least(report, fresh=fresh, kinds=kinds)
    assert sum(report.fates.values()) == INTENTS
    assert report.fates["returned"] > 0
    assert report.fates["unknown"] > 0


async def test_callbacks_find_every_charged_order_again():
    """With a receiver up, unknown is only what was not charged; none is mistaken."""
    report = await campaign.run(SEED, INTENTS, kinds=POOLED, called_back=True)

    assert report.broken == []
    assert report.fates["returned"] > 0
    assert report.fates["unknown"] > 0


async def test_what_never_left_is_sent_again_and_succeeds():
    """Orders that meet a moment without connections are all repeated and returned."""
    schedule = {
        f"post {number}": Fault("down", seconds=0.05) for number in range(0, 120, 30)
    }
    report = await campaign.run(
        7, 120, schedule=schedule, lent=True, fresh=True, attempts=10
    )

    assert report.broken == []
    assert report.not_sent > 0
    assert report.tries - 120 == report.not_sent
    assert report.fates["refused"] == 0


# --- the tools themselves ---------------------------------------------------------


async def test_a_schedule_is_shrunk_to_what_matters():
    """Of a hundred faults the two that fail together are left."""
    schedule = {f"post {number}": Fault("cut_up") for number in range(100)}
    tried = []

    async def fails(part):
        tried.append(len(part))
        return {"post 13", "post 77"} <= part.keys()

    assert set(await shrink(schedule, fails)) == {"post 13", "post 77"}
    assert len(tried) < 120


def test_a_seed_is_a_schedule():
    """The same seed draws the same faults, another one others."""
    assert draw_schedule(5, 50) == draw_schedule(5, 50)
    assert draw_schedule(5, 50) != draw_schedule(6, 50)


def work(task_id, prompt, *, charged=True):
    """Return a row of the emulator's books."""
    url = f"http://x/{task_id}"
    return EmulatedTask(
        task_id, "m", prompt, {}, 0, 0, "sync", 0, 0, lambda: 0, urls=(url,),
        charged=charged,
    )  # fmt: skip


VIOLATIONS = {
    "I1": ([work("a", "p"), work("b", "p")], {"url": "http://x/a"}),
    "I2": ([work("a", "p")], {}),
    "I3": ([work("a", "p")], {"error": ConnectionFailedError("never left")}),
    "I4": (
        [work("a", "p", charged=False), work("b", "q")],
        {"error": OutcomeUnknownError("?"), "task_id": "b"},
    ),
    "I5": ([work("a", "p"), work("b", "q")], {"url": "http://x/b"}),
}


@pytest.mark.parametrize("law", VIOLATIONS)
def test_the_checker_sees_a_violation(law):
    """Each invariant is broken once, and named."""
    works, facts = VIOLATIONS[law]
    intent = Intent(1, "generate", "p", ended=1, **facts)

    assert [line[:2] for line in check([intent], Books(works))] == [law]


def test_the_checker_counts_endings_posts_and_polls():
    """An order told twice, sent twice or polled too often is seen."""
    row = work("a", "p")
    row.polls = 9
    books = Books([row])
    books.posts["p"] = 2
    intent = Intent(1, "generate", "p", url="http://x/a", ended=2)

    found = check([intent], books, polls_max=5)

    assert [line[:2] for line in found] == ["I5", "I6", "I6"]


def test_the_checker_sees_what_no_callback_found():
    """A charged order of unknown fate is one that should have been found again."""
    intent = Intent(1, "generate", "p", error=OutcomeUnknownError("?"), ended=1)

    assert [line[:2] for line in found_again([intent], Books([work("a", "p")]))] == [
        "I9"
    ]
    assert found_again([intent], Books([work("a", "p", charged=False)])) == []


def test_the_checker_is_content_with_what_is_right():
    """Returned with its own picture, or unknown: nothing to report."""
    works = [work("a", "p"), work("b", "q")]
    books = Books(works)
    history = [
        Intent(1, "generate", "p", task_id="a", url="http://x/a", ended=1),
        Intent(2, "generate", "q", error=OutcomeUnknownError("?"), ended=1),
    ]

    assert check(history, books) == []
    assert leaks(["fine", "a key"], "key") == ["a key"]
