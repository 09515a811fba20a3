"""What the balance says about a paid request of unknown fate."""

from __future__ import annotations

from decimal import Decimal

from support.cases import check_all

from apimodels_async._core.money.reconcile import compare_balances
from apimodels_async.models import Balance, Verdict

LEFT = (
    "0.01 USD left the account that no known result explains (unless another program "
    "spent it on the same account)"
)
STILL = (
    "the balance has not moved; a task accepted but still running would be charged on "
    "completion, so ask again after the longest generation you know"
)
UP = "the balance went up meanwhile, so it says nothing"
OTHERS = (
    "other tasks are under way and hold part of the balance; ask again when they have "
    "ended"
)
CASES = [
    ("10", "9.99", "0", 0, Verdict.CHARGED, LEFT),
    ("10", "9.97", "0.02", 0, Verdict.CHARGED, LEFT),
    ("10", "10", "0", 0, Verdict.NOT_CHARGED, STILL),
    ("10", "9.98", "0.02", 0, Verdict.NOT_CHARGED, STILL),
    ("10", "15", "0", 0, Verdict.UNKNOWN, UP),
    ("10", "10", "0.02", 0, Verdict.UNKNOWN, UP),
    ("10", "9.99", "0", 1, Verdict.UNKNOWN, f"1 {OTHERS}"),
    ("10", "10", "0", 3, Verdict.UNKNOWN, f"3 {OTHERS}"),
]


def test_a_balance_is_judged():
    """Money nobody explains means charged; other tasks under way leave doubt."""

    def check(before, after, explained, pending, verdict, reason):
        balances = (Balance(balance=Decimal(usd)) for usd in (before, after))
        found = compare_balances(*balances, Decimal(explained), pending)
        assert verdict is found.verdict
        assert found.reason == reason
        assert found.task_id is None

    check_all(CASES, check)
