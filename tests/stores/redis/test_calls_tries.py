"""Calls that are tried again: how often, for how long, and what is said of it."""

from __future__ import annotations

import asyncio

import pytest
from redis import exceptions
from support.virtual_time import virtual_time

from apimodels_async import JournalError
from apimodels_async.stores.redis.calls import AWAY_S, PATIENCE_S, Calls, Waiting

anyio_backend = virtual_time

AWAY = exceptions.ConnectionError("nobody there")


class Scripted:
    """A connection that does to each sending what it is told to, and then answers."""

    def __init__(self, *ends):
        self.ends = list(ends)
        self.sent = []

    async def send(self, commands):
        """See ``Connection``."""
        self.sent.append(list(commands))
        end = self.ends.pop(0) if self.ends else None
        if isinstance(end, Exception):
            raise end
        return list(end or [f"answer {each[-1]!r}" for each in commands])

    def numbers(self):
        """Return the number of each try, and whether it brings the script with it."""
        return [
            (words[5], group[0][0] == "SCRIPT")
            for group in self.sent
            for words in group
            if words[0] == b"EVALSHA"
        ]


def now():
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


async def test_a_server_that_is_away_is_tried_for_its_time_and_named_once(caplog):
    """The next call gives up sooner, in silence; one that is answered ends that."""
    connection = Scripted(*[AWAY] * 999)
    calls = Calls(connection, "{a}")
    for patience_s, warnings in ((PATIENCE_S, 1), (AWAY_S, 1)):
        began = now()
        with pytest.raises(JournalError, match="cannot be used: nobody there"):
            await calls.run("find")
        assert patience_s - 0.5 < now() - began <= patience_s
        assert len(caplog.records) == warnings
    assert "nobody there (it is tried for 15 s)" in caplog.text
    connection.ends.clear()
    await calls.run("find")
    connection.ends += [AWAY] * 999
    began = now()
    with pytest.raises(JournalError):
        await calls.run("find")
    assert now() - began > PATIENCE_S - 0.5


async def test_an_answer_that_does_not_come_ends_with_the_same_time(caplog):
    """A connection that hangs holds nobody for longer, and is named once as well."""

    class Hanging(Scripted):
        async def send(self, _commands):
            await asyncio.sleep(1_000)

    calls = Calls(Hanging(), "{a}", patience_s=5.0)
    for ends_at in (5.0, 5.0 + AWAY_S):
        with pytest.raises(JournalError):
            await calls.run("find")
        assert now() == ends_at
    assert len(caplog.records) == 1


async def test_each_try_has_a_number_that_counts_what_was_not_answered():
    """A late one is told from its repetition; an answer, an error too, ends a try."""
    connection = Scripted(AWAY, AWAY)
    calls = Calls(connection, "{a}")
    assert await calls.run("find", "k") == "answer b'k'"
    connection.ends = [[exceptions.ReadOnlyError("read only")], AWAY]
    assert await calls.run("find", "l") == "answer b'l'"

    assert connection.numbers() == [
        *((0, False), (1, True), (2, True)),
        *((2, False), (2, True), (3, True)),
    ]
    callers = {words[4] for group in connection.sent for words in group[-1:]}
    assert len(callers) == 1


async def test_a_script_that_is_not_known_is_brought_at_once():
    """Without a pause; what was to be durable is written once more, to wait for."""
    unknown = exceptions.NoScriptError("NOSCRIPT")
    connection = Scripted([unknown, [1, 0]], ["loaded", True, "done", [1, 0]])
    calls = Calls(connection, "{a}", waiting=Waiting(disk=True))
    assert await calls.run_durably("begin", "k") == "done"

    assert now() == 0.0
    first, second = ([words[0] for words in group] for group in connection.sent)
    assert first == [b"EVALSHA", "WAITAOF"]
    assert second == ["SCRIPT", "SET", b"EVALSHA", "WAITAOF"]
    assert connection.sent[1][1][1] == "{a}:again"


async def test_what_no_repetition_mends_is_told_at_once():
    """A refused password, or an answer that is an error, is no server that is away."""
    denied = exceptions.AuthenticationError("denied")
    connection = Scripted(denied, [exceptions.ResponseError("wrong kind")])
    calls = Calls(connection, "{a}")
    for words in ("denied", "wrong kind"):
        with pytest.raises(JournalError, match=f"cannot be used: {words}") as raised:
            await calls.run("find")
        assert raised.value.__cause__ is None

    assert now() == 0.0
    assert len(connection.sent) == 2
