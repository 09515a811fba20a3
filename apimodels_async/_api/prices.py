"""
What an order should cost, by the published prices: a hint, never the API's word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apimodels_async._api import requests
from apimodels_async._api.catalogue import find_model
from apimodels_async.models import CheckedRequest, ImageRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from typing import Any

    from apimodels_async.models import (
        AnyRequest,
        KnownModel,
    )


def price_of(request: AnyRequest) -> Decimal | None:
    """Return the published price of *request* in US dollars; None: there is none."""
    known = find_model(requests.model_of(request))
    if known is None:
        return None
    params = request.params if isinstance(request, ImageRequest) else {}
    each = price_hint(known, params.get("resolution"), params.get("quality"))
    count = params.get("n", 1)
    if each is None or not isinstance(count, int):
        return each
    return each * max(1, count)


def price_hint(
    known: KnownModel, resolution: object, quality: object
) -> Decimal | None:
    """
    Return the catalogue's price of one picture, or the highest that could be meant.

    None: the catalogue has no price for the model.
    """
    tiers = known.prices
    if not tiers:
        return None
    # The vendor's pages write "2k" and "2K".
    wanted = [part.upper() for part in (resolution, quality) if isinstance(part, str)]
    tiers = {tier.upper(): usd for tier, usd in tiers.items()}
    for tier in ("/".join(wanted), wanted[0] if wanted else "", ""):
        if tier in tiers:
            return tiers[tier]
    # A tier left to the API's default is not known: the dearest keeps the budget.
    near = [usd for tier, usd in tiers.items() if set(wanted) <= set(tier.split("/"))]
    return max(near or tiers.values())


def check_request(item: str | Mapping[str, Any] | AnyRequest) -> CheckedRequest:
    """
    Read, check and price *item* as a batch would; needs no session and no key.

    Args:
        item: A prompt, a mapping of the API's parameters (``prompt`` and ``model``
            among them), or a request value.

    Raises:
        InvalidRequestError: It would be refused before anything is sent.
    """
    request = requests.read_request(item)
    requests.encode(request)
    return CheckedRequest(
        request=request, model=requests.model_of(request), price=price_of(request)
    )
