"""
What a batch may be told, checked before anything is sent.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apimodels_async._api import checks, requests
from apimodels_async._api.prices import price_of
from apimodels_async._core.money.budget import Budget
from apimodels_async._io.files.destinations import read_destination
from apimodels_async._saving import Provenance
from apimodels_async.batch.batch import BatchOptions

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from apimodels_async._io.files.destinations import Destination
    from apimodels_async.batch.parts import Folder
    from apimodels_async.models import AnyRequest


def read_options(  # noqa: PLR0913  options, all by keyword
    *,
    defaults: Mapping[str, Any],
    names: Iterable[str],
    max_pending: int,
    max_cost: Decimal | float | None,
    price: Callable[[AnyRequest], Decimal | float | None] | None,
    journal: str | os.PathLike[str] | None,
    name: str | None,
    download_to: Destination | None,
    sidecar: bool,
    embed: bool,
    retry_failed: bool,
    resubmit_unknown: bool,
    start: int,
    step: int,
    folder: Folder | None = None,
) -> tuple[Budget, BatchOptions]:
    """
    Return the budget and the options of a batch.

    Args:
        defaults: Parameters of every item; those that are None count as not given.

        names: Of the batch's own options, for "did you mean".

        folder: Where pictures go, instead of *download_to*.

    Raises:
        ConfigurationError: *embed* without Pillow, or object storage without obstore.
        InvalidRequestError: A parameter is out of range.
    """
    given = {key: value for key, value in defaults.items() if value is not None}
    requests.check_defaults(given, names)
    checks.check_count("max_pending", max_pending)
    checks.check_count("start", start, least=0)
    checks.check_count("step", step)
    checks.check_amount("max_cost", max_cost)
    checks.check_path("journal", journal, of_file=True)
    if price is not None and not callable(price):
        checks.refuse(
            "price", price, "a function from a request to US dollars, or None"
        )
    known = None
    if download_to is not None:
        known = read_destination(download_to, "download_to")
    provenance = Provenance(sidecar=sidecar, embed=embed)
    provenance.check()
    limit = None
    if max_cost is not None:
        exact = isinstance(max_cost, Decimal)
        limit = Decimal(str(max_cost if exact else checks.plain(max_cost)))
    options = BatchOptions(
        # A journal takes none of numpy's numbers.
        numbers=count(checks.plain(start), checks.plain(step)),
        defaults=given,
        max_pending=checks.plain(max_pending),
        price_of=price or price_of,
        journal=None if journal is None else Path(journal),
        name=name,
        download_to=known,
        folder=folder,
        provenance=provenance,
        retry_failed=retry_failed,
        resubmit_unknown=resubmit_unknown,
    )
    return Budget(limit), options
