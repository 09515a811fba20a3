"""``apimodels ls``: what a batch ordered, also while it runs; or what a store has."""

from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from cyclopts import Parameter

from apimodels_async._core.files.names import name_in
from apimodels_async._text import counted
from apimodels_async.cli.batch.folder import Folder
from apimodels_async.cli.batch.journal import is_journal, read_cards
from apimodels_async.cli.commands.orders import print_orders
from apimodels_async.cli.completion import complete_path
from apimodels_async.cli.gallery.card import Card, State
from apimodels_async.cli.options import Flag
from apimodels_async.cli.output import Output, dollars, short_prompt
from apimodels_async.cli.store import Store
from apimodels_async.cli.terminal.tables import Column, Rows
from apimodels_async.stores import OrderRecord, OrderState, SqliteStore, read_history
from apimodels_async.stores.places import store_at
from apimodels_async.stores.sqlite.journal import holder_of

States = Annotated[list[State] | None, Parameter(negative="")]
COLUMNS = (
    *(Column("no.", right=True), Column("state", state=True)),
    *(Column("cost", right=True), Column("task", rank=2), Column("file", rank=1)),
    Column("prompt"),
)


async def ls(
    folder: Annotated[str, Parameter(completer=complete_path)],
    *,
    state: States = None,
    base_url: str | None = None,
    json: Flag = False,
) -> None:
    """
    List what the batch in FOLDER ordered, also while it runs; free, needs no key.

    FOLDER may also be a file: the journal of a batch, or an order store, of which each
    order is listed as by "apimodels history"; or a store's address, redis://...

    Args:
        folder: As given to "apimodels batch --out", or --folder.

        state: Only these; repeatable. What is on its way is "pending".

        base_url: Of a store, address of the API it was ordered at, else
            APIMODELS_BASE_URL, else the vendor's.

        json: One JSON object a line instead of text.
    """
    output = Output(json)
    store = store_at(folder.strip() or ".")
    if not isinstance(store, SqliteStore):
        await _list_store(output, store, state, base_url)
        return
    place = Folder.at(Path(folder))
    journal, ordered, pictures = place.journal, None, None
    queued = False
    if await anyio.to_thread.run_sync(place.path.is_file):
        journal = place.path
        if not await is_journal(journal):
            await _list_store(output, SqliteStore(journal), state, base_url)
            return
    else:
        plan = await anyio.to_thread.run_sync(place.started)
        ordered, pictures = plan.ordered, plan.destination or place.pictures
        queued = plan.queued_as is not None
    pid = await anyio.to_thread.run_sync(holder_of, journal)
    running = pid is not None
    cards = await read_cards(journal, pictures, running=running or queued)
    shown = [card for card in cards if not state or card.state in state]
    rows = Rows(output, COLUMNS)
    for card in shown:
        rows.add(*_cells(card))
        output.record(
            "item",
            number=card.number,
            state=card.state,
            model=card.model,
            prompt=card.prompt,
            credits=card.cost,
            price=card.price,
            task_id=card.task_id,
            path=card.files[0] if card.files else None,
            paths=card.files,
            seed=card.seed,
            duration_s=card.time_s,
            error=card.error,
        )
    rows.close()
    counts = Counter(card.state for card in cards)
    words = [f"{count} {word}" for word, count in counts.most_common()]
    if ordered is not None:
        words.append(f"{max(0, ordered - len(cards))} not ordered yet")
    spent = sum(
        (card.cost if card.cost is not None else card.price)
        for card in cards
        if card.state == "completed"
    )
    output.note(
        f"{counted(ordered or len(cards), 'row')}: {', '.join(words)}; ${spent} spent; "
        + ("not running" if pid is None else f"running now (pid {pid})")
    )


async def _list_store(
    output: Output, store: Store, states: list[State] | None, base_url: str | None
) -> None:
    async with aclosing(read_history(store, base_url=base_url)) as found:
        fits = (each async for each in found if not states or _word(each) in states)
        await print_orders(output, store, fits)


def _word(record: OrderRecord) -> str:
    """Return the state of a store's order in the words for a batch's."""
    if record.state is OrderState.INTENDED:
        return "pending" if record.owned else "unknown"
    return "pending" if record.state is OrderState.ACCEPTED else record.state


def _cells(card: Card) -> tuple[str, ...]:
    file = ", ".join(name_in(str(each)) for each in card.files) or "-"
    return (
        *(str(card.number), card.state, dollars(card.cost), card.task_id or "-", file),
        short_prompt(card.prompt),
    )
