"""Redis servers, real ones: ``redis-server``, or ``valkey-server`` where that is."""

from __future__ import annotations

import atexit
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
"""What docs/stores.md advises."""


@define(eq=False)
class RedisServer:
    """One server, at a Unix socket in a folder of its own."""

    options: tuple[str, ...] = SAFE
    program: str = SERVERS[0]
    folder: str = field(init=False, factory=tempfile.mkdtemp)
    process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    @property
    def path(self):
        """The socket."""
        return f"{self.folder}/redis.sock"

    @property
    def url(self):
        """Its address."""
        return f"unix://{self.path}"

    def start(self):
        """Start it, with what its folder has from before; return it, ready."""
        words = ("--port", "0", "--unixsocket", self.path, "--dir", self.folder)
        self.process = subprocess.Popen(
            [self.program, *words, "--save", "", *self.options],
            stdout=subprocess.DEVNULL,
        )
        while b"PONG" not in self.ask("PING"):
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

    def kill(self, by=signal.SIGKILL):
        """End it, at once."""
        if self.process is not None:
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


@cache
def shared_server(program):
    """Return a server for all tests of this process."""
    server = RedisServer(program=program).start()
    atexit.register(server.close)
    return server
