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
    assert lines["sparkpix-image"].endswith("image  $0.0100")
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


async def test_one_model_is_shown_in_whole(run, monkeypatch):
    """Parameters with what they take, prices, input images, and the day; no key."""
    monkeypatch.delenv("APIMODELS_API_KEY", raising=False)
    done = await run("models", "gpt-image-2")

    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[:3] == [
        "model    gpt-image-2",
        "prices   1K $0.025, 2K $0.03, 4K $0.05 a picture",
        "images   image_urls, at most 16",
    ]
    assert "  aspect_ratio  a ratio such as 16:9, or auto (vendor code)" in lines
    assert "  resolution    one of 1K, 2K, 4K (vendor code)" in lines
    assert "Read on 2026-09-22" in done.err


async def test_one_model_for_programs(run):
    """With --json it is one object; of a model without images, too."""
    done = await run("models", "z-image-pro", "--json")

    (record,) = done.records
    assert "not published" in (await run("models", "kling-v3")).out
    assert (record["id"], record["image_field"]) == ("z-image-pro", None)
    width = {each["name"]: each for each in record["parameters"]}["width"]
    assert (width["type"], width["low"], width["high"]) == ("whole", 256, 2560)


async def test_a_model_that_is_not_known_is_said(run):
    """What is close to it is offered."""
    done = await run("models", "gpt-image-3")

    assert done.code == 2
    said = 'model "gpt-image-3" is not known | tip: did you mean gpt-image-2?'
    assert said in done.err
