"""Hints reach the sessions that wait for them, within a process and between some."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from contextlib import AsyncExitStack

import pytest
from support.waiting import until

from apimodels_async import ConfigurationError
from apimodels_async._io.relays import directory_problem, is_own_socket
from apimodels_async.webhooks import Hint, MemoryRelay, SocketRelay

HINT = Hint("00112233445566778899aabbccddeeff", "clx1")


@pytest.fixture(params=["memory", "sockets"])
def relay(request, tmp_path):
    """Return each kind of relay."""
    return MemoryRelay() if request.param == "memory" else SocketRelay(tmp_path / "h")


async def test_one_that_takes_it_is_enough(relay):
    """Every listener is asked, and one that knows the order is told of."""
    asked = []

    def no(hint):
        asked.append(hint)
        return False

    def yes(hint):
        asked.append(hint)
        return True

    async with relay.listening(no):
        assert not await relay.publish(HINT)
        async with relay.listening(yes), relay.listening(no):
            assert await relay.publish(HINT)
        assert not await relay.publish(HINT)
    assert asked == [HINT] * 5


async def test_nobody_is_nobody(relay):
    """Without a listener nothing is taken, and nothing is raised."""
    assert not await relay.publish(HINT)


LISTEN = """
import asyncio, sys
from apimodels_async.webhooks import SocketRelay
async def main():
    async with SocketRelay(sys.argv[1]).listening(lambda hint: hint.task_id == "clx1"):
        print("listening", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_a_killed_process_leaves_nothing_that_matters(tmp_path):
    """A listener in another process answers; after kill -9 its socket is cleared."""
    command = [sys.executable, "-c", LISTEN, str(tmp_path)]
    pipe = asyncio.subprocess.PIPE
    listener = await asyncio.create_subprocess_exec(*command, stdout=pipe)
    try:
        await listener.stdout.readline()
        relay = SocketRelay(tmp_path)
        assert await relay.publish(HINT)
        assert not await relay.publish(Hint(HINT.nonce, "another"))
    finally:
        listener.kill()
        await listener.communicate()
    assert [path.suffix for path in tmp_path.iterdir()] == [".hook"]
    assert not await relay.publish(HINT)
    assert list(tmp_path.iterdir()) == []


async def test_a_listener_that_hangs_up_is_no(tmp_path, caplog):
    """A socket that closes without an answer has not taken anything."""

    def hang_up(reader, writer):
        writer.close()

    async with await asyncio.start_unix_server(hang_up, tmp_path / "x.hook"):
        assert not await SocketRelay(tmp_path).publish(HINT)


async def test_a_socket_that_is_none_is_no(tmp_path, caplog):
    """A file, a directory and a link of that name are left alone, and told of."""
    places = [tmp_path / f"{name}.hook" for name in "wxyz"]
    places[0].write_text("mine")
    places[1].mkdir()
    places[2].symlink_to(tmp_path / "gone")
    async with SocketRelay(tmp_path / "h").listening(lambda _: True):
        (socket,) = (tmp_path / "h").iterdir()
        places[3].symlink_to(socket)

        assert not await SocketRelay(tmp_path).publish(HINT)
        assert await SocketRelay(tmp_path / "h").publish(HINT)
    assert [f"{place} is no socket of this user's" in caplog.text for place in places]
    assert [*map(os.path.lexists, places)] == [True] * 4


@pytest.mark.parametrize("line", [b"", b"junk\n", b"[1]\n", b"x" * 5000, b"null\n"])
async def test_junk_is_not_passed_on(tmp_path, line):
    """What is no hint reaches no session, and the listener lives on."""
    taken = []
    relay = SocketRelay(tmp_path)
    async with relay.listening(lambda hint: taken.append(hint) or True):
        (path,) = tmp_path.iterdir()
        reader, writer = await asyncio.open_unix_connection(path)
        async with AsyncExitStack() as stack:
            stack.callback(writer.close)
            writer.write(line)
            writer.write_eof()
            assert await reader.read() == b""
        assert await relay.publish(HINT)
    assert taken == [HINT]


def test_a_path_too_long_for_a_socket_is_refused(tmp_path):
    """What the kernel would refuse later is refused at once."""
    with pytest.raises(ConfigurationError, match="shorter"):
        SocketRelay(tmp_path / ("x" * 100))


async def test_a_directory_that_others_can_write_is_refused(tmp_path, caplog):
    """Neither made into a relay, listened in nor looked into; with sticky bit it is."""
    place = tmp_path / "h"
    place.mkdir()
    relay = SocketRelay(place)
    for mode, why in ((0o770, "others can write"), (0o702, "others can write")):
        place.chmod(mode)
        caplog.clear()
        with pytest.raises(ConfigurationError, match=why):
            SocketRelay(place)
        with pytest.raises(ConfigurationError, match=why):
            async with relay.listening(lambda _: True):
                pass
        assert not await relay.publish(HINT)
        assert why in caplog.text
    place.chmod(0o1777)
    async with SocketRelay(place).listening(lambda _: True):
        assert await relay.publish(HINT)


def test_what_is_no_directory_is_refused(tmp_path, monkeypatch):
    """A file in its place, or on the way there, is told of at once."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    for place, why in (("file", "it is no directory"), ("file/h", "Not a directory")):
        with pytest.raises(ConfigurationError, match=why):
            SocketRelay(place)


US, ROOT, OTHER = 1000, 0, 1001


def status(mode, owner):
    """Return what the kernel says of a path with this mode and owner."""
    return os.stat_result((mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))


def test_a_directory_belongs_to_us_or_to_root():
    """Somebody else's directory is refused, and one that their link leads to."""
    ours, roots, theirs = (
        status(stat.S_IFDIR | 0o755, owner) for owner in (US, ROOT, OTHER)
    )
    their_link = status(stat.S_IFLNK | 0o777, OTHER)

    assert directory_problem(ours, ours, US) is None
    assert directory_problem(roots, roots, US) is None
    assert directory_problem(theirs, theirs, None) is None  # Windows tells no owner
    for place, directory in ((theirs, theirs), (their_link, ours)):
        assert directory_problem(place, directory, US) == "it is somebody else's"


def test_a_socket_belongs_to_us_or_to_root():
    """Where others may write, their sockets are told nothing."""
    kinds = (stat.S_IFSOCK, stat.S_IFLNK, stat.S_IFREG)
    found = {
        (kind, owner): is_own_socket(status(kind | 0o700, owner), US)
        for kind in kinds
        for owner in (US, ROOT, OTHER)
    }

    assert {each for each, own in found.items() if own} == {
        (stat.S_IFSOCK, US),
        (stat.S_IFSOCK, ROOT),
    }


async def test_only_its_user_may_enter(tmp_path):
    """The directory is made for this user, and holds a socket while it listens."""
    async with SocketRelay(tmp_path / "h").listening(bool):
        assert (tmp_path / "h").stat().st_mode & 0o777 == 0o700
        (path,) = (tmp_path / "h").iterdir()
        assert path.is_socket()
    assert list((tmp_path / "h").iterdir()) == []


async def test_a_listener_that_closes_hangs_up(tmp_path, caplog):
    """Whoever is connected and silent is cut off, and nothing is logged of it."""
    relay = SocketRelay(tmp_path)
    async with relay.listening(lambda _: True):
        (path,) = tmp_path.iterdir()
        reader, writer = await asyncio.open_unix_connection(path)
        await until(served)
    cut = not served()
    assert await reader.read() == b""
    writer.close()

    assert cut
    assert not caplog.records


def served():
    """Return whether somebody is listened to."""
    return any("listening.<locals>.serve" in repr(each) for each in asyncio.all_tasks())
