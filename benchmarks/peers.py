"""
Wait for N pictures with this library, by hand, and with every SDK there is.

    python benchmarks/peers.py [--quick | --short] [--json FILE]

Each client runs in a process of its own on core 0, in an environment of its own (made
under benchmarks/.envs on first use); the server, one stub for all protocols, on core 1.
All see the same service times, 4-20 s. Clients take turns; a ratio is to the loop
written by hand with aiohttp in the same turn. One that is not through after a limit is
stopped, and what it had not done by then counts as unfinished.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

from _results import BY_HAND, by_client, keep
from _server import server

HERE = Path(__file__).parent
ENVIRONMENTS = HERE / ".envs"
QUICK, SHORT = "--quick" in sys.argv, "--short" in sys.argv
NEEDS = {
    "httpx": ["httpx>=0.28"],
    "fal-client": ["fal-client>=1.0"],
    "replicate": ["replicate>=1.0"],
    "runwayml": ["runwayml>=5.24"],
    "openai": ["openai>=3.54"],
    "openai-aiohttp": ["openai[aiohttp]>=3.54"],
}
ALL = ["ours", BY_HAND, *NEEDS]
# pictures at once -> (turns for us and for the loop by hand, for the others, limit)
PLAN: dict[int, tuple[int, int, float]] = {
    100: (3, 1, 60.0),
    500: (7, 2, 60.0),
    2_000: (7, 1, 60.0),
    10_000: (7, 0, 90.0),
}
CALL_TURNS = 2 if QUICK else 5 if SHORT else 7
CALLERS = {
    "aiohttp-sync": BY_HAND,
    "ours-sync": "ours",
    "openai": "openai",
    "openai-aiohttp": "openai-aiohttp",
}
if QUICK:
    PLAN = {20: (1, 1, 60.0)}
elif SHORT:
    PLAN = {
        100: (1, 1, 60.0),
        500: (3, 1, 60.0),
        2_000: (2, 1, 45.0),
        10_000: (1, 0, 60.0),
    }


def python_of(client: str) -> str | None:
    """Return the Python of *client*, with its package; None if that cannot be had."""
    if client not in NEEDS:
        return sys.executable
    home = ENVIRONMENTS / client
    python = home / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    try:
        if not python.exists():
            print(f"making an environment for {client} ...", flush=True)
            venv.create(home, with_pip=True)
        subprocess.run([*pip, *NEEDS[client]], check=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{client} cannot be installed ({error}): absent from the tables")
        return None
    return str(python)


def version_of(client: str, python: str) -> str:
    """Return the version of the package behind *client*."""
    package = {"ours": "apimodels-async", "openai-aiohttp": "openai"}.get(
        client, client
    )
    program = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.check_output([python, "-c", program], text=True).strip()


def run(python: str, client: str, count: int, base: str, limit: float) -> Any:
    """Run one client once."""
    program = str(HERE / "_peers" / "client.py")
    command = [python, program, client, str(count), base, str(limit)]
    found = None
    with contextlib.suppress(subprocess.TimeoutExpired, json.JSONDecodeError):
        # It stops by itself, unless its loop has been blocked for too long to notice.
        found = json.loads(
            subprocess.run(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=2 * limit + 30,
                check=False,
            ).stdout
        )
    if found is None:
        print(f"{count:6} {client:15} stopped: it did not even end by its own limit")
        found = {"client": client, "n": count, "done": 0, "unfinished": count}
    else:
        print(
            f"{count:6} {client:15} {found['done']:5} done, wall {found['wall_s']:5.1f}"
            f" s, CPU {found['cpu_s']:6.2f} s, {found['memory_mb']:5.1f} MB, "
            f"{found['requests']:6} requests, {found['connections']:5} connections, "
            f"lag {found['lag_mean_s'] or 0:5.2f} s, "
            f"beat p99 {found['beat_p99_ms']:.0f} max {found['beat_max_ms']:.0f} ms, "
            f"failed {found['failures'] or 0}, unfinished {found['unfinished']}",
            flush=True,
        )
    return found


def main() -> int:
    """Run the plan; print each run, then the CPU ratios."""
    pythons = {client: python_of(client) for client in ALL}
    present = {client: python for client, python in pythons.items() if python}
    versions = {client: version_of(client, p) for client, p in present.items()}
    print("versions:", ", ".join(f"{name} {v}" for name, v in versions.items()))
    runs: list[dict[str, Any]] = []
    with server() as (base,):
        for count, (turns, peers_turns, limit) in PLAN.items():
            for turn in range(turns):
                for client, python in present.items():
                    if turn >= peers_turns and client not in ("ours", BY_HAND):
                        continue
                    time.sleep(0.5)  # sockets of the one before are gone
                    found = run(python, client, count, base, limit)
                    runs.append({"turn": turn, **found})
            absent = sorted(set(ALL) - set(present))
            limits = {str(n): limit for n, (_, _, limit) in PLAN.items()}
            made = {"versions": versions, "absent": absent, "limits": limits}
            keep("peers", {**made, "runs": runs})
        calls = [
            {"turn": turn, **found}
            for turn in range(CALL_TURNS)
            for caller, home in CALLERS.items()
            if home in present and (found := call(present[home], caller, base))
        ]
    keep("calls", calls)
    for row in by_client(runs, "cpu_s"):
        print(f"{row['n']:6} {row['client']:15} CPU {row['over']} of the loop by hand")
    for row in by_client(calls, "p50_us", f"{BY_HAND}-sync"):
        print(f"one call  {row['client']:15} {row['p50_us']:6.0f} us  {row['over']}")
    return 0


def call(python: str, client: str, base: str) -> dict[str, Any]:
    """Time the synchronous calls of one client; nothing if it fails."""
    program = str(HERE / "_peers" / "client.py")
    command = [python, program, client, "0", base, "0"]
    try:
        return dict(json.loads(subprocess.check_output(command, timeout=60)))
    except (subprocess.SubprocessError, json.JSONDecodeError) as error:
        print(f"one call  {client:15} failed: {error}")
        return {}


if __name__ == "__main__":
    sys.exit(main())
