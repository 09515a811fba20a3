"""
A store that ends with the process: for tests, and to try idempotency keys.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs
from attrs import define, field

from apimodels_async._api.checks import check_span
from apimodels_async._core.money.orders import (
    BEFORE,
    ENDED,
    HOSTED,
    LEASE_S,
    ORDERED_ANEW,
    Claim,
    OrderRecord,
    is_replaceable,
)
from apimodels_async._core.money.resume import OrderState

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from apimodels_async._core.money.orders import NewOrder
    from apimodels_async.models import ImageResult
    from apimodels_async.stores.store import HistoryQuery


def _now() -> datetime:
    return datetime.now(UTC)


@define(eq=False)
class _Attempt:
    scope: str
    owner: str
    record: OrderRecord
    replaces: int | None = None
    """The attempt of unknown fate in spite of which it was made."""


@define(eq=False)
class MemoryStore:
    """
    Orders in memory, of any number of sessions in one process.

    Args:
        scope: Name of the account, where several share the store.

        clock: Returns the time, with its zone.

        lease_s: Seconds for which a session counts as alive after it was last heard of.
    """

    scope: str = ""
    """As given."""
    _clock: Callable[[], datetime] = _now
    lease_s: float = LEASE_S
    """Seconds for which an owner counts as alive after it was last heard of."""
    _attempts: dict[int, _Attempt] = field(init=False, factory=dict)
    """Number -> attempt, oldest first."""
    _current: dict[tuple[str, str], int] = field(init=False, factory=dict)
    _uploads: dict[tuple[str, str], tuple[str, datetime]] = field(
        init=False, factory=dict
    )
    _alive_until: dict[str, datetime] = field(init=False, factory=dict)
    _last: int = field(init=False, default=0)

    async def open(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""

    async def begin(self, order: NewOrder, anew: Collection[OrderState]) -> Claim:
        """See ``OrderStore``."""
        await self.renew(order.owner)
        place = (order.scope, order.idempotency_key)
        before = self._current.get(place)
        if before is not None and not is_replaceable(self._read(before), anew):
            return Claim(granted=False, record=self._read(before))
        self._last += 1
        self._current[place] = self._last
        record = order.record(self._last, self._clock().timestamp())
        attempt = _Attempt(order.scope, order.owner, record)
        if before is not None and self._attempts[before].record.may_be_charged:
            attempt.replaces = before
        self._attempts[self._last] = attempt
        return Claim(granted=True, record=self._read(self._last))

    async def accepted(self, attempt: int, task_id: str) -> None:
        """See ``OrderStore``."""
        self._write(attempt, OrderState.ACCEPTED, task_id=task_id)

    async def ended(
        self,
        attempt: int,
        state: OrderState,
        *,
        task_id: str | None = None,
        result: ImageResult | None = None,
        error: str | None = None,
    ) -> None:
        """See ``OrderStore``."""
        found = self._attempts.get(attempt)
        if found is not None:
            self._write(
                attempt,
                state,
                task_id=task_id or found.record.task_id,
                result=result,
                error=error,
                ended_at=self._clock(),
            )
            place = (found.scope, found.record.idempotency_key)
            refused = found.record.state in ORDERED_ANEW
            if refused and found.replaces and self._current.get(place) == attempt:
                self._current[place] = found.replaces

    async def handed_over(self, *attempts: int) -> None:
        """See ``OrderStore``."""
        for attempt in attempts:
            if (found := self._attempts.get(attempt)) is not None:
                found.record = attrs.evolve(found.record, handed_over=True)

    async def saved(self, attempt: int, files: Sequence[str]) -> None:
        """See ``OrderStore``."""
        if (found := self._attempts.get(attempt)) is not None:
            found.record = attrs.evolve(found.record, files=tuple(files))

    async def uploaded(self, scope: str, address: str, digest: str) -> None:
        """See ``OrderStore``."""
        self._uploads[scope, address] = digest, self._clock()

    async def contents(
        self, scope: str, addresses: Collection[str]
    ) -> Mapping[str, str]:
        """See ``OrderStore``."""
        known = {each: self._uploads.get((scope, each)) for each in addresses}
        return {each: found[0] for each, found in known.items() if found is not None}

    async def find(self, scope: str, idempotency_key: str) -> OrderRecord | None:
        """See ``OrderStore``."""
        number = self._current.get((scope, idempotency_key))
        return None if number is None else self._read(number)

    async def money(self, scope: str, prefix: str) -> tuple[Decimal, Decimal]:
        """See ``OrderStore``."""
        spent = reserved = Decimal(0)
        for attempt in self._attempts.values():
            record = attempt.record
            named = record.idempotency_key.startswith(prefix)
            if not named or attempt.scope != scope or not record.may_be_charged:
                continue
            amount = record.price if record.cost is None else record.cost
            if record.state is OrderState.COMPLETED:
                spent += amount or 0
            else:
                reserved += amount or 0
        return spent, reserved

    async def find_task(self, scope: str, task_id: str) -> OrderRecord | None:
        """See ``OrderStore``."""
        for number, attempt in reversed(self._attempts.items()):
            if attempt.scope == scope and attempt.record.task_id == task_id:
                return self._read(number)
        return None

    async def forget(self, scope: str, idempotency_key: str) -> bool:
        """See ``OrderStore``."""
        return self._current.pop((scope, idempotency_key), None) is not None

    async def renew(self, owner: str) -> None:
        """See ``OrderStore``."""
        self._alive_until[owner] = self._clock() + timedelta(seconds=self.lease_s)

    async def release(self, owner: str) -> None:
        """See ``OrderStore``."""
        self._alive_until.pop(owner, None)

    async def recover(self, scope: str, owner: str) -> OrderRecord | None:
        """See ``OrderStore``."""
        await self.renew(owner)
        for number, attempt in self._attempts.items():
            record = self._read(number)
            left = not (record.handed_over or record.owned)
            if attempt.scope == scope and left and record.state not in ORDERED_ANEW:
                attempt.owner = owner
                if record.state is OrderState.INTENDED:
                    self._write(number, state=OrderState.UNKNOWN)
                return self._read(number)
        return None

    async def history(
        self, scope: str, query: HistoryQuery, *, before: int | None, limit: int
    ) -> list[OrderRecord]:
        """See ``OrderStore``."""
        found: list[OrderRecord] = []
        for number in reversed(self._attempts):
            if len(found) == limit:
                break
            record = self._read(number)
            ours = self._attempts[number].scope == scope
            if ours and (before is None or number < before) and query.fits(record):
                found.append(record)
        return found

    async def prune(self, older_than: timedelta) -> int:
        """See ``OrderStore``."""
        check_span("older_than", older_than)
        until = self._clock() - older_than
        old = {
            number
            for number, attempt in self._attempts.items()
            if attempt.record.state in ENDED
            and attempt.record.ended_at is not None
            and attempt.record.ended_at < until
        }
        self._attempts = {n: a for n, a in self._attempts.items() if n not in old}
        self._current = {p: n for p, n in self._current.items() if n not in old}
        uploads, until = self._uploads.items(), until - HOSTED
        self._uploads = {place: each for place, each in uploads if each[1] >= until}
        return len(old)

    def _read(self, number: int) -> OrderRecord:
        attempt, now = self._attempts[number], self._clock()
        return attrs.evolve(
            attempt.record,
            owned=self._alive_until.get(attempt.owner, now) > now,
            age_s=(now - attempt.record.intended_at).total_seconds(),
        )

    def _write(self, number: int, state: OrderState, **changes: object) -> None:
        found = self._attempts.get(number)
        if found is not None and found.record.state in BEFORE[state]:
            found.record = attrs.evolve(found.record, state=state, **changes)  # type: ignore[arg-type]
