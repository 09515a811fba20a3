"""
An API that answers at once: a raw protocol in a process of its own, on core 1.

It parses next to nothing and keeps no state, so that what is measured is the client.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = {"taskId": "@", "state": "processing", "createTime": 1705123450000}
POLL = json.dumps({"code": 200, "msg": "success", "data": DATA}).encode()
IMAGE = {"url": "https://files.example/a.png", "model": "sparkpix-image", "credits": 0}
SYNC = json.dumps({"code": 200, "msg": "success", "data": IMAGE}).encode()
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)


class Stub(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._got = b""

    def data_received(self, data: bytes) -> None:
        """Answer every whole request in what has arrived."""
        self._got += data
        while (end := self._got.find(b"\r\n\r\n")) >= 0:
            head = self._got[:end]
            length = 0
            if head.startswith(b"POST"):
                lowered = head.lower()
                at = lowered.find(b"content-length:")
                length = int(lowered[at + 15 :].split(b"\r\n", 1)[0])
            if len(self._got) < end + 4 + length:
                return
            self._got = self._got[end + 4 + length :]
            body = SYNC
            if length == 0:
                task = head.partition(b"task_id=")[2].partition(b" ")[0]
                body = POLL.replace(b"@", task)
            self._transport.write(HEAD % len(body) + body)


async def serve() -> None:
    """Serve until killed; the port is the first line of stdout."""
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def pin(core: int) -> None:
    """Keep this process on one core, where there is more than one."""
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {core})


@contextmanager
def stub() -> Iterator[str]:
    """Run the stub on core 1 and this process on core 0; yield its base URL."""
    process = subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE)
    assert process.stdout is not None
    port = int(process.stdout.readline())
    pin(0)
    try:
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    pin(1)
    asyncio.run(serve())
