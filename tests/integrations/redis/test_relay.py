"""A callback reaches the session that waits, in any process, over a Redis server."""

from __future__ import annotations

import asyncio
import sys

import pytest
from support.waiting import until

from apimodels_async import ConfigurationError, ConnectionFailedError
from apimodels_async.integrations.redis import RedisLimit, RedisRelay
from apimodels_async.webhooks import Callback, Hint, Receiver

HINT = Hint("00112233445566778899aabbccddeeff", "clx1")
TASK = {"model": "gpt-image-2", "resolution": "2K"}
RIGHTS = "publish subscribe rpush blpop expire ping @connection"
LISTEN = """
import asyncio, sys
from apimodels_async.integrations.redis import RedisRelay
async def main():
    async with RedisRelay(sys.argv[1]).listening(lambda hint: hint.task_id == "clx1"):
        print("listening", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.fixture
def relay(server):
    """Return a relay over the server."""
    return RedisRelay(server.url)


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
            await until(lambda: len(asked) == 4)
        assert not await relay.publish(HINT)
    assert asked == [HINT] * 5


async def test_nobody_is_nobody(relay):
    """Without a listener nothing is taken, and nothing is raised."""
    assert not await relay.publish(HINT)


async def test_many_at_once_are_all_answered(relay):
    """Many callbacks at the same time each get their own answer."""
    hints = [Hint(HINT.nonce, f"clx{n}") for n in range(60)]
    async with relay.listening(lambda hint: hint.task_id.endswith("7")):
        answers = await asyncio.gather(*map(relay.publish, hints))

    assert answers == [hint.task_id.endswith("7") for hint in hints]


async def test_a_killed_process_leaves_nothing_that_matters(relay, server):
    """A listener in another process answers; after kill -9 nobody is waited for."""
    command = [sys.executable, "-c", LISTEN, server.url]
    pipe = asyncio.subprocess.PIPE
    listener = await asyncio.create_subprocess_exec(*command, stdout=pipe)
    try:
        await listener.stdout.readline()
        assert await relay.publish(HINT)
        assert not await relay.publish(Hint(HINT.nonce, "another"))
    finally:
        listener.kill()
        await listener.communicate()
    with server.client() as client:
        await until(lambda: client.pubsub_numsub("{apimodels}:hints:0")[0][1] == 0)
    assert not await relay.publish(HINT)


async def test_one_that_hangs_is_no(relay, server, caplog):
    """A session that hears and never answers has not taken anything."""
    with server.client() as client, client.pubsub() as pubsub:
        pubsub.subscribe("{apimodels}:hints:0")
        pubsub.get_message(timeout=5)

        assert not await relay.publish(HINT)
    assert "did not answer" in caplog.text


@pytest.mark.parametrize(
    "message", ["", "junk", "[1]", "x" * 5000, "null", '["a", "b", "short"]', "[" * 999]
)
async def test_junk_is_not_passed_on(relay, server, message):
    """What is no hint reaches no session, and the listener lives on."""
    taken = []
    async with relay.listening(lambda hint: taken.append(hint) or True):
        with server.client() as client:
            client.publish("{apimodels}:hints:0", message)
        assert await relay.publish(HINT)
    assert taken == [HINT]


async def test_the_rights_in_the_docs_are_enough(server):
    """A user with no more than docs/guides/callbacks.md names is all that it needs."""
    with server.client() as client:
        client.acl_setuser(
            *("small", True),
            passwords=["+word"],
            commands=[f"+{each}" for each in RIGHTS.split()],
            keys=["{apimodels}:*"],
            channels=["{apimodels}:*"],
        )
        relay = RedisRelay(f"{server.url}?username=small&password=word")
        async with relay.listening(lambda _: True):
            assert await relay.publish(HINT)
        client.acl_deluser("small")


async def test_databases_of_a_server_hear_nothing_of_each_other(relay, server):
    """A hint stays within the database, and the name, of its relay."""
    strangers = (
        RedisRelay(f"{server.url}?db=1"),
        RedisRelay(server.url, name="{another}"),
    )
    for stranger in strangers:
        async with stranger.listening(lambda _: True):
            assert not await relay.publish(HINT)
            assert await stranger.publish(HINT)


async def test_it_listens_again_after_a_cut(relay, proxy, caplog):
    """What is published once it is back is heard; the cut is told of, once."""
    taken = []
    through = RedisRelay(proxy.url)
    async with through.listening(lambda hint: taken.append(hint) or True):
        for _ in range(2):
            proxy.leave()
            assert not await relay.publish(HINT)
            await asyncio.sleep(1.2)
            await proxy.listen()
            while not await relay.publish(HINT):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    assert taken == [HINT] * 2
    assert caplog.text.count("nothing is heard from Redis") == 2


async def test_it_listens_again_after_a_restart(mortal):
    """A server that comes back with nothing in it has its listeners again."""
    relay = RedisRelay(mortal.url)
    async with relay.listening(lambda _: True):
        assert await relay.publish(HINT)
        mortal.kill()
        assert not await relay.publish(HINT)
        mortal.start()
        while not await relay.publish(HINT):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_server_that_is_away_is_told_of(mortal, caplog):
    """Listening fails with a typed error, and what is published is not taken."""
    relay = RedisRelay(mortal.url)
    mortal.kill()
    assert not await relay.publish(HINT)
    with pytest.raises(ConnectionFailedError):
        async with relay.listening(lambda _: True):
            pass

    assert "a callback went nowhere" in caplog.text
    assert "nothing is heard" in caplog.text


def test_an_address_that_is_none_is_refused():
    """What is no Redis server's address is told of at once; a repr shows no address."""
    with pytest.raises(ConfigurationError):
        RedisRelay("http://localhost")
    for door in (RedisRelay, RedisLimit):
        with pytest.raises(
            ConfigurationError, match="a name on a Redis server is text"
        ):
            door("redis://localhost", name=5)
    assert repr(RedisRelay("redis://:canary@localhost")) == "<RedisRelay {apimodels}>"


async def test_a_callback_to_another_worker_is_heard_by_the_session(
    server, emulator, connect
):
    """With a receiver of its own relay, as in another process, the session looks."""
    secret = "known to both, and longer than 32 characters"
    ours, theirs = (
        Callback(
            "http://127.0.0.1:9/hooks", secret=secret, relay=RedisRelay(server.url)
        )
        for _ in range(2)
    )
    receiver = Receiver(theirs)
    session = connect(emulator, callback=ours)
    handle = await session.images.submit("a moose", **TASK)
    (task,) = emulator.tasks.values()
    path = task.callback_url.removeprefix(ours.url)
    body = f'{{"code": 200, "data": {{"taskId": "{handle.task_id}"}}}}'.encode()
    while (status := await receiver.deliver(path, body)) == 503:  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # the session is about to listen

    assert status == 200
    await handle
    assert session.stats().callbacks == 1
