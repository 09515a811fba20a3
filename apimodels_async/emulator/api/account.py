"""Endpoints for the balance and the list of models."""

from aiohttp import web

from apimodels_async.emulator.api.gate import Call
from apimodels_async.emulator.service.catalogue import MODELS
from apimodels_async.emulator.service.values import envelope
from apimodels_async.emulator.world import World


async def balance(world: World, _call: Call) -> web.Response:
    """
    GET /balance.

    Source:
        Account page: balance = total - frozen, USD.
    """
    world.timeline.run_due()
    account = world.account
    return web.json_response(
        envelope(
            {
                "balance": float(account.balance),
                "total": float(account.total),
                "frozen": float(account.frozen),
                "currency": "USD",
            }
        )
    )


async def models(_world: World, _call: Call) -> web.Response:
    """GET /models, without an envelope as the vendor's own tools read it."""
    listed = [
        {"id": model.id, "modality": "image", "endpoint": f"/api/v1{model.endpoint}"}
        for model in MODELS.values()
    ]
    return web.json_response({"data": listed})
