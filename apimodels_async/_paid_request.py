"""
One order on its way: what is known of it, and what has become of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import define, field

from apimodels_async._core.money.retry import info_of, unknown_error
from apimodels_async._ports import Sent
from apimodels_async.errors import ApiModelsError, SessionClosedError
from apimodels_async.handle import TaskHandle
from apimodels_async.models import ImageResult

if TYPE_CHECKING:
    import asyncio

    from apimodels_async._api import calls
    from apimodels_async._ports import OrderRecord
    from apimodels_async.models import TaskSnapshot
    from apimodels_async.webhooks.expected import ExpectedCallback

Product: TypeAlias = TaskHandle | ImageResult
"""What an order buys: a task to wait for, or the picture itself."""


@define(eq=False)
class PaidRequest:
    """One order, from the call to the step that hands over its product."""

    model: str
    group: str
    call: calls.Call[TaskSnapshot | ImageResult]
    record: OrderRecord | None
    expected: ExpectedCallback | None
    patient: bool = field(init=False, default=False)
    sent: Sent = field(init=False, factory=Sent)
    """Of the current try."""
    product: Product | None = field(init=False, default=None)
    """Once the API has named it."""
    abandoned: bool = field(init=False, default=False)
    """Its caller was cancelled after it was sent."""

    @property
    def unsent(self) -> bool:
        """Whether nothing of it has left this machine, and nothing was bought."""
        return self.sent.at is None and self.product is None

    def cut(self) -> Product:
        """Return what a cancelled order had bought, or raise what is to be said."""
        if self.product is not None:
            return self.product
        if self.unsent:
            msg = "the session closed before the request was sent"
            raise SessionClosedError(msg, charged=False)
        info = info_of(self.call.request, self.sent)
        msg = f"{info.method} {info.path} was cut when the session closed"
        raise unknown_error(msg, info)

    def fate(self, runner: asyncio.Task[Product]) -> Product | BaseException:
        """Return what it bought or how it failed; *runner* has ended, or never will."""
        if runner.done() and not runner.cancelled():
            # Asked for, it counts as retrieved: an abandoned one has no reader.
            return runner.exception() or runner.result()
        try:
            return self.cut()
        except ApiModelsError as error:
            return error
