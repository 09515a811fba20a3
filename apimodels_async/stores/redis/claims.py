"""
What one store has claimed on a Redis server: taken back where the answer was lost, and
written down again where the server forgot it.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from attrs import define, field

from apimodels_async._core.money.orders import ENDED, ORDERED_ANEW
from apimodels_async._core.money.pictures import digests_in
from apimodels_async._core.money.resume import OrderState
from apimodels_async.errors import JournalError
from apimodels_async.stores.redis.rows import fields_of, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from apimodels_async._core.money.orders import NewOrder
    from apimodels_async.stores.redis.calls import Calls

    Unanswered = dict[str, tuple[str, str]]

logger: logging.Logger = logging.getLogger("apimodels_async.stores")

LEFT: Final = 1000
"""Attempts of a dead owner that one recovery looks at."""
FREE: Final = words_of(ORDERED_ANEW)


@define(eq=False)
class _Begun:
    """An attempt of ours that has not ended: what the server may forget."""

    owner: str
    words: tuple[str | float | bytes, ...]
    """With which it is written down again."""
    call: str
    """That began it."""


@define(eq=False)
class Claims:
    """Those of one store, in all event loops."""

    _calls: Callable[[], Calls]
    """Returns those of the running loop; raises ``JournalError`` once it is closed."""
    _lost: Unanswered = field(init=False, factory=dict[str, tuple[str, str]])
    """Claims without an answer: in which scope, under which key."""
    _taken: Unanswered = field(init=False, factory=dict[str, tuple[str, str]])
    """Recoveries without an answer: in which scope, for whom."""
    begun: dict[int, _Begun] = field(init=False, factory=dict[int, _Begun])

    async def begin(
        self,
        order: NewOrder,
        request: str,
        anew: Collection[OrderState],
        lease_s: float,
    ) -> tuple[bool, Sequence[bytes]]:
        """
        Claim *order*, and return whether it is granted.

        Args:
            request: Its request, with names in place of pictures.

            anew: States after which it is ordered anew.

        Returns:
            With it number and time of the attempt; or the row of what its key names.
        """
        fields, digests = fields_of(order, request), " ".join(digests_in(request))
        await self.take_back()
        call = uuid.uuid4().hex
        # It may be granted all the same, and nobody would ever send it.
        with _kept(self._lost, call, (order.scope, order.idempotency_key)):
            granted, found = await self._calls().run_durably(
                "begin", lease_s, call, words_of(anew), FREE, digests, *fields
            )
        if granted:
            attempt, intended_at = int(found[0]), found[1]
            words = (attempt, intended_at, lease_s, call, FREE, digests, *fields)
            self.begun[attempt] = _Begun(order.owner, words, call)
        return bool(granted), found

    async def take_back(self) -> None:
        """Refuse every claim whose answer was lost: it was never sent."""
        calls, lost = self._calls(), list(self._lost.items())
        # Out of the list first: hundreds come here at once, as a server is back.
        for call, _ in lost:
            self._lost.pop(call, None)
        words = (words_of({OrderState.INTENDED}), words_of(ENDED), FREE)

        async def take_back(call: str, place: tuple[str, str]) -> None:
            with _kept(self._lost, call, place):
                await calls.run_durably("take_back", *place, call, *words)

        if lost:
            taking = (take_back(*each) for each in lost)
            ends = await asyncio.gather(*taking, return_exceptions=True)
            for error in filter(None, ends):
                raise error

    async def say(self, operation: str, attempt: int, *words: str) -> None:
        """
        Say a word about an attempt, which is written down again if it is not there.

        After a failover, or with a restored copy, it may not be; nobody else may have
        what was bought.
        """
        begun = self.begun.get(attempt)
        call = "" if begun is None else begun.call
        there = await self._calls().run_durably(operation, attempt, call, *words)
        if there or begun is None:
            return
        logger.warning("the store on Redis had forgotten order %s", attempt)
        await self._calls().run_durably("restore", *begun.words)
        if not await self._calls().run_durably(operation, attempt, call, *words):
            msg = "the store on Redis forgot the order, and its number is another's"
            raise JournalError(msg)

    async def recover(
        self, scope: str, owner: str, lease_s: float
    ) -> Sequence[bytes] | None:
        """Give *owner*, who is alive, the row of what nobody has any more."""
        place = scope, owner
        # One whose answer was lost: what it took is ours, and nobody has it.
        lost = [call for call, whose in list(self._taken.items()) if whose == place]
        call = lost[0] if lost else uuid.uuid4().hex
        self._taken.pop(call, None)
        with _kept(self._taken, call, place):
            row: Sequence[bytes] | None = await self._calls().run_durably(
                "recover", scope, owner, lease_s, call, LEFT
            )
        return row

    async def release(self, owner: str) -> None:
        """Let *owner* be gone; what it has begun is not written down again."""
        for attempt, begun in list(self.begun.items()):
            if begun.owner == owner:
                self.begun.pop(attempt, None)
        try:
            await self.take_back()
        finally:
            await self._calls().run("release", owner)


@contextmanager
def _kept(unanswered: Unanswered, call: str, place: tuple[str, str]) -> Iterator[None]:
    """Keep *call* where its answer is lost: it may be carried out all the same."""
    try:
        yield
    except (JournalError, asyncio.CancelledError):
        unanswered[call] = place
        raise
