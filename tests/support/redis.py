"""
Redis servers, real ones: ``redis-server``, or ``valkey-server`` where that is; and a
proxy that breaks what passes to one.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache

import pytest
from attrs import define, field

PROGRAMS = ("redis-server", "valkey-server")
FOUND = [each for each in PROGRAMS if shutil.which(each)]
SERVERS = FOUND or list(PROGRAMS[:1])
"""What tests are run with; the one that is not found says so."""
ABSENT = "no redis-server on PATH; on Debian: apt-get install redis-server"
needs_redis = pytest.mark.skipif(not FOUND, reason=ABSENT)
SAFE = ("--appendonly", "yes", "--appendfsync", "always")
"""What docs/guides/stores.md advises."""
END_WITH = ("sh", "-c", 'read line; kill -9 "$0"')
READING, _HELD = os.pipe()
"""Ends as this process does, however that is; and then its servers do."""


@define(eq=False)
class RedisServer:
    """One server, at a Unix socket in a folder of its own, and at a port if told to."""

    options: tuple[str, ...] = SAFE
    program: str = SERVERS[0]
    port: int = 0
    folder: str = field(factory=tempfile.mkdtemp)
    process: subprocess.Popen[bytes] | None = field(init=False, default=None)
    _watcher: subprocess.Popen[bytes] | None = field(init=False, default=None)

    @property
    def path(self):
        """The socket."""
        return f"{self.folder}/redis.sock"

    @property
    def url(self):
        """Its address."""
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.path}"

    def start(self):
        """Start it, with what its folder has from before; return it, ready."""
        words = ("--port", str(self.port), "--bind", "127.0.0.1")
        words += ("--unixsocket", self.path, "--dir", self.folder)
        self.process = subprocess.Popen(
            [self.program, *words, "--save", "", *self.options],
            stdout=subprocess.DEVNULL,
        )
        pid = str(self.process.pid)
        self._watcher = subprocess.Popen([*END_WITH, pid], stdin=READING)
        while not self.ask("PING").startswith((b"+PONG", b"-NOAUTH")):
            assert self.process.poll() is None, f"{self.program} ended"
            time.sleep(0.01)
        return self

    def ask(self, *words):
        """Send one command, with no library; return the answer as it came."""
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(10)
                connection.connect(self.path)
                connection.sendall(" ".join(words).encode() + b"\r\n")
                return connection.recv(65536)
        except (FileNotFoundError, ConnectionError):
            return b""

    def client(self):
        """Return a client to look in with."""
        from redis import Redis

        return Redis(unix_socket_path=self.path)

    def kill(self, by=signal.SIGKILL):
        """End it, at once."""
        if self.process is not None:
            self._watcher.kill()
            self._watcher.wait()
            os.kill(self.process.pid, signal.SIGCONT)  # it may be stopped
            os.kill(self.process.pid, by)
            self.process.wait()
            self.process = None

    def close(self):
        """End it, and forget what it had."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()


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


@cache
def shared_server(program):
    """Return a server for all tests of this process."""
    server = RedisServer(program=program).start()
    atexit.register(server.close)
    return server
