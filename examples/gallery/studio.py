"""
Carries each card from its prompt to its picture.

Theory of operation:
1. An order under way is never cancelled: its answer is the only proof of a payment.
2. Following an accepted task is free. It may end at any time (somebody stops waiting,
   the server stops) and is taken up again from the token in the store.
3. What a killed process left behind tells by its stage what to do: ``waiting`` was not
   sent, ``pending`` and its like are attached, ``sent`` is of unknown fate.
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
    Session,
    TaskHandle,
)
from gallery import words
from gallery.cards import FOLLOWED, MICRO, OPEN, Card, Stage, micro
from gallery.settings import offered_models
from gallery.store import Store

logger = logging.getLogger("gallery")
ORDERS_MAX = 8  # paid requests on their way at once


class Studio:
    """Orders and follows; one for each process, made by :func:`opened`."""

    def __init__(
        self, session: Session, store: Store, folder: Path, budget: Decimal | None
    ) -> None:
        self._session = session
        self._store = store
        self._folder = folder
        self._budget = budget
        self._places = anyio.CapacityLimiter(ORDERS_MAX)
        self._purse = asyncio.Lock()
        self._orders: set[asyncio.Task[None]] = set()
        self._following: dict[int, asyncio.Task[None]] = {}
        self._closing = False

    async def resume(self) -> None:
        """Take up what an earlier process left, each card by its stage."""
        for card in await self._store.at(Stage.SENT):
            await self._store.end(card.id, words.CUT_OFF)
        for card in await self._store.at(*FOLLOWED):
            self._follow(card)
        for card in await self._store.at(Stage.WAITING):
            self.order(card)

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
        if await self._store.end(card.id, words.WITHDRAWN, only=[Stage.WAITING]):
            return True
        return await self._store.end(card.id, words.STOPPED, only=FOLLOWED)

    async def again(self, card: Card) -> bool:
        """Take up a card that ended: attach what was accepted, order what was not."""
        if card.again is None:
            return False
        begin = card.again[1]
        blank: dict[str, Any] = {"title": "", "reason": "", "advice": ""}
        if begin is Stage.WAITING:
            blank |= {"token": None, "task_id": None}
        # Two who press at once: the second finds the card gone from its stage.
        if not await self._store.change(
            card.id, only=[card.stage], stage=begin, **blank
        ):
            return False
        fresh = await self._store.card(card.id)
        if fresh is not None:
            (self.order if begin is Stage.WAITING else self._follow)(fresh)
        return True

    async def aclose(self) -> None:
        """Let orders under way finish, then leave every task to the next process."""
        self._closing = True
        if self._orders:
            await asyncio.wait(self._orders)
        followers = list(self._following.values())
        for follower in followers:
            follower.cancel()
        if followers:
            await asyncio.wait(followers)
            logger.info("%d tasks are left for the next start", len(followers))

    # --- ordering

    async def _order(self, card: Card) -> None:
        async with self._places:
            if self._closing or not await self._intend(card):
                return  # for the next start; or withdrawn meanwhile, or no budget
            try:
                product = await self._place(card)
            except ApiModelsError as error:
                if error.task_id is None or error.charged is False:
                    raise
                product = self._session.images.attach(error.task_id)
            if isinstance(product, TaskHandle) and not product.task_id:
                product = await product  # answered at once, without an id
            accepted = await self._accept(card, product)
        if not self._closing:
            self._follow(accepted)

    async def _intend(self, card: Card) -> bool:
        async with self._purse:  # nobody else may spend what we are looking at
            if self._budget is not None:
                self._check_budget(card, await self._store.committed())
            return await self._store.change(
                card.id, only=[Stage.WAITING], stage=Stage.SENT
            )

    def _check_budget(self, card: Card, committed: int) -> None:
        if self._budget is None or card.price is None:
            return
        if committed + card.price > self._budget * MICRO:
            spent = committed / MICRO
            msg = f"${spent:.3f} of ${self._budget} is spent or promised."
            raise BudgetExceededError(msg)

    async def _place(self, card: Card) -> TaskHandle | ImageResult:
        images, ratio = self._session.images, card.aspect_ratio
        known = offered_models().get(card.model)
        if known is not None and known.synchronous:
            return await images.generate(
                card.prompt, model=card.model, aspect_ratio=ratio
            )
        return await images.submit(card.prompt, model=card.model, aspect_ratio=ratio)

    async def _accept(self, card: Card, product: TaskHandle | ImageResult) -> Card:
        if isinstance(product, ImageResult):
            await self._store.change(
                card.id, stage=Stage.ARRIVING, url=product.url, **_figures(product)
            )
        else:
            token, task_id = product.to_token(), product.task_id
            await self._store.change(
                card.id, stage=Stage.PENDING, token=token, task_id=task_id
            )
        fresh = await self._store.card(card.id)
        return fresh or card

    # --- following

    def _follow(self, card: Card) -> None:
        task = self._start(self._fetch, card)
        self._following[card.id] = task

        def forget(ended: asyncio.Task[None]) -> None:
            if self._following.get(card.id) is ended:
                del self._following[card.id]

        task.add_done_callback(forget)

    async def _fetch(self, card: Card) -> None:
        if card.token is None:
            result = ImageResult(urls=(card.url or "",), model=card.model)
        else:
            handle = self._session.images.attach(card.token)
            async for event in handle:
                if not event.state.finished:
                    await self._show(card, event.state)
            result = await handle
            facts = {"stage": Stage.ARRIVING, "url": result.url, **_figures(result)}
            if not await self._store.change(card.id, only=FOLLOWED, **facts):
                return  # somebody stopped it before we began
        # The page shows the first; the others lie beside it.
        target = self._folder / f"{card.id:06}"
        path, *_ = await self._session.download_all(result, target)
        facts = {"stage": Stage.COMPLETED, "file": path.name}
        await self._store.change(card.id, only=FOLLOWED, **facts)

    async def _show(self, card: Card, state: str) -> None:
        # A word the API adds later counts as drawing: it is neither queued nor done.
        stage = Stage.PENDING if state == Stage.PENDING else Stage.PROCESSING
        others = [each for each in FOLLOWED if each is not stage]
        await self._store.change(card.id, only=others, stage=stage)

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
            accepted = await self._is_accepted(card)
            trouble = words.explain(error, accepted=accepted)
            await self._store.end(card.id, trouble, only=OPEN)
        except Exception:
            logger.exception("card %d", card.id)
            accepted = await self._is_accepted(card)
            trouble = words.BROKEN if accepted else words.CUT_OFF
            await self._store.end(card.id, trouble, only=OPEN)

    async def _is_accepted(self, card: Card) -> bool:
        fresh = await self._store.card(card.id)
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
        await studio.resume()
        yield studio
    finally:
        await studio.aclose()
