"""
Server-sent events: whoever watches is told what changed since they last looked.

A watcher is a cursor, not a queue: it sleeps until anything changes, then asks the
cards what is newer than what it has. Nothing overflows, a slow one gets only the last
state of each card, and one that comes back after a break is served the same way.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from sse_starlette import EventSourceResponse, ServerSentEvent

from gallery.cards import MICRO, Card

HEARTBEAT_S = 15  # below the idle time-outs of proxies, which begin at 30 s
RETRY_MS = 1000  # what a browser waits before it comes back


class Feed:
    """Wakes everybody who watches."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Say that something changed."""
        self._changed.set()
        self._changed = asyncio.Event()

    def next_change(self) -> asyncio.Event:
        """Return what is set at the next change; ask for it before looking."""
        return self._changed


class Source(Protocol):
    """What a stream reads; the store is one."""

    def since(self, version: int) -> list[Card]:
        """Return what changed after *version*, oldest change first."""
        ...

    def version(self) -> int:
        """Return the newest version."""
        ...

    def committed(self) -> int:
        """Return what is spent or may yet be, in millionths of a dollar."""
        ...


async def events(
    feed: Feed, source: Source, seen: int, draw: Callable[[Card], str]
) -> AsyncIterator[ServerSentEvent]:
    """
    Yield every change after version *seen*, for ever, and what is spent by then.

    A watcher from the future has seen another history (the folder was emptied): its
    page is told to load itself anew.
    """
    yield ServerSentEvent(comment="welcome", retry=RETRY_MS)
    if seen > source.version():
        yield ServerSentEvent(event="reload", data="", id="0")
        return
    while True:
        change = feed.next_change()  # before we look: nothing falls in between
        for card in source.since(seen):
            seen = card.version
            yield ServerSentEvent(event="card", data=draw(card), id=str(seen))
        spent = source.committed() / MICRO
        yield ServerSentEvent(event="spent", data=f"${spent:.3f}")
        await change.wait()


def stream(
    feed: Feed, source: Source, seen: int, draw: Callable[[Card], str]
) -> EventSourceResponse:
    """
    Return ``events`` as a response with heartbeats; ends when the server stops.
    """
    return EventSourceResponse(
        events(feed, source, seen, draw), ping=HEARTBEAT_S, send_timeout=HEARTBEAT_S
    )
