"""
Servers in processes of their own: the stub, plain or TLS, on a core of its own; a quick
emulator; and Redis, as the tests run it. Asks them for their counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

TIMES = {"*": (0.03, 0.12), "sparkpix-image": (0.01, 0.04)}
STUB = Path(__file__).parent / "_peers" / "stub.py"


@contextmanager
def server(*arguments: str, keep_alive: float = 0.0) -> Iterator[list[str]]:
    """
    Run the stub on core 1 and this process on core 0, where there are two.

    Yields its addresses: plain, and TLS if given a certificate.
    """
    command = [sys.executable, str(STUB), *arguments]
    environment = {**os.environ, "KEEP_ALIVE_S": str(keep_alive)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        ports = process.stdout.readline().split()
        if len(os.sched_getaffinity(0)) > 1:
            os.sched_setaffinity(0, {0})
        try:
            yield [
                f"{scheme}://127.0.0.1:{port}"
                for scheme, port in zip(("http", "https"), ports, strict=False)
            ]
        finally:
            process.kill()


def emulator() -> AbstractContextManager[dict[str, str]]:
    """Run an emulator; yields its ``base_url`` and ``key``."""
    # Not above: aiohttp, which it brings, reads SSL_CERT_FILE once.
    from support.emulators import emulator_process  # type: ignore[import-not-found]

    running: AbstractContextManager[dict[str, str]] = emulator_process(TIMES)
    return running


def task(number: int) -> str:
    """Return the id of a task that will not end within ten minutes."""
    return f"clx{int(time.time() * 1000):013d}x0600000x{number}"


def counts(base: str, what: str = "stats") -> dict[str, Any]:
    """
    Return the JSON at an address: what the stub counted since its last "reset", or what
    the emulator says of itself.
    """
    with urllib.request.urlopen(f"{base}/{what}") as reply:
        return dict(json.loads(reply.read()))
