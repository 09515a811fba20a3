"""
What may still be spent, asked before each order.

Every order reserves its price. A result replaces the reservation by what the API says
it cost, a refusal or a failure frees it, and an unknown outcome keeps it: that money
may be gone.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import define, field

from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    from apimodels_async.errors import ApiModelsError


@define(eq=False, repr=False)
class Budget:
    """A limit on what orders may cost together. Amounts in US dollars."""

    limit: Decimal | None
    """None: no limit; the sums are kept all the same."""
    spent: Decimal = field(default=Decimal(0))
    """On known results."""
    reserved: Decimal = field(default=Decimal(0))
    """On orders under way and on unknown outcomes."""

    @property
    def left(self) -> Decimal | None:
        """
        What may still be ordered; None: no limit.
        """
        return None if self.limit is None else self.limit - self.spent - self.reserved

    def reserve(self, price: Decimal) -> bool:
        """
        Set *price* aside; False: that would pass the limit, and nothing is set aside.
        """
        if self.left is not None and price > self.left:
            return False
        self.reserved += price
        return True

    def settle(self, price: Decimal, ended: ImageResult | ApiModelsError) -> None:
        """Turn a reservation of *price* into what the end of its order means."""
        if isinstance(ended, ImageResult):
            self.reserved -= price
            self.spent += price if ended.credits is None else ended.credits
        elif ended.charged is False:
            self.reserved -= price
