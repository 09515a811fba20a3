"""Pictures inside requests and results: files beside the store, names in its text."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sqlite3
import stat
import time
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from support.orders import SCOPE, begun

from apimodels_async import ImageResult, JournalError
from apimodels_async.stores import HistoryQuery, OrderState, SqliteStore

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
INLINE = "data:image/png;base64," + base64.b64encode(PICTURE).decode()
NAME = hashlib.sha256(PICTURE).hexdigest()


def result_of(*urls):
    """Return a result."""
    return ImageResult(urls=urls, task_id=None, model="m", credits=Decimal("0.01"))


@pytest.fixture
def store(sqlite_store):
    """Return an open store."""
    return sqlite_store


@pytest.fixture
def folder(tmp_path):
    """Return where its pictures are."""
    return tmp_path / "orders.sqlite.files"


async def complete(store, key, *urls, request="{}"):
    """Order and complete."""
    attempt = await begun(store, key, request=request)
    await store.ended(attempt, OrderState.COMPLETED, result=result_of(*urls))


async def test_a_picture_comes_back_as_it_was(store, folder):
    """The result has it whole; the file beside the store is the picture itself."""
    await complete(store, "k", INLINE, "https://files.example/2.png")

    record = await store.find(SCOPE, "k")
    assert record.result.urls == (INLINE, "https://files.example/2.png")
    assert (folder / f"{NAME}.png").read_bytes() == PICTURE


@pytest.mark.skipif(os.name != "posix", reason="no modes of files")
async def test_the_folder_of_pictures_is_private(store, folder):
    """As the store's file is: its owner's alone."""
    await complete(store, "k", INLINE)

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


async def test_the_text_of_the_store_stays_small(store, folder, tmp_path):
    """The same picture in request and result, twice, is kept once, and by its name."""
    request = f'{{"image":"{INLINE}"}}'
    await complete(store, "k", INLINE, request=request)
    (written,) = (path.stat() for path in folder.iterdir())
    await complete(store, "l", INLINE, request=request)
    (found,) = (path.stat() for path in folder.iterdir())
    assert (found.st_ino, found.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    with closing(sqlite3.connect(tmp_path / "orders.sqlite")) as connection:
        rows = connection.execute("SELECT request, result FROM orders").fetchall()
    assert all(NAME in text and len(text) < 600 for row in rows for text in row)
    assert [path.name for path in folder.iterdir()] == [f"{NAME}.png"]
    assert (await store.find(SCOPE, "k")).request == request


async def test_the_history_names_pictures_alone(store):
    """A page of history does not hold a hundred pictures."""
    await complete(store, "k", INLINE)

    page = await store.history(SCOPE, HistoryQuery(), before=None, limit=9)
    assert page[0].result.url == f"data:image/png;sha256,{NAME}"


async def test_a_lost_file_does_not_hide_the_order(store, folder):
    """Where the file is gone, its name is what is left."""
    await complete(store, "k", INLINE)
    (folder / f"{NAME}.png").unlink()

    record = await store.find(SCOPE, "k")
    assert record.result.url == f"data:image/png;sha256,{NAME}"


@pytest.mark.parametrize("content", [b"", PICTURE[:99], PICTURE.replace(b"\0", b"\1")])
async def test_a_damaged_file_is_not_taken_for_the_picture(store, folder, content):
    """It is as good as gone, until the same picture comes again."""
    await complete(store, "k", INLINE)
    (folder / f"{NAME}.png").write_bytes(content)

    record = await store.find(SCOPE, "k")
    assert record.result.url == f"data:image/png;sha256,{NAME}"
    await complete(store, "l", INLINE)
    for key in ("k", "l"):
        assert (await store.find(SCOPE, key)).result.url == INLINE


@pytest.mark.parametrize("word", ["data", "bare"])
async def test_a_name_that_somebody_wrote_leads_nowhere(store, word):
    """Who knows the digest of another's picture is not given it for its name."""
    await complete(store, "k", INLINE)
    prompt = f"a fox\\;sha256, {word}:image/png;sha256,{NAME}"
    request = json.dumps({"prompt": prompt, "image": INLINE})
    attempt = await begun(store, "l", request=request)
    result = ImageResult(
        urls=(INLINE,), task_id=None, model="m", raw={"prompt": prompt}
    )
    await store.ended(attempt, OrderState.COMPLETED, result=result)

    record = await store.find(SCOPE, "l")
    assert json.loads(record.request) == {"prompt": prompt, "image": INLINE}
    assert record.result == result
    assert record.result.raw == {"prompt": prompt}


async def test_pruning_removes_what_nothing_names(store, folder):
    """A picture goes with the last order that has it."""
    other = INLINE.replace("AAEC", "AQEC")
    await complete(store, "k", INLINE)
    await begun(store, "l", request=f'{{"image":"{other}"}}')
    assert len(list(folder.iterdir())) == 2
    assert await store.prune(timedelta(0)) == 1

    (left,) = folder.iterdir()
    assert left.stem != NAME


async def test_pruning_that_is_undone_removes_no_picture(store):
    """Something breaks that was to be committed with it."""
    await complete(store, "k", INLINE)

    def broken(db):
        raise GeneratorExit  # with an error, each would be done by itself

    calls = (
        store._do(lambda db: time.sleep(0.2)),  # meanwhile both others are queued
        store.prune(timedelta(0)),
        store._do(broken),
    )
    _, *undone = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(each) for each in undone] == [JournalError, JournalError]

    record = await store.find(SCOPE, "k")
    assert record.result.url == INLINE


async def test_pruning_removes_what_a_killed_process_left_and_no_other_file(
    store, folder
):
    """A part is nobody's once it is our turn; a file with a name of its own stays."""
    await complete(store, "k", INLINE)
    part = folder / f".{NAME}.png.1234.part"
    notes = folder / "notes.txt"
    for path in (part, notes):
        path.write_text("x")
    (folder / "folder").mkdir()
    assert await store.prune(timedelta(hours=1)) == 0

    assert sorted(path.name for path in folder.iterdir()) == [
        f"{NAME}.png",
        "folder",
        "notes.txt",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
async def test_a_picture_that_does_not_fit_leaves_nothing(store, folder):
    """A full disk is not kept full by a part of it."""
    folder.mkdir()
    (folder / f".{NAME}.png.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(JournalError, match=r"[Nn]o space"):
        await complete(store, "k", INLINE)

    assert not list(folder.iterdir())


async def test_a_link_to_a_store_leads_to_its_pictures(store, tmp_path):
    """They are beside the file, not beside its other name."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.sqlite"
    link.symlink_to(tmp_path / "orders.sqlite")
    other = SqliteStore(link)
    await other.open()
    await complete(store, "k", INLINE)
    await complete(other, "l", INLINE)

    for each in (store, other):
        for key in ("k", "l"):
            assert (await each.find(SCOPE, key)).result.url == INLINE
    assert list((tmp_path / "elsewhere").iterdir()) == [link]
    await other.aclose()


async def test_what_is_no_picture_stays_text(store, folder):
    """Short addresses, and what does not decode, are left as they are."""
    strange = "data:image/png;base64," + "!" * 600
    await complete(store, "k", "data:image/png;base64,AAAA", strange)

    record = await store.find(SCOPE, "k")
    assert record.result.urls == ("data:image/png;base64,AAAA", strange)
    assert not folder.exists()


async def test_a_picture_that_cannot_be_kept_is_said(store, folder):
    """The error has the system's reason, and other orders go on."""
    folder.write_text("in the way")
    attempt = await begun(store)
    with pytest.raises(Exception, match="store") as raised:
        await store.ended(attempt, OrderState.COMPLETED, result=result_of(INLINE))
    assert type(raised.value).__name__ == "JournalError"
    await complete(store, "l", "https://files.example/2.png")


async def test_the_copy_in_a_raw_answer_is_no_second_one(store, folder):
    """Its base64 text is a name in the store as well, and whole in what is read."""
    text = INLINE.partition(",")[2]
    raw = {"data": [{"b64_json": text}]}
    result = ImageResult(urls=(INLINE,), task_id=None, model="m", raw=raw)
    attempt = await begun(store)
    await store.ended(attempt, OrderState.COMPLETED, result=result)

    assert (await store.find(SCOPE, "k")).result == result
    assert (await store.find(SCOPE, "k")).result.raw == raw
    with closing(sqlite3.connect(store.path)) as connection:
        [(kept,)] = connection.execute("SELECT result FROM orders")
    assert len(kept) < 1000
    assert len(list(folder.iterdir())) == 1


async def test_pruning_spares_pictures_that_a_damaged_row_names(store, folder):
    """Text that is no UTF-8 is looked through all the same."""
    await complete(store, "k", INLINE)
    with closing(sqlite3.connect(store.path)) as connection:
        sql = "UPDATE orders SET result = CAST(CAST(result AS BLOB) || x'ff' AS TEXT)"
        connection.execute(sql)
        connection.commit()
    await store.prune(timedelta(days=1))

    assert [path.name for path in folder.iterdir()] == [f"{NAME}.png"]
