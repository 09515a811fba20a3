"""Hints reach the sessions that wait for them, within a process and between some."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

import pytest

from apimodels_async import ConfigurationError
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
    """A file of that name is left alone, and told of."""
    (tmp_path / "x.hook").mkdir()
    (tmp_path / "y.hook").symlink_to(tmp_path / "gone")
    (tmp_path / "z.hook").symlink_to(tmp_path / "z.hook")
    assert not await SocketRelay(tmp_path).publish(HINT)
    assert "did not answer: OSError" in caplog.text
    assert (tmp_path / "x.hook").is_dir()


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


async def test_only_its_user_may_enter(tmp_path):
    """The directory is made for this user, and holds a socket while it listens."""
    async with SocketRelay(tmp_path / "h").listening(bool):
        assert (tmp_path / "h").stat().st_mode & 0o777 == 0o700
        (path,) = (tmp_path / "h").iterdir()
        assert path.is_socket()
    assert list((tmp_path / "h").iterdir()) == []
