"""
Carries each card from its prompt to its picture.

Theory of operation:
1. An order under way is never cancelled: its answer is the only proof of a payment.
2. Following an accepted task is free. It may end at any time (somebody stops waiting,
   the server stops) and is taken up again by the task's id.
3. What a killed process left is in the session's store: what was accepted or made is
   followed at once, and what was on its way is of unknown fate once it is recovered.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio

from apimodels_async import (
    ApiModelsError,
    BudgetExceededError,
    ImageResult,
    JournalError,
    OutcomeUnknownError,
    Session,
    SessionClosedError,
    TaskHandle,
    TaskTimeoutError,
)
from apimodels_async.stores import RecoveredOrder
from gallery import words
from gallery.cards import FOLLOWED, MICRO, OPEN, Card, Stage, micro
from gallery.settings import offered_models
from gallery.store import Store, read

logger = logging.getLogger("gallery")
ORDERS_MAX = 8  # paid requests on their way at once
LOOK_S = 10.0  # between two looks for what a killed process had on its way


class Studio:
    """Orders and follows; one for each process, made by ``opened``."""

    def __init__(
        self, session: Session, store: Store, folder: Path, budget: Decimal | None
    ) -> None:
        self._session = session
        self._store = store
        self._folder = folder
        self._budget = budget
        self._places = anyio.CapacityLimiter(ORDERS_MAX)
        self._orders: set[asyncio.Task[None]] = set()
        self._following: dict[int, asyncio.Task[None]] = {}
        self._recovering: asyncio.Task[None] | None = None
        self._closing = False

    def resume(self) -> None:
        """Take up what an earlier process left."""
        for card in self._store.at(*FOLLOWED):
            self._follow(card)
        self._recovering = asyncio.create_task(self._recover())

    async def _recover(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    async for left in self._session.recover():
                        group.create_task(self._see_to(left))
                except JournalError as error:
                    logger.warning("nothing is recovered now: %s", error)
                await asyncio.sleep(LOOK_S)

    async def _see_to(self, left: RecoveredOrder) -> None:
        """Let history and page know how it ended; its card fetches the picture."""
        try:
            await left.result()
        except (SessionClosedError, TaskTimeoutError):
            return  # the next start recovers it again
        except OutcomeUnknownError:
            card = read(left.record)
            if card is not None and self._store.card(card.id) is not None:
                self._store.end(card.id, words.CUT_OFF, only=[Stage.SENT])
        except ApiModelsError as error:
            logger.warning("order %s: %s", left.idempotency_key, error)
        try:
            await left.ack()
        except JournalError as error:
            logger.warning("order %s comes again: %s", left.idempotency_key, error)

    def order(self, card: Card) -> None:
        """Order a waiting card as soon as there is a place."""
        task = self._start(self._order, card)
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)

    async def stop(self, card: Card) -> bool:
        """
        Stop waiting for a card; its task goes on. Return whether there was a wait.
        """
        follower = self._following.get(card.id)
        if follower is not None:
            follower.cancel()
            await asyncio.wait([follower])
        if self._store.end(card.id, words.WITHDRAWN, only=[Stage.WAITING]):
            return True
        return self._store.end(card.id, words.STOPPED, only=FOLLOWED)

    def again(self, card: Card) -> bool:
        """Take up a card that ended: attach what was accepted, order what was not."""
        if card.again is None:
            return False
        begin = card.again[1]
        blank: dict[str, Any] = {"title": "", "reason": "", "advice": ""}
        if begin is Stage.WAITING:
            blank |= {"task_id": None, "result": None}
        # Two who press at once: the second finds the card gone from its stage.
        if not self._store.change(card.id, only=[card.stage], stage=begin, **blank):
            return False
        fresh = self._store.card(card.id)
        if fresh is not None:
            (self.order if begin is Stage.WAITING else self._follow)(fresh)
        return True

    async def aclose(self) -> None:
        """Let orders under way finish, then leave every task to the next process."""
        self._closing = True
        if self._orders:
            await asyncio.wait(self._orders)
        followers = list(self._following.values())
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.wait([self._recovering])
        for follower in followers:
            follower.cancel()
        if followers:
            await asyncio.wait(followers)
            logger.info("%d tasks are left for the next start", len(followers))

    # --- ordering

    async def _order(self, card: Card) -> None:
        async with self._places:
            if self._closing or not self._intend(card):
                return  # for the next start; or withdrawn meanwhile, or no budget
            try:
                product = await self._place(card)
            except ApiModelsError as error:
                if error.task_id is None or error.charged is False:
                    raise
                product = self._session.images.attach(error.task_id)
            if isinstance(product, TaskHandle) and not product.task_id:
                product = await product  # answered at once, without an id
            accepted = self._accept(card, product)
        if not self._closing:
            self._follow(accepted)

    def _intend(self, card: Card) -> bool:
        # No await in here: nobody else may spend what we are looking at.
        self._check_budget(card, self._store.committed())
        return self._store.change(card.id, only=[Stage.WAITING], stage=Stage.SENT)

    def _check_budget(self, card: Card, committed: int) -> None:
        if self._budget is None or card.price is None:
            return
        if committed + card.price > self._budget * MICRO:
            spent = committed / MICRO
            msg = f"${spent:.3f} of ${self._budget} is spent or promised."
            raise BudgetExceededError(msg)

    async def _place(self, card: Card) -> TaskHandle | ImageResult:
        known = offered_models().get(card.model)
        images = self._session.images
        synchronous = known is not None and known.synchronous
        buy = images.generate if synchronous else images.submit
        return await buy(
            card.prompt,
            model=card.model,
            aspect_ratio=card.aspect_ratio,
            idempotency_key=card.key,
        )

    def _accept(self, card: Card, product: TaskHandle | ImageResult) -> Card:
        if isinstance(product, ImageResult):
            facts = {"stage": Stage.ARRIVING, "result": product, **_figures(product)}
            self._store.change(card.id, **facts)
        else:
            self._store.change(card.id, stage=Stage.PENDING, task_id=product.task_id)
        return self._store.card(card.id) or card

    # --- following

    def _follow(self, card: Card) -> None:
        task = self._start(self._fetch, card)
        self._following[card.id] = task

        def forget(ended: asyncio.Task[None]) -> None:
            if self._following.get(card.id) is ended:
                del self._following[card.id]

        task.add_done_callback(forget)

    async def _fetch(self, card: Card) -> None:
        result = card.result
        if result is None:
            handle = self._session.images.attach(card.task_id or "")
            async for event in handle:
                if not event.state.finished:
                    self._show(card, event.state)
            result = await handle
            facts = {"stage": Stage.ARRIVING, "result": result, **_figures(result)}
            if not self._store.change(card.id, only=FOLLOWED, **facts):
                return  # somebody stopped it before we began
        # The page shows the first; the others lie beside it.
        target = self._folder / f"{card.id:06}"
        paths = await self._session.download_all(result, target)
        names = [path.name for path in paths]
        facts = {"stage": Stage.COMPLETED, "file": names[0]}
        if self._store.change(card.id, only=FOLLOWED, **facts):
            await self._store.saved(card, names)

    def _show(self, card: Card, state: str) -> None:
        # A word the API adds later counts as drawing: it is neither queued nor done.
        stage = Stage.PENDING if state == Stage.PENDING else Stage.PROCESSING
        others = [each for each in FOLLOWED if each is not stage]
        self._store.change(card.id, only=others, stage=stage)

    def _start(
        self, work: Callable[[Card], Awaitable[None]], card: Card
    ) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(
            self._guard(work, card), name=f"gallery-card-{card.id}"
        )

    async def _guard(self, work: Callable[[Card], Awaitable[None]], card: Card) -> None:
        try:
            await work(card)
        except ApiModelsError as error:
            logger.warning("card %d: %s", card.id, error)
            trouble = words.explain(error, accepted=self._is_accepted(card))
            self._store.end(card.id, trouble, only=OPEN)
        except Exception:
            logger.exception("card %d", card.id)
            trouble = words.BROKEN if self._is_accepted(card) else words.CUT_OFF
            self._store.end(card.id, trouble, only=OPEN)

    def _is_accepted(self, card: Card) -> bool:
        fresh = self._store.card(card.id)
        return fresh is not None and fresh.accepted


def _figures(result: ImageResult) -> dict[str, Any]:
    figures: dict[str, Any] = {"seconds": result.duration_s}
    if result.credits is not None:
        figures["price"] = micro(result.credits)
    return figures


@contextlib.asynccontextmanager
async def opened(
    session: Session, store: Store, folder: Path, budget: Decimal | None
) -> AsyncIterator[Studio]:
    """Run a studio for the body; what was left behind is taken up first."""
    studio = Studio(session, store, folder, budget)
    try:
        studio.resume()
        yield studio
    finally:
        await studio.aclose()
