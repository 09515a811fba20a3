"""What costs, when, and what does not."""

from decimal import Decimal

import pytest

from apimodels_async.emulator import Emulator

pytestmark = pytest.mark.anyio


async def test_a_price_is_held_then_deducted(api, emulator):
    """A price is frozen while a task runs and deducted once when it completes."""
    emulator._world.durations._given["*"] = 100
    await api.submit()
    _, running = await api.ask("GET", "balance")
    emulator.advance(100)
    _, settled = await api.ask("GET", "balance")

    assert running["data"] == {
        "balance": 99.975,
        "total": 100.0,
        "frozen": 0.025,
        "currency": "USD",
    }
    assert settled["data"]["total"] == settled["data"]["balance"] == 99.975
    assert emulator.spent == Decimal("0.025")
    assert (emulator.total, emulator.frozen) == (Decimal("99.975"), 0)


async def test_a_low_balance_is_refused():
    """When the balance is below the price, 402 is answered and nothing is made."""
    import aiohttp

    async with Emulator(credits="0.03") as emulator, aiohttp.ClientSession() as http:
        statuses = []
        for _ in range(2):
            async with http.post(
                f"{emulator.base_url}/images/generations",
                json={"model": "gpt-image-2", "prompt": "x"},
                headers={"Authorization": f"Bearer {emulator.api_key}"},
            ) as reply:
                statuses.append((reply.status, (await reply.json())["code"]))

        assert statuses == [(200, 200), (402, 402)]
        assert len(emulator.tasks) == 1


async def test_a_synchronous_picture_is_charged_at_once(api, emulator):
    """A SparkPix answer means its price was deducted."""
    _, body = await api.ask("POST", "images/generations-sync", json={"prompt": "a fox"})

    assert body["data"]["credits"] == 0.01
    assert emulator.spent == Decimal("0.0100")
    assert emulator.requests[-1].charged
    assert [made.charged for made in emulator.generations.values()] == [True]


@pytest.mark.parametrize(("tag", "status"), [("[refused]", 400), ("[fail]", 500)])
async def test_a_synchronous_failure_costs_nothing(api, emulator, tag, status):
    """A refused or failed synchronous call answers an error and is not charged."""
    answered, body = await api.ask(
        "POST", "images/generations-sync", json={"prompt": tag}
    )

    assert answered == body["code"] == status
    assert (emulator.spent, emulator.frozen) == (0, 0)


@pytest.mark.parametrize("path", ["images/generations", "images/generations-sync"])
@pytest.mark.parametrize("kind", ["reset", "drop", "truncated", "html", "rate_limit"])
@pytest.mark.parametrize("after", [False, True])
async def test_a_destroyed_answer_is_charged_only_after_the_effect(
    api, emulator, path, kind, after
):
    """With after=True the work is done and paid; without, nothing was made."""
    import aiohttp

    where = "sync" if path.endswith("sync") else "create"
    fault = emulator.fault(where, kind, after=after)
    try:
        await api.send("POST", path, json={"model": "sparkpix-image", "prompt": "x"})
    except aiohttp.ClientError:
        assert kind in ("reset", "drop", "truncated")
    emulator.advance(10)

    made = [*emulator.tasks.values(), *emulator.generations.values()]
    assert [each.charged for each in made] == ([True] if after else [])
    assert emulator.spent == (Decimal("0.01") if after else 0)
    assert fault.hits == 1
    record = emulator.requests[-1]
    cut = kind in ("reset", "drop", "truncated")
    assert record.status == (None if cut else 429 if kind == "rate_limit" else 200)
    assert record.charged is after
