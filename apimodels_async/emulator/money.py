"""
The account: what is left, what is held for running work, what was spent.
"""

from decimal import Decimal

from attrs import define

ZERO = Decimal(0)


@define
class Account:
    """
    One account in USD. `balance` is `total` minus `frozen`.

    Source:
        API documentation, "Account"; charged on completion, once, and never
        for a failure.
    """

    total: Decimal
    frozen: Decimal = ZERO
    spent: Decimal = ZERO

    @property
    def balance(self) -> Decimal:
        """
        What new work may still cost.
        """
        return self.total - self.frozen

    def reserve(self, price: Decimal) -> bool:
        """
        Hold *price* for running work; False, and nothing held, when short.
        """
        if self.balance < price:
            return False
        self.frozen += price
        return True

    def capture(self, price: Decimal) -> None:
        """
        Deduct a price that was held.
        """
        self.frozen -= price
        self.total -= price
        self.spent += price

    def release(self, price: Decimal) -> None:
        """
        Give back a price that was held.
        """
        self.frozen -= price
