"""
Store 500 files of 1 MB, beside a client that throws the same bytes away, and one that
writes them by hand in a thread: write, fsync, rename, fsync of the directory.

    python benchmarks/download.py [--quick]

The server is another process on the other core. All clients are given 16 files at a
time, in turns, in one run: CPU a megabyte, and the delay of a 5 ms heartbeat in the
client's event loop. The library's CPU counts its threads, fsync and rename.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import _results
import aiohttp
from _stub import pin

from apimodels_async import ImageResult, Session

QUICK = "--quick" in sys.argv
FILES = 100 if QUICK else 500
TURNS = 3 if QUICK else 7
TOGETHER = 16
SIZE = 1 << 20
BEAT_S = 0.005
Row = tuple[float, float, float]
"""CPU seconds, wall seconds, p99 of the loop's delay in seconds."""
BODY = b"\x89PNG\r\n\x1a\n" + os.urandom(SIZE - 8)
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n" % SIZE
)


class Server(asyncio.Protocol):
    """Sends the file for every request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._got = b""

    def data_received(self, data: bytes) -> None:
        """Answer."""
        self._got += data
        while b"\r\n\r\n" in self._got:
            _, _, self._got = self._got.partition(b"\r\n\r\n")
            self._transport.write(HEAD)
            self._transport.write(BODY)


async def serve() -> None:
    """Serve until killed; the port is the first line of stdout."""
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def beat(late: list[float]) -> None:
    """Note how late each turn of a heartbeat is."""
    while True:
        due = time.perf_counter() + BEAT_S
        await asyncio.sleep(BEAT_S)
        late.append(time.perf_counter() - due)


async def null(url: str) -> None:
    """Fetch all files and keep none."""
    turns = iter(range(FILES))
    async with aiohttp.ClientSession() as http:

        async def one() -> None:
            for _ in turns:
                async with http.get(url) as response:
                    async for _piece in response.content.iter_any():
                        pass

        await asyncio.gather(*(one() for _ in range(TOGETHER)))


def keep(content: bytes, path: Path) -> None:
    """Store one file so that it survives a crash."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


async def by_hand(url: str, folder: Path) -> None:
    """Store all files with aiohttp and a thread for each."""
    turns = iter(range(FILES))
    async with aiohttp.ClientSession() as http:

        async def one() -> None:
            for number in turns:
                async with http.get(url) as response:
                    content = await response.read()
                await asyncio.to_thread(keep, content, folder / f"{number}.png")

        await asyncio.gather(*(one() for _ in range(TOGETHER)))


async def ours(url: str, folder: Path) -> None:
    """Store all files."""
    turns = iter(range(FILES))
    async with Session("sk_bench", base_url=url) as session:

        async def one() -> None:
            for number in turns:
                result = ImageResult(urls=(url,))
                await session.download(result, folder / str(number))

        await asyncio.gather(*(one() for _ in range(TOGETHER)))


async def measured(name: str, url: str, folder: Path) -> Row:
    """Return CPU seconds, wall seconds, and the heartbeat's p99 delay."""
    late: list[float] = []
    heart = asyncio.get_running_loop().create_task(beat(late))
    cpu, wall = time.process_time(), time.perf_counter()
    match name:
        case "null":
            await null(url)
        case "hand":
            await by_hand(url, folder)
        case _:
            await ours(url, folder)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    heart.cancel()
    await asyncio.wait([heart])
    return cpu, wall, sorted(late)[int(0.99 * len(late))]


def ratios(mine: list[Row], theirs: list[Row]) -> list[float]:
    """Return mine over theirs, turn by turn."""
    return [one[0] / other[0] for one, other in zip(mine, theirs, strict=True)]


def main() -> int:
    """Run all in turns, print, and say whether the goals are met."""
    process = subprocess.Popen(
        [sys.executable, __file__, "serve"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    url = f"http://127.0.0.1:{int(process.stdout.readline())}/api/v1"
    found: dict[str, list[Row]] = {name: [] for name in ("null", "hand", "ours")}
    pin(0)
    try:
        for _ in range(TURNS):
            for name, rows in found.items():
                with tempfile.TemporaryDirectory() as folder:
                    row = asyncio.run(measured(name, url, Path(folder)))
                    stored = len(list(Path(folder).iterdir()))
                assert stored == (0 if name == "null" else FILES)
                rows.append(row)
    finally:
        process.kill()
        process.communicate()
    for name, rows in found.items():
        cpu, wall, delay = (median(each) for each in zip(*rows, strict=True))
        print(
            f"{name}  {cpu / FILES * 1e3:5.2f} ms CPU a file, "
            f"{FILES / wall:4.0f} MB/s, loop delay p99 {delay * 1e3:5.1f} ms"
        )
    delay = median(row[2] for row in found["ours"])
    over = {name: ratios(found["ours"], found[name]) for name in ("null", "hand")}
    for name, each in over.items():
        print(
            f"CPU of ours over {name}: {median(each):.2f}x "
            f"({min(each):.2f} - {max(each):.2f})"
        )
    _results.keep("download", {**over, "delay_p99_s": delay})
    print("goals: 1.1x by hand, loop delay p99 25 ms")
    return 0 if median(over["hand"]) <= 1.1 and delay <= 0.025 else 1


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        pin(1)
        asyncio.run(serve())
    sys.exit(main())
