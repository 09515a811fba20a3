"""What the balance says about a paid request of unknown fate."""

from __future__ import annotations

from decimal import Decimal

from support.cases import check_all

from apimodels_async._core.money.reconcile import compare_balances
from apimodels_async.models import Balance, Verdict

CASES = [
    ("10", "9.99", "0", 0, Verdict.CHARGED, "0.01 USD left the account"),
    ("10", "9.97", "0.02", 0, Verdict.CHARGED, "0.01 USD left the account"),
    ("10", "10", "0", 0, Verdict.NOT_CHARGED, "the balance has not moved"),
    ("10", "9.98", "0.02", 0, Verdict.NOT_CHARGED, "the balance has not moved"),
    ("10", "15", "0", 0, Verdict.UNKNOWN, "the balance went up meanwhile"),
    ("10", "10", "0.02", 0, Verdict.UNKNOWN, "the balance went up meanwhile"),
    ("10", "9.99", "0", 1, Verdict.UNKNOWN, "1 other tasks are under way"),
    ("10", "10", "0", 3, Verdict.UNKNOWN, "3 other tasks are under way"),
]


def test_a_balance_is_judged():
    """Money nobody explains means charged; other tasks under way leave doubt."""

    def check(before, after, explained, pending, verdict, reason):
        balances = (Balance(balance=Decimal(usd)) for usd in (before, after))
        found = compare_balances(*balances, Decimal(explained), pending)
        assert verdict is found.verdict
        assert found.reason.startswith(reason)
        assert found.task_id is None

    check_all(CASES, check)
