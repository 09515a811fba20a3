"""
The gallery's cards: what the session's store remembers, and what the page adds to it.

Rules:
1. The order store is the only file. A card's idempotency key is the form's token and
   the card's number, so the next process makes the same cards from the history.
2. What only the page knows (a place in the queue, a wait that was stopped, a budget's
   refusal) is in memory and ends with the process: nothing of it was paid for.
3. Every change has a version of its own, which grows over restarts as well, so "what is
   new since 41" has an answer.
"""

import json
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import asdict, evolve

from apimodels_async import ConfigurationError, Session
from apimodels_async.stores import OrderRecord, OrderState, SqliteStore
from gallery import words
from gallery.cards import UNCHARGED, Card, Stage, micro
from gallery.feed import Feed
from gallery.words import Trouble


class UsedTokenError(ValueError):
    """The form was ordered before, with other prompts."""


class Store:
    """All cards, past and present; made by ``opened``."""

    def __init__(self, session: Session, orders: SqliteStore, feed: Feed) -> None:
        self._session = session
        self._orders = orders
        self._feed = feed
        self._cards: dict[int, Card] = {}
        """By their numbers; those that the history knew first, newest first."""
        self._version = 0

    async def load(self) -> None:
        """Make the cards of all orders there were, as far as they are the gallery's."""
        found: dict[int, Card] = {}
        async for record in self._session.history():
            card = read(record)
            if card is not None:
                found.setdefault(card.id, card)  # the newest attempt at it
        for number in sorted(found):
            self._keep(found[number])

    def _keep(self, card: Card) -> None:
        self._version = max(self._version + 1, time.time_ns() // 1_000_000)
        self._cards[card.id] = evolve(card, version=self._version)
        self._feed.tell()

    def add(
        self,
        token: str,
        orders: Sequence[tuple[str, int | None]],
        model: str,
        ratio: str,
    ) -> tuple[list[Card], bool]:
        """
        Add a waiting card for each prompt and price; return them in order, and whether
        they are new: a form that is sent twice has its cards already.

        The first gets the highest number: newest first is also the order asked for.

        Raises:
            UsedTokenError: It was sent before, with other orders.
        """
        known = [card for card in self._newest() if card.token == token]
        if known:
            prompts = [prompt for prompt, _ in orders]
            asked = {(card.prompt, card.model, card.aspect_ratio) for card in known}
            if not asked <= {(prompt, model, ratio) for prompt in prompts}:
                msg = "This form was ordered before, with other prompts: draw again."
                raise UsedTokenError(msg)
            return known, False
        last, now = max(self._cards, default=0), datetime.now(UTC)
        for number, (prompt, price) in enumerate(reversed(orders), last + 1):
            card = Card(
                id=number,
                token=token,
                stage=Stage.WAITING,
                prompt=prompt,
                model=model,
                aspect_ratio=ratio,
                created_at=now,
                price=price,
            )
            self._keep(card)
        return self._newest()[: len(orders)], True

    def change(
        self, card_id: int, *, only: Sequence[Stage] | None = None, **values: Any
    ) -> bool:
        """
        Change a card, if it is at one of the stages *only*; return whether it was.
        """
        card = self._cards[card_id]
        if only is not None and card.stage not in only:
            return False
        self._keep(evolve(card, **values))
        return True

    def end(self, card_id: int, trouble: Trouble, **more: Any) -> bool:
        """Leave a card where *trouble* put it; *more* as for ``change``."""
        return self.change(card_id, **asdict(trouble), **more)

    async def saved(self, card: Card, files: Sequence[str]) -> None:
        """Let the history know where its pictures are."""
        record = await self._session.find(card.key)
        if record is not None:
            await self._orders.saved(record.attempt, files)

    def card(self, card_id: int) -> Card | None:
        """Return one card, if there is one of that number."""
        return self._cards.get(card_id)

    def page(self, before: int | None, count: int) -> list[Card]:
        """Return the newest *count* cards, or those older than card *before*."""
        older = [c for c in self._newest() if before is None or c.id < before]
        return older[:count]

    def since(self, version: int) -> list[Card]:
        """Return what changed after *version*, oldest change first."""
        newer = [card for card in self._cards.values() if card.version > version]
        return sorted(newer, key=lambda card: card.version)

    def at(self, *stages: Stage) -> list[Card]:
        """Return the cards at these stages, oldest first."""
        return [c for c in reversed(self._newest()) if c.stage in stages]

    def counts(self) -> Counter[Stage]:
        """Return how many cards are at each stage."""
        return Counter(card.stage for card in self._cards.values())

    def committed(self) -> int:
        """Return what is spent or may yet be, in millionths of a dollar."""
        return sum(
            card.price or 0
            for card in self._cards.values()
            if card.stage not in (*UNCHARGED, Stage.WAITING)
            and (card.stage is not Stage.STOPPED or card.accepted)
        )

    def version(self) -> int:
        """Return the newest version; 0 while there are no cards."""
        return self._version

    def _newest(self) -> list[Card]:
        return [self._cards[number] for number in sorted(self._cards, reverse=True)]


def read(record: OrderRecord) -> Card | None:
    """Return the card of an order, as a process that has just begun sees it."""
    token, _, number = record.idempotency_key.rpartition("/")
    if not token or not number.isdecimal():
        return None
    request = json.loads(record.request)
    result = record.result
    card = Card(
        id=int(number),
        token=token,
        stage=Stage.SENT,
        prompt=record.prompt or "",
        model=record.model,
        aspect_ratio=str(request.get("aspectRatio") or request.get("aspect_ratio", "")),
        created_at=record.intended_at,
        price=micro(record.price if record.cost is None else record.cost),
        task_id=record.task_id,
        file=next(iter(record.files), None),
        result=result,
        seconds=None if result is None else result.duration_s,
    )
    match record.state:
        case OrderState.ACCEPTED:
            return evolve(card, stage=Stage.PENDING)
        case OrderState.COMPLETED:
            there = card.file is not None
            return evolve(card, stage=Stage.COMPLETED if there else Stage.ARRIVING)
        case OrderState.INTENDED:  # its process is gone, but who knows since when
            return card
    return evolve(card, **asdict(words.remembered(record)))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """
    Keep *folder* for this process: two would follow the same tasks.

    Raises:
        ConfigurationError: Another one has it.
    """
    path = folder / "gallery.lock"
    with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")  # goes with the process, also when killed
        except sqlite3.OperationalError as error:
            msg = (
                f"{path} cannot be had ({error}): run one gallery with one worker for "
                "a folder; GALLERY_DIR names another one"
            )
            raise ConfigurationError(msg) from error
        yield


@asynccontextmanager
async def opened(folder: Path, feed: Feed) -> AsyncIterator[tuple[Session, Store]]:
    """
    Open session and cards for the body; nobody else may have the folder open.

    Raises:
        ConfigurationError: Another process has it.
    """
    orders = SqliteStore(folder / "orders.sqlite")
    with alone(folder):
        # Key and address are those of APIMODELS_API_KEY and APIMODELS_BASE_URL.
        async with Session(store=orders) as session:
            store = Store(session, orders, feed)
            await store.load()
            yield session, store
