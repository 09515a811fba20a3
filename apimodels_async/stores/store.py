"""
What remembers orders: the Protocol, for whoever wants a store of their own.

Rules for a store:
1. What a method wrote is durable when it returns, and each is atomic, over all
   processes that share the store.
2. A word about an attempt changes that attempt alone, and none that has ended
   (``completed``, ``failed``, ``refused``). ``refused`` takes the place of ``intended``
   alone, and ``unknown`` not that of ``accepted``.
3. Its trouble is ``JournalError``: before a request is sent that stops the order;
   afterwards the order goes on, and its task id is logged.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol, TypeVar
from urllib.parse import urlsplit

from attrs import define

from apimodels_async._text import Value
from apimodels_async.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import (
        AsyncIterator,
        Awaitable,
        Callable,
        Collection,
        Mapping,
        Sequence,
    )
    from datetime import datetime, timedelta
    from decimal import Decimal

    from apimodels_async._core.money.orders import Claim, NewOrder, OrderRecord
    from apimodels_async._core.money.resume import OrderState
    from apimodels_async.models import ImageResult

P = ParamSpec("P")
T = TypeVar("T")

PORTS: Final = {"https": ":443", "http": ":80"}
"""Scheme -> what may be left out behind its host."""


class StoreSetupError(JournalError):
    """What was named is no store, or none to be used: name, or set up, another."""


@define(frozen=True, eq=False, repr=False, kw_only=True)
class HistoryQuery(Value):
    """Which orders to list."""

    state: OrderState | None = None
    """In this state; None: in any."""
    model: str | None = None
    """Of this model; None: of any."""
    since: datetime | None = None
    """Ordered then or later."""
    text: str | None = None
    """In the prompt, upper and lower case alike."""

    def fits(self, record: OrderRecord) -> bool:
        """Return whether *record* is one of them."""
        return (
            self.state in {None, record.state}
            and self.model in {None, record.model}
            and (self.since is None or record.intended_at >= self.since)
            and (self.text or "").casefold() in (record.prompt or "").casefold()
        )


def one_spelling(base_url: str) -> str:
    """Return *base_url* in one spelling: host in lower case, no default port."""
    parts = urlsplit(base_url)
    place = parts.netloc.lower().removesuffix(PORTS.get(parts.scheme, ""))
    return parts._replace(netloc=place).geturl()


def scope_of(store: OrderStore, base_url: str) -> str:
    """Return whose idempotency keys are meant: one account's, at one address."""
    return f"{one_spelling(base_url)} {store.scope}".strip()


async def ask(
    method: Callable[P, Awaitable[T]], *arguments: P.args, **named: P.kwargs
) -> T:
    """
    Return what a *method* of a store answers: the store may be a user's own.

    Raises:
        JournalError: Whatever the store raised; a cancellation, too, that is not ours.
    """
    try:
        return await method(*arguments, **named)
    except JournalError:
        raise
    except Exception as error:
        msg = f"the store cannot be used: {error!r}"
        raise JournalError(msg) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        msg = "the store cannot be used: it cancelled what it was doing"
        raise JournalError(msg) from error


@asynccontextmanager
async def opened(store: OrderStore) -> AsyncIterator[None]:
    """
    Have *store* open for the body.

    Raises:
        JournalError: It cannot be used.
    """
    await ask(store.open)
    try:
        yield
    finally:
        await ask(store.aclose)


class OrderStore(Protocol):
    """Remembers every order there was, within scopes, for any number of sessions."""

    @property
    def scope(self) -> str:
        """Name of the account, where several share the store at one API address."""
        ...

    @property
    def lease_s(self) -> float:
        """Seconds for which an owner counts as alive after it was last heard of."""
        ...

    async def open(self) -> None:
        """
        Make it usable by one more session, in the running loop.

        Raises:
            JournalError: It cannot be used.
        """
        ...

    async def aclose(self) -> None:
        """Let one session go; the last one closes what is open."""
        ...

    async def begin(self, order: NewOrder, anew: Collection[OrderState]) -> Claim:
        """
        Grant *order*, if its idempotency key has no current attempt, or one that
        ``is_replaceable``: record an attempt that is ``intended`` and the current
        one from now on. Else return what is there. Renews the owner's lease, for
        eleven twelfths of its length at least.
        """
        ...

    async def accepted(self, attempt: int, task_id: str) -> None:
        """Record the task that the API named for it."""
        ...

    async def ended(
        self,
        attempt: int,
        state: OrderState,
        *,
        task_id: str | None = None,
        result: ImageResult | None = None,
        error: str | None = None,
    ) -> None:
        """
        Record how it ended, ``unknown`` included.

        If it was refused or failed, and was made in spite of one that may be charged,
        the key names that one again: nobody is to order anew without being told to.
        """
        ...

    async def handed_over(self, *attempts: int) -> None:
        """Record that their ends reached callers: nobody else recovers them."""
        ...

    async def saved(self, attempt: int, files: Sequence[str]) -> None:
        """Record where its pictures are."""
        ...

    async def uploaded(self, scope: str, address: str, digest: str) -> None:
        """Record what the file at *address* holds, by its digest."""
        ...

    async def contents(
        self, scope: str, addresses: Collection[str]
    ) -> Mapping[str, str]:
        """Return which of *addresses* were recorded as uploads -> digest."""
        ...

    async def money(self, scope: str, prefix: str) -> tuple[Decimal, Decimal]:
        """
        Return what the attempts cost whose idempotency keys begin with *prefix*, and
        what is reserved for those whose end is not known, in US dollars. A price counts
        where the API stated no cost.
        """
        ...

    async def find(self, scope: str, idempotency_key: str) -> OrderRecord | None:
        """Return the current attempt under a key."""
        ...

    async def find_task(self, scope: str, task_id: str) -> OrderRecord | None:
        """Return the newest attempt that the API gave this task."""
        ...

    async def forget(self, scope: str, idempotency_key: str) -> bool:
        """
        Let the key name nothing, and return whether it named something. Its attempts
        stay in the history.
        """
        ...

    async def renew(self, owner: str) -> None:
        """Count *owner* as alive for a lease from now."""
        ...

    async def release(self, owner: str) -> None:
        """Count *owner* as gone."""
        ...

    async def recover(self, scope: str, owner: str) -> OrderRecord | None:
        """
        Give *owner* the oldest order that may be paid for, was never handed over, and
        whose own owner is gone.

        One that was ``intended`` is ``unknown`` from then on: nobody is sending it.
        """
        ...

    async def history(
        self, scope: str, query: HistoryQuery, *, before: int | None, limit: int
    ) -> list[OrderRecord]:
        """Return the newest *limit* attempts whose numbers are below *before*."""
        ...

    async def prune(self, older_than: timedelta) -> int:
        """
        Delete what ended longer ago than that; return how many. What was uploaded is
        known for ``HOSTED`` longer: orders that are kept may be of it.

        What is pending or of unknown fate stays. A deleted key is ordered anew.

        Raises:
            InvalidRequestError: *older_than* is no ``timedelta``.
            JournalError: It cannot be used.
        """
        ...
