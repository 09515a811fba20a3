"""
What a batch is made of: who buys, and where pictures go.

A session buys by itself; a queue has it done by workers on other machines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from apimodels_async._core.money.orders import OrderRecord
    from apimodels_async._ports import Observer
    from apimodels_async._saving import Saver
    from apimodels_async.errors import DownloadError
    from apimodels_async.models import AnyRequest
    from apimodels_async.stores.sent import SentOrders
    from apimodels_async.stores.sent_order import SentOrder


class Pending(Protocol):
    """What was ordered and has not ended; awaited, it is the result."""

    @property
    def task_id(self) -> str | None:
        """The id of its task, where that is known here."""
        ...

    def __await__(self) -> Generator[Any, None, ImageResult]:
        """Wait for the result; cancelled, nothing is lost."""
        ...


Bought: TypeAlias = ImageResult | Pending


class Buyer(Protocol):
    """Who buys what a batch orders."""

    @property
    def observer(self) -> Observer:
        """Who is told of each order."""
        ...

    async def order(
        self,
        request: AnyRequest,
        record: SentOrder | None = None,
        *,
        patient: bool = False,
    ) -> Bought:
        """Order *request* once; *patient*: a 429 never fails it."""
        ...

    async def look(self, record: SentOrder) -> OrderRecord | None:
        """Return what an earlier run found out, if that is not to be ordered anew."""
        ...

    async def take_up(self, record: SentOrder, known: OrderRecord) -> Bought:
        """Return what became of what an earlier run ordered; nothing is sent twice."""
        ...

    def keep(self, fate: object) -> None:
        """Keep what was bought for a batch that nobody holds any more."""
        ...


class Folder(Protocol):
    """Where a batch saves its pictures."""

    async def check(self) -> None:
        """Find out whether it can be written to, before anything is paid for."""
        ...

    async def find(self, files: Iterable[str]) -> tuple[Path | str, ...]:
        """Return where *files* are; empty: one of them is not there."""
        ...

    async def save(
        self,
        result: ImageResult,
        index: int,
        request: AnyRequest,
        idempotency_key: str | None,
    ) -> tuple[list[Path | str], DownloadError | None]:
        """Save the pictures of item *index*; as ``Saver.save_all``."""
        ...


class Parts(Protocol):
    """What items are run with."""

    @property
    def ordering(self) -> Buyer:
        """Who buys."""
        ...

    @property
    def saver(self) -> Saver:
        """The way of files."""
        ...

    @property
    def orders(self) -> SentOrders | None:
        """Where orders without a journal are written down."""
        ...


class Maker(Protocol):
    """Has the parts, and opens journals: a session's runtime, or a queue's."""

    def open(self) -> Parts:
        """Return the parts, made on first use."""
        ...

    def journal(self, path: Path) -> SentOrders:
        """Return the orders in the journal at *path*, not opened yet."""
        ...
