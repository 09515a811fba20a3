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
import urllib.request
from collections import Counter
from urllib.parse import quote

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


def emulator_says(base_url, path):
    """Return what the emulator at *base_url* tells of itself."""
    site = base_url.removesuffix("/api/v1")
    with urllib.request.urlopen(f"{site}/emulator/{path}") as answer:  # noqa: S310
        return json.load(answer)


def taken(base_url, mark=""):
    """Return how often it took each prompt with *mark* in it."""
    tasks = emulator_says(base_url, f"tasks?prompt={quote(mark)}")["tasks"]
    return Counter(task["prompt"] for task in tasks)


def emulator_process(times):
    """Start an emulator with these service times; yield how to reach it."""
    return program(__file__, json.dumps(times))


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.argv[1])))
