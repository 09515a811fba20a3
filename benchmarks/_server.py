"""Runs the stub with service times, plain or TLS, and asks for its counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

STUB = Path(__file__).parent / "_peers" / "stub.py"


@contextmanager
def server(*arguments: str, keep_alive: float = 0.0) -> Iterator[list[str]]:
    """
    Run the stub on core 1; yield its addresses: plain, and TLS if given a certificate.
    """
    command = [sys.executable, str(STUB), *arguments]
    environment = {**os.environ, "KEEP_ALIVE_S": str(keep_alive)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        ports = process.stdout.readline().split()
        try:
            yield [
                f"{scheme}://127.0.0.1:{port}"
                for scheme, port in zip(("http", "https"), ports, strict=False)
            ]
        finally:
            process.kill()


def counts(base: str, what: str = "stats") -> dict[str, Any]:
    """Return what the stub counted since its last reset; ``what="reset"`` resets."""
    with urllib.request.urlopen(f"{base}/{what}") as reply:
        return dict(json.loads(reply.read()))
