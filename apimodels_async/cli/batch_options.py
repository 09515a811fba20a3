"""
The options of ``apimodels batch`` and ``apimodels resume``.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from attrs import frozen
from cyclopts import Parameter, validators

from apimodels_async.cli.options import Flag

Count = Annotated[
    int | None, Parameter(validator=validators.Number(gte=1), show_default=False)
]
Money = Annotated[
    Decimal | None, Parameter(validator=validators.Number(gt=0), show_default=False)
]


@Parameter(name="*")
@frozen(kw_only=True)
class Limits:
    """
    How much at once, and how much in all.
    """

    max_pending: Count = None
    """Pictures under way at once, 50 unless given."""

    max_cost: Money = None
    """US dollars, for all runs with this folder together; stops before it is passed."""


@Parameter(name="*")
@frozen(kw_only=True)
class Again:
    """
    What is ordered although an earlier run ordered it.
    """

    retry_failed: Flag = False
    """Order again what failed; it was not charged."""

    resubmit_unknown: Flag = False
    """Order again what is of unknown outcome; this may pay twice, so it asks first."""

    yes: Flag = False
    """Do not ask."""


@Parameter(name="*")
@frozen(kw_only=True)
class Inside:
    """
    The emulator instead of the API.
    """

    emulator: Flag = False
    """Use an emulator inside: no key, no network, no real money."""

    speed: Annotated[float | None, Parameter(show_default=False)] = None
    """How many times faster than the real service it works; 20 unless given."""
