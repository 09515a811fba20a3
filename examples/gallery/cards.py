"""
A card: one prompt on its way to a picture. Values and decisions, no I/O.

    waiting -> sent -> pending -> processing -> arriving -> completed
                 |        |           |            +-----> unsaved
                 |        +-----------+------> failed, lost, stopped
                 +-> refused, unknown
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from attrs import frozen

from apimodels_async import ImageResult

MICRO = Decimal(1_000_000)  # money is kept in whole millionths of a dollar


class Stage(StrEnum):
    """Where a card is."""

    WAITING = "waiting"
    """Here; nothing has been sent."""
    SENT = "sent"
    """The paid request is about to leave, or has left: no answer yet."""
    PENDING = "pending"
    PROCESSING = "processing"
    ARRIVING = "arriving"
    """Made; its file is being fetched."""
    COMPLETED = "completed"
    FAILED = "failed"
    """The API tried and failed: not charged."""
    REFUSED = "refused"
    """Never accepted: not charged."""
    UNKNOWN = "unknown"
    """Sent, and nobody knows what became of it: never sent again from here."""
    STOPPED = "stopped"
    """Nobody waits for it any more; a task that was accepted goes on."""
    LOST = "lost"
    """Accepted, but the API cannot be asked about it now."""
    UNSAVED = "unsaved"
    """Made and paid for, but its file is not here."""


FOLLOWED = (Stage.PENDING, Stage.PROCESSING, Stage.ARRIVING)
OPEN = (Stage.WAITING, Stage.SENT, *FOLLOWED)
UNCHARGED = (Stage.FAILED, Stage.REFUSED)
LABELS: dict[Stage, str] = {
    Stage.WAITING: "Waiting",
    Stage.SENT: "Ordering",
    Stage.PENDING: "Queued",
    Stage.PROCESSING: "Drawing",
    Stage.ARRIVING: "Arriving",
    Stage.COMPLETED: "Done",
    Stage.FAILED: "Failed",
    Stage.REFUSED: "Not ordered",
    Stage.UNKNOWN: "Outcome unknown",
    Stage.STOPPED: "Not waited for",
    Stage.LOST: "Out of sight",
    Stage.UNSAVED: "No file",
}


@frozen(kw_only=True)
class Card:
    """One picture, ordered or about to be."""

    id: int
    version: int = 0
    """Grows with every change of any card: the id of its event."""
    token: str
    """Of the form: equal for cards ordered together."""
    stage: Stage
    prompt: str
    model: str
    aspect_ratio: str
    created_at: datetime
    """UTC."""
    price: int | None = None
    """What it should cost, or did, in millionths of a dollar."""
    task_id: str | None = None
    result: ImageResult | None = None
    """Once the picture is made."""
    file: str | None = None
    seconds: float | None = None
    title: str = ""
    reason: str = ""
    advice: str = ""

    @property
    def key(self) -> str:
        """The idempotency key of its order."""
        return f"{self.token}/{self.id}"

    @property
    def cost(self) -> Decimal | None:
        """The price in US dollars."""
        return None if self.price is None else Decimal(self.price) / MICRO

    @property
    def label(self) -> str:
        """The stage in a word or two."""
        return LABELS[self.stage]

    @property
    def open(self) -> bool:
        """Whether something will happen to it by itself."""
        return self.stage in OPEN

    @property
    def accepted(self) -> bool:
        """Whether the API is known to have taken the order."""
        return self.task_id is not None or self.result is not None

    @property
    def stoppable(self) -> bool:
        """Whether waiting can stop; a request on its way cannot be called back."""
        return self.stage is Stage.WAITING or self.stage in FOLLOWED

    @property
    def again(self) -> tuple[str, Stage] | None:
        """
        What a second try is called and where it begins; None where there is none.

        A card that was accepted is never ordered anew, one of unknown fate neither.
        """
        match self.stage:
            case Stage.STOPPED | Stage.LOST | Stage.UNSAVED if self.accepted:
                word = "Fetch again" if self.stage is Stage.UNSAVED else "Pick up again"
                return word, Stage.PENDING if self.result is None else Stage.ARRIVING
            case Stage.STOPPED:
                return "Order", Stage.WAITING
            case Stage.FAILED | Stage.REFUSED:
                return "Order again", Stage.WAITING
        return None


def micro(amount: Decimal | None) -> int | None:
    """Return US dollars as whole millionths."""
    return None if amount is None else round(amount * MICRO)
