"""
What the account's balance says about a paid request of unknown fate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apimodels_async.models import Reconciliation, Verdict

if TYPE_CHECKING:
    from decimal import Decimal

    from apimodels_async.models import Balance


def compare_balances(
    before: Balance, after: Balance, explained: Decimal, pending: int
) -> Reconciliation:
    """
    Compare two balances around the request.

    Args:
        explained: Credits that known results cost between the two.

        pending: Other tasks of this session under way: their cost is not known yet.
    """
    if pending:
        reason = (
            f"{pending} other tasks are under way and hold part of the balance; "
            "ask again when they have ended"
        )
        return Reconciliation(Verdict.UNKNOWN, reason)
    missing = before.balance - after.balance - explained
    if missing > 0:
        reason = (
            f"{missing} {after.currency} left the account that no known result "
            "explains (unless another program spent it on the same account)"
        )
        return Reconciliation(Verdict.CHARGED, reason)
    if missing < 0:
        reason = "the balance went up meanwhile, so it says nothing"
        return Reconciliation(Verdict.UNKNOWN, reason)
    reason = (
        "the balance has not moved; a task accepted but still running would be charged "
        "on completion, so ask again after the longest generation you know"
    )
    return Reconciliation(Verdict.NOT_CHARGED, reason)
