"""Whether an idle connection has something to say."""

from __future__ import annotations

import asyncio
import select
import socket

import pytest

from apimodels_async._io.http.silence import look_at


@pytest.mark.parametrize("hidden", [False, True])
async def test_bytes_an_end_and_another_socket_are_seen(monkeypatch, hidden):
    """Also where there is no poll(), as on Windows: it is hidden to get there."""
    if hidden:
        monkeypatch.delattr(select, "poll", raising=False)
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
    transport.pause_reading()
    is_readable = look_at(transport)
    before = is_readable()
    theirs.send(b"x")
    after = is_readable()
    theirs.close()
    transport.abort()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert (before, after) == (False, True)
    assert is_readable()
