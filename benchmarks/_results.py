"""Keeps what a benchmark found, for the report: ``--json FILE`` on its command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def keep(section: str, found: Any) -> None:
    """
    Put *found* under *section* into the file named on the command line, if one is.
    """
    if "--json" not in sys.argv:
        return
    path = Path(sys.argv[sys.argv.index("--json") + 1])
    known = json.loads(path.read_text()) if path.exists() else {}
    known[section] = found
    path.write_text(json.dumps(known, indent=1) + "\n")
