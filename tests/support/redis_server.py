"""A Redis server for tests, of their own, and a proxy that breaks what passes to it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
import time

import pytest
from redis import Redis

PROGRAM = shutil.which("redis-server")
ABSENT = "no redis-server on PATH; on Debian: apt-get install redis-server"


class RedisServer:
    """Listens on a Unix socket while the context is open; a start begins anew."""

    def __init__(self, *options):
        if PROGRAM is None:
            pytest.skip(ABSENT)
        self._options = options
        self._folder = tempfile.mkdtemp()
        self.path = f"{self._folder}/redis.sock"
        self.url = f"unix://{self.path}"
        self._server = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self._folder)

    def start(self):
        """Start it, with nothing in it, and return once it answers."""
        place = ("--port", "0", "--unixsocket", self.path, "--dir", self._folder)
        command = [PROGRAM, *place, "--save", "", *self._options]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while not self._answers():
            time.sleep(0.01)

    def _answers(self):
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(self.path)
                probe.sendall(b"PING\r\n")
                return probe.recv(100).startswith((b"+PONG", b"-NOAUTH"))
            except OSError:
                return False

    def client(self):
        """Return a client to look in with."""
        return Redis(unix_socket_path=self.path)

    def kill(self):
        """End it at once."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None


class RedisProxy:
    """Stands before a server on a Unix socket of its own, while the context is open."""

    def __init__(self, server):
        self._upstream = server.path
        self.path = f"{server.path}.proxy"
        self.url = f"unix://{self.path}"
        self.answers_lost = 0
        """Answers to scripts that are dropped from now on, with their connections."""
        self.held = asyncio.Event()
        """Cleared, nothing passes in either direction."""
        self.held.set()
        self._pairs = set()
        self._tasks = set()

    async def __aenter__(self):
        await self.listen()
        return self

    async def __aexit__(self, *_):
        self.held.set()
        self.leave()
        await asyncio.gather(*self._tasks)

    async def listen(self):
        """Listen, the first time or again."""
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    def leave(self):
        """Cut all connections, and take no more."""
        self._server.close()
        self.cut()

    def cut(self):
        """Cut all connections."""
        for writer in tuple(self._pairs):
            writer.transport.abort()

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        self._pairs.add(writer)
        try:
            with contextlib.suppress(OSError):
                up = await asyncio.open_unix_connection(self._upstream)
                self._pairs.add(up[1])
                asked = []
                await asyncio.gather(
                    self._pass(reader, up[1], asked), self._pass(up[0], writer, asked)
                )
                self._pairs.discard(up[1])
        finally:
            self._pairs.discard(writer)
            writer.close()
            self._tasks.discard(task)

    async def _pass(self, reader, writer, asked):
        upward = not asked
        asked.append(b"")
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                await self.held.wait()
                if upward:
                    asked[0] = data
                elif self.answers_lost and b"EVALSHA" in asked[0]:
                    self.answers_lost -= 1
                    break
                writer.write(data)
        writer.close()
        reader._transport.abort()
