"""One call of a user's, and which one the code that runs now belongs to."""

from __future__ import annotations

from contextvars import ContextVar

ASK = ContextVar("ask", default=None)
"""The call that an order is sent for."""


class Ask:
    """A user's call that orders something."""

    __slots__ = (
        *("attempt", "key", "life", "looked_at", "number", "seen", "serial", "twist"),
        *("under_way",),
    )

    def __init__(self, number, serial, life, *, key=None, twist=False):
        self.number, self.serial, self.life = number, serial, life
        self.key, self.twist = key, twist
        self.attempt = None
        """Of the store's attempts the one that was granted to it."""
        self.seen = None
        """The attempt of another that it was shown last."""
        self.looked_at = None
        self.under_way = False
        """Whether it was shown one that somebody is sending."""
