"""
What the calls of an MCP server cost, within its budget.
"""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from apimodels_async import (
    ApiModelsError,
    BudgetExceededError,
    InvalidRequestError,
    JournalError,
)
from apimodels_async._api.catalogue import near_models
from apimodels_async._api.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apimodels_async import CheckedRequest, Session, TaskHandle
    from apimodels_async._core.money.budget import Budget


@frozen
class Payment:
    """What is set aside for one call."""

    key: str | None
    price: Decimal
    before: int | None = None
    """The attempt under the key that was there, and may have been charged."""


@define(eq=False)
class Payments:
    """What one server has ordered, and what that costs."""

    session: Session
    budget: Budget
    open: list[tuple[TaskHandle, Decimal]] = field(
        init=False, factory=list["tuple[TaskHandle, Decimal]"]
    )
    """Orders that have not ended, with their reserved price."""
    _counted: set[int] = field(init=False, factory=set[int])
    """Attempts with an idempotency key that were bought here."""

    @contextlib.asynccontextmanager
    async def paying(
        self, checked: CheckedRequest, key: str | None
    ) -> AsyncIterator[Payment]:
        """
        Reserve the price before the body orders; a refusal frees it.

        What was bought before is free: nothing is reserved for it.
        """
        await self.settle()
        known = None if key is None else await self.session.find(key)
        if known is not None and known.may_be_charged:
            payment = Payment(key, Decimal(0), known.attempt)
        else:
            payment = Payment(key, self._reserve(checked))
        # A cancelled call gives nothing back: its order is still under way.
        try:
            yield payment
        except ApiModelsError as error:
            self.budget.settle(payment.price, error)
            raise

    async def bought(self, payment: Payment) -> bool:
        """
        Return whether that order was bought now, and not before; else free its price.

        Several calls under one key buy once: the first to come here counts.
        """
        if payment.key is None:
            return True
        try:
            known = await self.session.find(payment.key)
        except JournalError:  # the money is spent, and the picture is there
            return payment.before is None
        attempt = 0 if known is None else known.attempt
        if attempt not in {payment.before, *self._counted}:
            self._counted.add(attempt)
            return True
        self.budget.reserved -= payment.price
        return False

    async def settle(self) -> None:
        """Count what has ended since."""
        for order in [each for each in self.open if each[0].done]:
            self.open.remove(order)
            handle, price = order
            try:
                self.budget.settle(price, await handle)
            except ApiModelsError as error:
                self.budget.settle(price, error)

    def _reserve(self, checked: CheckedRequest) -> Decimal:
        if checked.price is None:
            near = near_models(checked.model)
            msg = (
                f"model {checked.model!r} has no published price, so it cannot be kept "
                "within the budget of this server; "
                + (did_you_mean(near) if near else "list_models shows those that have")
            )
            raise InvalidRequestError(msg, parameter="model")
        if not self.budget.reserve(checked.price):
            msg = (
                f"this costs ${checked.price}, and of the ${self.budget.limit} that "
                f"this server may spend ${self.budget.left} are left"
            )
            raise BudgetExceededError(msg)
        return checked.price
