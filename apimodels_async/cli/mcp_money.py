"""
Keeps one server within its budget, whatever an agent asks for.

Every order sets its price aside. A result replaces that by what the API says it cost, a
refusal or a failure frees it, and an unknown outcome keeps it: that money may be gone.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import define, field

from apimodels_async import BudgetExceededError, ImageResult, InvalidRequestError

if TYPE_CHECKING:
    from apimodels_async import ApiModelsError, CheckedRequest


@define
class Allowance:
    """
    The money of one server, US dollars.
    """

    limit: Decimal
    spent: Decimal = field(default=Decimal(0))
    """On known results."""
    reserved: Decimal = field(default=Decimal(0))
    """On orders under way and on unknown outcomes."""

    @property
    def left(self) -> Decimal:
        """
        What may still be ordered.
        """
        return self.limit - self.spent - self.reserved

    def reserve(self, order: CheckedRequest) -> Decimal:
        """
        Set the price of *order* aside, and return it.

        Raises:
            InvalidRequestError: It has no published price, so no budget holds it.

            BudgetExceededError: It would pass the limit.
        """
        if order.price is None:
            msg = (
                f"model {order.model!r} has no published price, so it cannot be kept "
                "within the budget of this server; list_models shows those that have"
            )
            raise InvalidRequestError(msg, parameter="model")
        if order.price > self.left:
            msg = (
                f"this costs ${order.price}, and of the ${self.limit} that this server "
                f"may spend ${self.left} are left"
            )
            raise BudgetExceededError(msg)
        self.reserved += order.price
        return order.price

    def settle(self, price: Decimal, ended: ImageResult | ApiModelsError) -> None:
        """
        Turn a reservation of *price* into what the end of its order means.
        """
        if isinstance(ended, ImageResult):
            self.reserved -= price
            self.spent += price if ended.credits is None else ended.credits
        elif ended.charged is False:
            self.reserved -= price
