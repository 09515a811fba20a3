"""
Schemathesis asks the emulator what its OpenAPI document allows, and what it does not.

    python tests/soak/contract.py [--examples 20] [--seed 1]

Each answer is held against the document: status, type, schema, headers, what is taken
and what is refused, what needs the key; contract.toml says what is not. Nothing leaves
this machine: addresses in requests are replaced by the emulator's own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import schemathesis

from apimodels_async.emulator import Emulator

HERE = Path(__file__).resolve().parent
ADDRESSED = {"callback_url", "callBackUrl", "image_url", "image_urls", "images", "mask"}
"""What of a request is asked, or called, by the emulator."""
NOT_ASKED = ("add_fault", "clear_faults")
"""A fault in force would answer in the place of what is tried."""


def at_home(value: object, origin: str) -> object:
    """Return *value* with every text that could be an address leading to *origin*."""
    if isinstance(value, list):
        return [at_home(each, origin) for each in value]
    if isinstance(value, str) and ":" in value:
        return f"{origin}/files/uploads/nobody/nothing.png"
    return value


@schemathesis.hook
def before_call(_context, case, _kwargs):
    """Let a request lead nowhere else."""
    if isinstance(case.body, dict):
        origin = os.environ["CONTRACT_ORIGIN"]
        for name in ADDRESSED & case.body.keys():
            case.body[name] = at_home(case.body[name], origin)


async def main() -> int:
    """Run schemathesis on an emulator; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=20, help="for each operation")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    async with Emulator(speed=1000, credits="100000000") as emulator:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file"),
            *(str(HERE / "contract.toml"), "run"),
            *(f"{emulator.origin}/openapi.json", "--url", emulator.origin),
            *("--header", f"Authorization: Bearer {emulator.api_key}"),
            *("--max-examples", str(asked.examples), "--seed", str(asked.seed)),
            *("--continue-on-failure", "--generation-database", "none"),
        ]
        for operation in NOT_ASKED:
            command += ["--exclude-operation-id", operation]
        env = {
            **os.environ,
            "CONTRACT_ORIGIN": emulator.origin,
            "PYTHONPATH": str(HERE),
            "SCHEMATHESIS_HOOKS": "contract",
        }
        with tempfile.TemporaryDirectory() as cwd:  # it leaves a folder where it runs
            run = partial(subprocess.run, command, env=env, cwd=cwd, check=False)
            return (await asyncio.to_thread(run)).returncode


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
