"""Pictures inside requests and results: files beside the store, names in its text."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from contextlib import closing
from datetime import timedelta
from decimal import Decimal

import pytest

from apimodels_async import ImageResult
from apimodels_async._core.money.orders import ORDERED_ANEW, NewOrder
from apimodels_async.stores import HistoryQuery, OrderState, SqliteStore

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
INLINE = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
NAME = hashlib.sha256(PICTURE).hexdigest()


def order(key, request="{}"):
    """Return an order to begin."""
    return NewOrder(
        scope="s",
        idempotency_key=key,
        digest="1:d",
        model="m",
        prompt=None,
        request=request,
        price=None,
        owner="o",
        nonce=None,
    )


def result_of(*urls):
    """Return a result."""
    return ImageResult(urls=urls, task_id=None, model="m", credits=Decimal("0.01"))


@pytest.fixture
async def store(tmp_path):
    """Open a store."""
    store = SqliteStore(tmp_path / "o.sqlite")
    await store.open()
    yield store
    await store.aclose()


@pytest.fixture
def folder(tmp_path):
    """Return where its pictures are."""
    return tmp_path / "o.sqlite.files"


async def complete(store, key, *urls, request="{}"):
    """Order and complete."""
    claim = await store.begin(order(key, request), ORDERED_ANEW)
    attempt = claim.record.attempt
    await store.ended(attempt, OrderState.COMPLETED, result=result_of(*urls))


async def test_a_picture_comes_back_as_it_was(store, folder):
    """The result has it whole; the file beside the store is the picture itself."""
    await complete(store, "k", INLINE, "https://files.example/2.png")

    record = await store.find("s", "k")
    assert record.result.urls == (INLINE, "https://files.example/2.png")
    assert (folder / f"{NAME}.png").read_bytes() == PICTURE


async def test_the_text_of_the_store_stays_small(store, folder, tmp_path):
    """The same picture in request and result, twice, is kept once, and by its name."""
    request = f'{{"image":"{INLINE}"}}'
    for key in ("k", "l"):
        await complete(store, key, INLINE, request=request)

    rows = sqlite3.connect(tmp_path / "o.sqlite").execute(
        "SELECT request, result FROM orders"
    )
    assert all(NAME in text and len(text) < 600 for row in rows for text in row)
    assert [path.name for path in folder.iterdir()] == [f"{NAME}.png"]
    assert (await store.find("s", "k")).request == request


async def test_the_history_names_pictures_alone(store):
    """A page of history does not hold a hundred pictures."""
    await complete(store, "k", INLINE)

    page = await store.history("s", HistoryQuery(), before=None, limit=9)
    assert page[0].result.url == f"data:image/png;sha256,{NAME}"


async def test_a_lost_file_does_not_hide_the_order(store, folder):
    """Where the file is gone, its name is what is left."""
    await complete(store, "k", INLINE)
    (folder / f"{NAME}.png").unlink()

    record = await store.find("s", "k")
    assert record.result.url == f"data:image/png;sha256,{NAME}"


async def test_pruning_removes_what_nothing_names(store, folder):
    """A picture goes with the last order that has it."""
    other = INLINE.replace("AAEC", "AQEC")
    await complete(store, "k", INLINE)
    await store.begin(order("l", f'{{"image":"{other}"}}'), ORDERED_ANEW)
    assert len(list(folder.iterdir())) == 2
    assert await store.prune(timedelta(0)) == 1

    (left,) = folder.iterdir()
    assert left.stem != NAME


async def test_what_is_no_picture_stays_text(store, folder):
    """Short addresses, and what does not decode, are left as they are."""
    strange = "data:image/png;base64," + "!" * 600
    await complete(store, "k", "data:image/png;base64,AAAA", strange)

    record = await store.find("s", "k")
    assert record.result.urls == ("data:image/png;base64,AAAA", strange)
    assert not folder.exists()


async def test_a_picture_that_cannot_be_kept_is_said(store, folder):
    """The error has the system's reason, and other orders go on."""
    folder.write_text("in the way")
    claim = await store.begin(order("k"), ORDERED_ANEW)
    with pytest.raises(Exception, match="store") as raised:
        await store.ended(
            claim.record.attempt, OrderState.COMPLETED, result=result_of(INLINE)
        )
    assert type(raised.value).__name__ == "JournalError"
    await complete(store, "l", "https://files.example/2.png")


async def test_the_copy_in_a_raw_answer_is_no_second_one(store, folder):
    """Its base64 text is a name in the store as well, and whole in what is read."""
    text = INLINE.partition(",")[2]
    raw = {"data": [{"b64_json": text}]}
    result = ImageResult(urls=(INLINE,), task_id=None, model="m", raw=raw)
    claim = await store.begin(order("k"), ORDERED_ANEW)
    await store.ended(claim.record.attempt, OrderState.COMPLETED, result=result)

    assert (await store.find("s", "k")).result == result
    assert (await store.find("s", "k")).result.raw == raw
    with closing(sqlite3.connect(store.path)) as connection:
        [(kept,)] = connection.execute("SELECT result FROM orders")
    assert len(kept) < 1000
    assert len(list(folder.iterdir())) == 1
