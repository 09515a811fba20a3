"""
What can go wrong, by the names a test would use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from apimodels_async.emulator import Emulator, Fault


class Faults:
    """
    Arranges misbehaviour, from any thread; in force until it has happened.

    Everywhere: *times* is how often it happens, None for ever; *match* limits it to
    orders with this in their prompt.
    """

    def __init__(self, look: Callable[[Callable[[Emulator], Any]], Any]) -> None:
        self._look = look

    def refuse_credit(
        self, *, times: int | None = 1, match: str | None = None
    ) -> Fault:
        """
        Refuse orders with 402, as for an empty account: ``InsufficientCreditsError``.
        """
        return self.add("paid", "status", times=times, match=match, status=402)

    def rate_limit(
        self,
        *,
        retry_after: float | None = None,
        times: int | None = 1,
        match: str | None = None,
    ) -> Fault:
        """
        Refuse orders with 429, which the session tries again: four times in all.

        Args:
            retry_after: Seconds the answer asks to wait. The session waits up to 120;
                more is an immediate ``RateLimitError``. None: the session's own pause.
        """
        return self.add(
            "paid", "rate_limit", times=times, match=match, retry_after=retry_after
        )

    def lose_answer(self, *, times: int | None = 1, match: str | None = None) -> Fault:
        """
        Accept orders, and cut the connection instead of answering.

        The picture is made and charged; the caller gets ``OutcomeUnknownError``.
        """
        return self.add("paid", "reset", times=times, match=match, after=True)

    def slow(
        self, seconds: float, *, times: int | None = 1, match: str | None = None
    ) -> Fault:
        """Answer orders after so many real *seconds*."""
        return self.add("paid", "slow", times=times, match=match, seconds=seconds)

    def fail(self, *, times: int | None = 1, match: str | None = None) -> Fault:
        """
        Accept orders and let them fail moderation; not charged.

        A task ends in ``GenerationFailedError``; a synchronous generation, which has
        no task, is answered 400 (``BadRequestError``).
        """
        return self.add("paid", "refused", times=times, match=match)

    def add(self, where: str, kind: str, **options: Any) -> Fault:
        """
        Arrange any fault of ``Emulator.fault``, whose arguments these are.

        Raises:
            ValueError: Unknown place, kind or option; names the allowed ones.
        """
        fault: Fault = self._look(
            lambda emulator: emulator.fault(where, kind, **options)
        )
        return fault

    def clear(self) -> None:
        """Put all faults out of force."""
        self._look(lambda emulator: emulator.clear_faults())
