"""
Run the benchmarks against limits and peers, and write benchmarks/RESULTS.md.

    python benchmarks/report.py                 # everything; some 35 minutes
    python benchmarks/report.py --from FILE     # only write again what FILE holds

Every figure and plot in RESULTS.md comes from one run of this program, kept beside it
as results.json.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from _tables import write

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
SCRIPTS = (
    "limits.py",
    "connections.py",
    "crowd.py",
    "learned.py",
    "download.py",
    "callbacks.py",
    "peers.py",
)


def machine() -> dict[str, str]:
    """
    Return on what this runs.
    """
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
    }


def main() -> int:
    """
    Measure, unless told not to, and write.
    """
    source = RESULTS
    if "--from" in sys.argv:
        source = Path(sys.argv[sys.argv.index("--from") + 1])
    else:
        RESULTS.unlink(missing_ok=True)
        RESULTS.write_text(json.dumps({"machine": machine()}))
        for script in SCRIPTS:
            print(f"--- {script}", flush=True)
            command = [sys.executable, str(HERE / script), "--json", str(RESULTS)]
            subprocess.run(command, check=False)  # a goal missed is a result, too
    found: dict[str, Any] = json.loads(source.read_text())
    write(found, HERE)
    print(f"written: {HERE / 'RESULTS.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
