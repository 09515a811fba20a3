"""
What the emulator was asked, as values to compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from apimodels_async.emulator import Emulator, RequestRecord

PAID: Final = frozenset({"create", "sync", "edit", "edits"})
"""Endpoints, in the emulator's words, whose POST makes a picture."""
_NAMELESS: Final = {"sync": "sparkpix-image", "edit": "sparkpix-image-edit"}
"""Endpoints of one model, whose requests need not name it."""


@frozen
class Order:
    """
    One paid request, whatever was answered; equal if it asks for the same picture.
    """

    model: str
    """Model id."""
    prompt: str | None = None
    """As it was sent; None: none was."""
    params: Mapping[str, Any] = field(factory=dict[str, Any], hash=False)
    """What else was sent, in the API's own names."""
    path: str = field(default="", eq=False, kw_only=True)
    """Of the POST."""
    at: float = field(default=0.0, eq=False, kw_only=True)
    """Arrival, seconds after the emulator began to listen."""
    status: int | None = field(default=None, eq=False, kw_only=True)
    """Status answered; None if the connection was cut, or it is still unanswered."""
    task_id: str | None = field(default=None, eq=False, kw_only=True)
    """The task it made; None: none."""
    charged: bool = field(default=False, eq=False, kw_only=True)
    """Whether it has been paid for by now."""
    fault: str | None = field(default=None, eq=False, kw_only=True)
    """Kind of the fault that hit it."""


@frozen(kw_only=True)
class Request:
    """One request, paid or free."""

    method: str
    """``GET``, ``POST`` or ``PUT``."""
    path: str
    """Without the query."""
    endpoint: str
    """create, sync, edit, edits, poll, balance, models, upload, file."""
    at: float
    """Arrival, seconds after the emulator began to listen."""
    status: int | None = None
    """As ``Order.status``."""
    task_id: str | None = None
    """The task it made or asked about."""
    fault: str | None = None
    """Kind of the fault that hit it."""


class Record:
    """
    What the emulator was asked so far; every look is a fresh one, from any thread.
    """

    def __init__(
        self, look: Callable[[Callable[[Emulator], Any]], Any], started_at: float
    ) -> None:
        self._look = look
        self._started_at = started_at

    @property
    def orders(self) -> list[Order]:
        """The paid requests, in order of arrival: refused and repeated ones, too."""
        return [
            self._order(each)
            for each in self._records()
            if each.method == "POST" and each.endpoint in PAID
        ]

    @property
    def requests(self) -> list[Request]:
        """All requests, in order of arrival."""
        return [
            Request(
                method=each.method,
                path=each.path,
                endpoint=each.endpoint,
                at=each.at - self._started_at,
                status=each.status,
                task_id=each.task_id,
                fault=each.fault,
            )
            for each in self._records()
        ]

    @property
    def polls(self) -> int:
        """How often the state of a task was asked for."""
        return sum(each.endpoint == "poll" for each in self._records())

    @property
    def spent(self) -> Decimal:
        """US dollars charged."""
        spent: Decimal = self._look(lambda emulator: emulator.spent)
        return spent

    def _records(self) -> list[RequestRecord]:
        found: list[RequestRecord] = self._look(
            lambda emulator: list(emulator.requests)
        )
        return found

    def _order(self, found: RequestRecord) -> Order:
        body = found.body or {}  # nothing readable came
        params = {key: body[key] for key in body if key not in {"model", "prompt"}}
        return Order(
            str(body.get("model") or _NAMELESS.get(found.endpoint, "")),
            found.prompt,
            params,
            path=found.path,
            at=found.at - self._started_at,
            status=found.status,
            task_id=found.task_id,
            charged=found.charged,
            fault=found.fault,
        )

    def __repr__(self) -> str:
        return f"<Record {len(self._records())} requests, orders {self.orders}>"
