"""What stands in for Unix sockets and file locks, and files that others read."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress

import pytest
from support.waiting import until

from apimodels_async import JournalError
from apimodels_async.cli.files import replace_file
from apimodels_async.stores.sqlite.journal import holder_of, take_lock
from apimodels_async.stores.sqlite.pictures import PictureFolder, _give_name
from apimodels_async.webhooks import Hint, SocketRelay

HINT = Hint("00112233445566778899aabbccddeeff", "clx1")


async def test_a_relay_says_nothing_to_who_does_not_know_the_word(tmp_path):
    """A stranger on this machine can connect, and that is all."""
    taken = []
    relay = SocketRelay(tmp_path)
    async with relay.listening(lambda hint: taken.append(hint) or True):
        (path,) = tmp_path.iterdir()
        port = int(path.read_text().split()[0])
        for line in (b"", b"junk\n", b"x" * 5000, b"\xff\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(line)
            writer.write_eof()
            with suppress(ConnectionResetError):  # it was not all read
                assert await reader.read() == b""
            writer.close()
        assert await relay.publish(HINT)
    assert taken == [HINT]
    assert list(tmp_path.iterdir()) == []


async def test_a_port_that_is_another_ones_by_now_hears_nothing(tmp_path):
    """Whoever answers without the word is told of no task, and its file goes."""
    heard = []

    async def pretend(reader, writer):
        heard.append(await reader.readline())
        writer.write(b"1\n")
        heard.append(await reader.read())
        writer.close()

    async with await asyncio.start_server(pretend, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        path = tmp_path / "x.hook"
        path.write_text(f"{port} asked told")

        assert not await SocketRelay(tmp_path).publish(HINT)
        assert not path.exists()
        await until(lambda: len(heard) == 2)
    assert heard == [b"asked\n", b""]


async def test_a_relay_outlives_junk_and_what_a_killed_process_left(tmp_path, caplog):
    """Junk is told of and left alone; a port where nobody listens is cleared."""
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
    (tmp_path / "dead.hook").write_text(f"{port} asked told")
    (tmp_path / "junk.hook").write_text("junk")

    assert not await SocketRelay(tmp_path).publish(HINT)
    assert [path.name for path in tmp_path.iterdir()] == ["junk.hook"]
    assert "a session did not answer: ValueError" in caplog.text


def test_a_journal_has_one_process_at_a_time(tmp_path):
    """The lock is told with its holder while it is held, and not after."""
    path = tmp_path / "j.sqlite"
    lock = take_lock(path)
    with pytest.raises(JournalError, match=f"pid {os.getpid()}"):
        take_lock(path)
    during = holder_of(path)
    os.close(lock)
    after = holder_of(path)
    os.close(take_lock(path))

    assert (during, after) == (os.getpid(), None)


def test_a_kept_picture_that_is_being_read_is_the_same(tmp_path):
    """One of the same name has the same bytes; when all is pruned it waits."""
    digest = hashlib.sha256(b"moose").hexdigest()
    part, path = tmp_path / "part", tmp_path / f"{digest}.png"
    part.write_bytes(b"moose")
    path.write_bytes(b"moose")
    with path.open("rb"):
        _give_name(part, path, digest)
        PictureFolder(tmp_path).sweep(set())
        assert list(tmp_path.iterdir()) == [path]
    PictureFolder(tmp_path).sweep(set())

    assert list(tmp_path.iterdir()) == []


def test_a_page_that_is_being_read_stays_whole(tmp_path):
    """What cannot be replaced is told, and nothing is left beside it."""
    path = tmp_path / "index.html"
    path.write_text("old")
    with path.open("rb"), pytest.raises(PermissionError):
        replace_file(path, [b"new"])

    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]
