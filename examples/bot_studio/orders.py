"""
What a user asked for, where, and the store that keeps it until the chat has its answer.

The message that asks names the order: each picture of it has the idempotency key
``CHAT/USER/MESSAGE/1of4``. So a message that comes twice is bought once, and from any
one picture in the store the next start knows what to answer, and where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import define, field

from apimodels_async import ImageRequest
from apimodels_async.stores import SqliteStore

if TYPE_CHECKING:
    from apimodels_async.models import AnyRequest


@define(eq=False)
class Order:
    """Some pictures of one prompt, for one message."""

    chat: int
    user: int
    message: int
    request: ImageRequest
    count: int = 1
    answer: dict[str, Any] = field(factory=dict[str, Any])
    """How to reach the message that answers it: known to this process alone."""
    recovered: bool = False
    """Whether an earlier process took it."""

    @property
    def name(self) -> str:
        """Equal for the same message, in any process."""
        return f"{self.chat}/{self.user}/{self.message}"

    @property
    def prompt(self) -> str:
        """What to draw."""
        return self.request.prompt or ""

    @property
    def keys(self) -> list[str]:
        """The idempotency keys of its pictures."""
        return [f"{self.name}/{n}of{self.count}" for n in range(1, self.count + 1)]

    @classmethod
    def recover(cls, key: str, request: AnyRequest) -> Order:
        """
        Return the order of a picture in the store.

        Raises:
            ValueError: It is none of ours.
        """
        if not isinstance(request, ImageRequest):
            msg = "not a model that answers with a task"
            raise ValueError(msg)  # noqa: TRY004  of its value, to its caller
        chat, user, message, part = key.split("/")
        count = int(part.partition("of")[2])
        return cls(int(chat), int(user), int(message), request, count, recovered=True)


class Orders(SqliteStore):
    """Orders that are open until their chat has the pictures, not just until we do."""

    async def handed_over(self, *attempts: int) -> None:
        """Leave it open: a bot that is killed now answers once it is back."""

    async def answered(self, attempt: int) -> None:
        """Close it: nobody recovers it again."""
        await super().handed_over(attempt)
