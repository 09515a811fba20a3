"""``apimodels balance`` and ``models``."""

from __future__ import annotations

from decimal import Decimal


async def test_the_balance(run):
    """The balance is told in words."""
    done = await run("balance")

    assert done.code == 0
    assert done.out.startswith("balance  100")
    assert "USD" in done.out


async def test_the_balance_for_programs(run):
    """With --json money is an exact string."""
    done = await run("balance", "--json")

    (record,) = done.records
    assert Decimal(100) == Decimal(record["balance"])
    assert record["currency"] == "USD"


async def test_models_come_with_price_hints(run):
    """Each model of the live list has its price hint, and the hints their date."""
    done = await run("models")

    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert lines["sparkpix-image"].endswith("image   $0.0100")
    assert lines["gpt-image-2"].endswith("$0.025 to $0.05")
    assert "hints" in done.err
    assert "2026-09-22" in done.err


async def test_models_for_programs(run):
    """With --json a model whose price was not published has none."""
    done = await run("models", "--json")

    models = {record["id"]: record for record in done.records}
    assert models["sparkpix-image"]["prices"] == {"": "0.0100"}
    assert models["kling-v3"]["prices"] == {}


async def test_models_on_a_terminal(run_on_terminal):
    """Before a terminal the models are a table."""
    done = await run_on_terminal("models")

    assert "price hint" in done.out
    assert "kling-v3" in done.out
