"""What benchmarks found: kept by ``--json FILE``, compared turn by turn."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

BY_HAND = "aiohttp"
NAMES = {
    "ours": "**this library**",
    "ours-sync": "**this library**",
    BY_HAND: "aiohttp, by hand",
    f"{BY_HAND}-sync": "aiohttp, by hand",
    "httpx": "httpx, by hand",
    "openai": "openai (synchronous)",
    "openai-aiohttp": "openai, aiohttp backend",
}
"""Clients that readers know by another name."""


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


def judge(promises: dict[str, bool]) -> bool:
    """Print each promise, and whether it was kept; return whether all were."""
    for promise, kept in promises.items():
        print("ok    " if kept else "BROKEN", promise)
    return all(promises.values())


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


class Dash(float):
    """A figure that was not measured: shown as a dash, and within no limit."""

    def __format__(self, _form: str) -> str:
        return "-"


class Row(dict[str, Any]):
    """Figures by name."""

    def __missing__(self, _name: str) -> Dash:
        return Dash("nan")


def by_client(
    runs: list[dict[str, Any]], figure: str, hand: str = BY_HAND
) -> list[Row]:
    """
    Return a row for each number of pictures and client, in the order of *runs*.

    It has the medians of its turns' figures, and in ``over`` what *figure* is of the
    one by *hand* in the same turn. A client that was stopped lacks some.
    """
    turns: dict[tuple[int, str], list[dict[str, Any]]] = {}
    for run in runs:
        failed = sum((run.get("failures") or {}).values()) + run.get("unfinished", 0)
        more = {"failed": failed}
        if run.get("requests"):
            more["cpu_a_request"] = run["cpu_s"] / run["requests"]
        turns.setdefault((run.get("n", 0), run["client"]), []).append(run | more)
    rows = []
    for (count, client), mine in turns.items():
        row = Row(client=client, name=NAMES.get(client, client))
        for name in {name: None for run in mine for name in run}:
            known = [v for run in mine if isinstance(v := run.get(name), (int, float))]
            if known:
                row[name] = median(known)
        row["failed"] = fmean(run["failed"] for run in mine)
        base = {run["turn"]: run.get(figure) for run in turns.get((count, hand), [])}
        ratios = [
            run[figure] / base[run["turn"]]
            for run in mine
            if figure in run and base.get(run["turn"])
        ]
        row["over"] = spread(ratios)
        if ratios:
            row["ratio"] = median(ratios)
        rows.append(row)
    return rows
