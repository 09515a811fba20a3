"""
An emulator in a process of its own, for programs that kill others.

    python emulators.py '{"*": [0.1, 0.5]}'     # service times; until its input ends
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys

from apimodels_async.emulator import Emulator


async def serve(times):
    """Run the emulator until the parent has gone."""
    times = {model: tuple(span) for model, span in times.items()}
    async with Emulator(service_times=times, credits="1000000") as emulator:
        told = {"base_url": emulator.base_url, "key": emulator.api_key}
        print(json.dumps(told), flush=True)  # noqa: T201  to who started it
        await asyncio.to_thread(sys.stdin.read)


@contextlib.contextmanager
def program(*command):
    """Run a Python program that ends with its input; yield the JSON that it says."""
    pipe = subprocess.PIPE
    command = [sys.executable, *command]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield json.loads(process.stdout.readline())
        process.communicate()


def emulator_process(times):
    """Start an emulator with these service times; yield how to reach it."""
    return program(__file__, json.dumps(times))


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
