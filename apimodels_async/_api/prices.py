"""
What an order should cost, by the published prices: a hint, never the API's word.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

from apimodels_async._api import requests
from apimodels_async._api.catalogue import find_model
from apimodels_async._api.checks import plain
from apimodels_async._api.parameters import count_images
from apimodels_async.models import CheckedRequest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal
    from typing import Any

    from apimodels_async.model_info import KnownModel
    from apimodels_async.models import (
        AnyRequest,
    )


_DIGITS: Final = r"\s*\+?(\d{1,9})(\.0*)?\s*"


def price_of(request: AnyRequest) -> Decimal | None:
    """
    Return the published price of *request* in US dollars, its input images included.

    What the request leaves open costs the most it can. None: there is no price, or
    nobody can tell how many pictures will be charged.
    """
    known = find_model(requests.model_of(request))
    if known is None:
        return None
    params = requests.sent_params(request)
    layers = params.get("layer_decomposition")
    if layers is not None and layers is not False:
        return None  # each layer is a picture, and the API decides how many there are
    each = price_hint(known, _resolution(known, params), params.get("quality"))
    count = _count(params.get("n"))
    if each is None or count is None:
        return None
    return (each + known.image_price * count_images(params)) * count


def _resolution(known: KnownModel, params: Mapping[str, Any]) -> object:
    """Return the tier that is asked for by either name; None: it is not clear."""
    resolution, size = params.get("resolution"), params.get("size")
    if size is None:
        return resolution
    tiers = {part for tier in known.prices for part in tier.upper().split("/")}
    word = str(size).upper()
    return size if resolution is None and word in tiers else None


def _count(given: object) -> int | None:
    """Return how many pictures *given* is, as the API will read it; None: it cannot."""
    number = plain(given)
    match number:
        case None:
            return 1
        case int():
            return max(1, number)
        case float() if math.isfinite(number):
            return max(1, math.ceil(number))
        case str() if found := re.fullmatch(_DIGITS, number, re.ASCII):
            return max(1, int(found[1]))
        case _:
            return None


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
    words = (plain(part) for part in (resolution, quality))
    # Programs that read 512 as a number mean the word.
    wanted = [str(part).upper() for part in words if isinstance(part, (str, int))]
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
