"""Runs a quick emulator in a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from apimodels_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMES = {"*": (0.03, 0.12), "sparkpix-image": (0.01, 0.04)}


async def serve() -> None:
    """Run the emulator until standard input ends."""
    async with Emulator(service_times=TIMES, credits="100000") as emulator:
        told = {"base_url": emulator.base_url, "key": emulator.api_key}
        print(json.dumps(told), flush=True)
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def emulator() -> Iterator[dict[str, str]]:
    """Start it; yield its base URL and key."""
    pipe = subprocess.PIPE
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.communicate()


if __name__ == "__main__":
    asyncio.run(serve())
