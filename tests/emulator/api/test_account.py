"""The balance and the list of models."""


async def test_the_balance_shows_what_is_held(api, emulator):
    """GET /balance answers what is held for running tasks and what is left."""
    await api.submit("[stuck]")
    _, body = await api.ask("GET", "balance")

    assert body["data"] == {
        "balance": 99.975,
        "total": 100.0,
        "frozen": 0.025,
        "currency": "USD",
    }


async def test_the_models_are_listed(api):
    """GET /models lists ids with modality and endpoint."""
    _, body = await api.ask("GET", "models")
    endpoints = {each["id"]: each["endpoint"] for each in body["data"]}

    assert endpoints["sparkpix-image"] == "/api/v1/images/generations-sync"
    assert endpoints["gpt-image-2"] == "/api/v1/images/generations"
    assert len(endpoints) >= 35
