"""
Reads a batch's journal, also while another process writes it.

Connections are read-only, short, and can neither block a running batch nor repair or
empty its log.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from decimal import Decimal
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args
from urllib.parse import quote

from attrs import define, frozen

from apimodels_async import JournalError
from apimodels_async._core.files.names import load_files
from apimodels_async._core.money.records import read_amount

if TYPE_CHECKING:
    from collections.abc import Iterator

State = Literal["completed", "pending", "failed", "refused", "unknown"]
_STATES: Final = get_args(State)
_COLUMNS: Final = (
    "number, model, state, price, cost, task_id, file, error, "
    "json_extract(request, '$.prompt'), json_extract(request, '$.seed'), "
    "json_extract(result, '$.duration_s')"
)


@frozen(kw_only=True)
class JournalEntry:
    """One row that was ordered."""

    number: int
    model: str
    prompt: str
    state: State
    price: Decimal
    """US dollars, by the published hint when it was ordered; 0 if there was none."""
    cost: Decimal | None
    """US dollars, as the API stated it."""
    task_id: str | None
    files: tuple[Path, ...]
    """Its pictures, in the order of the result."""
    error: str | None
    seed: int | None
    time_s: float | None
    """Of service, by the API's own clock."""

    @property
    def file(self) -> Path | None:
        """Its first picture."""
        return self.files[0] if self.files else None


@define
class Totals:
    """
    What the journal adds up to. Amounts in US dollars.
    """

    stated: int = 0
    """Completed, with a cost that the API stated."""
    priced: int = 0
    """Completed; the API stated no cost, the published price counts."""
    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    """On what is on its way or of unknown fate."""


def is_store(file: Path) -> bool:
    """
    Return whether *file* is an order store; else it is a batch's journal. Blocking.

    Raises:
        JournalError: It is neither.
    """
    query = "SELECT name FROM sqlite_master WHERE type = 'table'"
    with _rows(file, query) as rows:
        tables = {name for (name,) in rows}
    if not tables & {"orders", "items"}:
        msg = f"{file} is neither an order store nor the journal of a batch"
        raise JournalError(msg)
    return "orders" in tables


def read_entries(
    journal: Path, pictures: Path | None, *, running: bool, limit: int | None = None
) -> list[JournalEntry]:
    """
    Return what was ordered, by number; nothing if there is no journal yet. Blocking.

    Args:
        pictures: The folder in which its files are, wherever that was when they came;
            None: where they were then.

        running: Whether a batch is at work on it: then what was written down just
            before it is sent is on its way, else of unknown fate.

        limit: Most entries; those that did not complete come first.

    Raises:
        JournalError: It cannot be read, or is damaged.
    """
    query = (
        f"SELECT {_COLUMNS} FROM items "  # noqa: S608  constants
        "ORDER BY state = 'completed', number LIMIT ?"
    )
    with _rows(journal, query, -1 if limit is None else limit) as rows:
        entries = [_entry(row, pictures, running=running) for row in rows]
        return sorted(entries, key=lambda entry: entry.number)


def read_totals(journal: Path) -> Totals:
    """
    Return the money of all runs together. Blocking.

    Raises:
        JournalError: It cannot be read, or is damaged.
    """
    totals = Totals()
    with _rows(journal, "SELECT state, price, cost FROM items") as rows:
        for state, price, cost in rows:
            if state == "completed":
                totals.spent += read_amount(price if cost is None else cost)
                totals.stated += cost is not None
                totals.priced += cost is None
            elif state not in {"failed", "refused"}:
                totals.reserved += read_amount(price)
    return totals


def read_states(journal: Path) -> dict[int, str]:
    """
    Return number -> the journal's own word for how far it got. Blocking.

    Raises:
        JournalError: It cannot be read.
    """
    with _rows(journal, "SELECT number, state FROM items") as rows:
        return dict(rows)


def running_pid(journal: Path) -> int | None:
    """
    Return the id of the process that works with *journal*. Blocking, for a moment.
    """
    lock = journal.with_name(journal.name + ".lock")
    with contextlib.suppress(OSError, ValueError, OverflowError):
        pid = int(lock.read_text(encoding="ascii"))
        os.kill(pid, 0)
        # The number may be another process's by now: ask the lock itself, shared.
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return pid
    return None


def _entry(
    row: tuple[Any, ...], pictures: Path | None, *, running: bool
) -> JournalEntry:
    number, model, state, price, cost, task_id, file, error, prompt, seed, time_s = row
    if state == "intended":
        state = "pending" if running else "unknown"
    state = "pending" if state == "accepted" else state
    word: State | None = next((each for each in _STATES if each == state), None)
    texts = all(isinstance(each, str | None) for each in (task_id, file, error))
    if not (texts and isinstance(number, int) and isinstance(model, str) and word):
        msg = "it is damaged"
        raise ValueError(msg)
    return JournalEntry(
        number=number,
        model=model,
        prompt=prompt if isinstance(prompt, str) else "",
        state=word,
        price=read_amount(price),
        cost=None if cost is None else read_amount(cost),
        task_id=task_id,
        # The folder may have been moved, and is not to lead out of itself.
        files=tuple(
            Path(each) if pictures is None else pictures / Path(each).name
            for each in load_files(file)
        ),
        error=error,
        seed=seed if isinstance(seed, int) else None,
        time_s=time_s if isinstance(time_s, float) and isfinite(time_s) else None,
    )


@contextlib.contextmanager
def _rows(journal: Path, query: str, *values: object) -> Iterator[Iterator[Any]]:
    """
    Hand over the rows of *query*; what is wrong with one is a ``JournalError``.

    The connection is closed on the way out: SQLite wants that from the same thread.
    """
    try:
        if not journal.exists():
            yield iter(())
            return
        with contextlib.closing(_connect(journal)) as connection:
            yield connection.execute(query, values)
    except (sqlite3.Error, ValueError) as error:
        msg = f"the journal {journal} cannot be read: {error}"
        raise JournalError(msg) from None


def _connect(journal: Path) -> sqlite3.Connection:
    # Without a log nobody writes: immutable leaves no files of SQLite's own behind.
    log = journal.with_name(journal.name + "-wal")
    still = "" if log.exists() else "&immutable=1"
    uri = f"file:{quote(str(journal.absolute()))}?mode=ro{still}"
    return sqlite3.connect(uri, uri=True, isolation_level=None)
