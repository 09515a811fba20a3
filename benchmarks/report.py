"""
Run the benchmarks against limits and peers, and write benchmarks/RESULTS.md.

    python benchmarks/report.py                 # everything; an hour
    python benchmarks/report.py --short         # fewer turns; half an hour
    python benchmarks/report.py --quick         # whether it works; 4, to out/quick/
    python benchmarks/report.py --from FILE     # only write again what FILE holds

``--note TEXT`` puts a sentence on the circumstances at the head of the page.

Every figure and plot in RESULTS.md comes from one run of this program, kept beside it
as results.json. A script that fails leaves its part out; all others are written.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _page import write

HERE = Path(__file__).parent
SHORT, QUICK = "--short" in sys.argv, "--quick" in sys.argv
# Few turns are no results: they never take the place of those that were measured.
FOLDER = HERE.parent / "out" / "quick" if QUICK else HERE
RESULTS = FOLDER / "results.json"
SCRIPT_MAX_S = 2400.0
SCRIPTS = (
    "limits.py",
    "decode.py",
    "transport.py",
    "connections.py",
    "crowd.py",
    "learned.py",
    "download.py",
    "../tests/soak/callbacks.py",
    "peers.py",
)


# With --short these take few turns: what they judge is counts.
COUNTS = ("connections.py", "../tests/soak/callbacks.py")


def machine() -> dict[str, Any]:
    """Return on what this runs."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text().splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{model}, {os.cpu_count()} processors",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "how": [each for each in ("--short", "--quick") if each in sys.argv],
    }


def run(script: str) -> None:
    """
    Run one script; a goal missed is a result, and a crash leaves only its part out.
    """
    command = [sys.executable, str(HERE / script), "--json", str(RESULTS)]
    if QUICK or (SHORT and script in COUNTS):
        command.append("--quick")
    elif SHORT:
        command.append("--short")
    started, load = time.monotonic(), os.getloadavg()[0]
    try:
        code = subprocess.run(command, check=False, timeout=SCRIPT_MAX_S).returncode
    except subprocess.TimeoutExpired:
        code = None
    found = json.loads(RESULTS.read_text())
    found["machine"].setdefault("load", {})[script] = load
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    ended = {0: "done", 1: "a goal missed, or an error above", None: "stopped"}
    print(
        f"--- {script}: {ended.get(code, f'failed ({code})')}, "
        f"{time.monotonic() - started:.0f} s",
        flush=True,
    )


def main() -> int:
    """Measure, unless told not to, and write."""
    source = RESULTS
    if "--from" in sys.argv:
        source = Path(sys.argv[sys.argv.index("--from") + 1])
    else:
        FOLDER.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps({"machine": machine()}))
        for number, script in enumerate(SCRIPTS, 1):
            print(f"--- {number} of {len(SCRIPTS)}: {script}", flush=True)
            run(script)
    found: dict[str, Any] = json.loads(source.read_text())
    if "--note" in sys.argv:
        found["machine"]["note"] = sys.argv[sys.argv.index("--note") + 1]
        source.write_text(json.dumps(found, indent=1) + "\n")
    write(found, FOLDER)
    print(f"written: {FOLDER / 'RESULTS.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
