"""What a benchmark found: its ratios, and ``--json FILE``, which keeps it all."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


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


def compared(mine: Sequence[float], base: Sequence[float]) -> dict[str, float]:
    """Return mine over the base, turn by turn: the median, the least and the most."""
    ratios = [one / other for one, other in zip(mine, base, strict=True)]
    return {"ratio": median(ratios), "low": min(ratios), "high": max(ratios)}


def span(row: dict[str, Any]) -> str:
    """Return the ratios of a row as they are printed and shown."""
    return f"{row['ratio']:.2f}x ({row['low']:.2f}-{row['high']:.2f})"


def spread(values: list[float]) -> str:
    """Return the median of some ratios, and their range."""
    if len(values) < 2:
        return f"{values[0]:.2f}x" if values else "-"
    return span({"ratio": median(values), "low": min(values), "high": max(values)})
