"""The plots of RESULTS.md: the same SVG for the same figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from _results import Row

mpl.use("svg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

STYLE: Any = {
    "svg.hashsalt": "apimodels_async",
    "svg.fonttype": "path",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
}
CLIENTS = {
    "ours": ("#0b6e4f", "this library"),
    "aiohttp": ("#6c757d", "aiohttp by hand"),
    "httpx": ("#c77d0a", "httpx by hand"),
    "fal-client": ("#b3261e", "fal-client"),
    "replicate": ("#7b3fb5", "replicate"),
    "runwayml": ("#1f5fbf", "runwayml"),
    "openai": ("#a0527f", "openai"),
    "openai-aiohttp": ("#4f8a8b", "openai-aiohttp"),
}
"""Client -> its colour and label, in the order they are drawn."""


def draw(runs: list[Row], learned: list[Row], folder: Path) -> None:
    """Draw all plots into *folder*."""
    folder.mkdir(exist_ok=True)
    plt.rcParams.update(STYLE)
    _lag(runs, learned, folder / "lag.svg")
    _growth(runs, "cpu_s", "CPU seconds to wait for N pictures", folder / "cpu.svg")
    _growth(runs, "memory_mb", "Memory growth, MB", folder / "memory.svg")


def _save(axes: Any, title: str, path: Path, **legend: Any) -> None:
    axes.minorticks_off()
    axes.set_title(title, loc="left")
    axes.legend(frameon=False, **legend)
    plt.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    plt.close("all")


def _growth(runs: list[Row], figure: str, title: str, path: Path) -> None:
    _, axes = plt.subplots(figsize=(7.5, 4.5))
    for client, (colour, label) in CLIENTS.items():
        known = [row for row in runs if row["client"] == client and row[figure] > 0]
        counts, values = [row["n"] for row in known], [row[figure] for row in known]
        width = 2.5 if client == "ours" else 1.3
        if known:
            axes.plot(counts, values, "o-", color=colour, label=label, linewidth=width)
        for row in known:
            if row["failed"]:
                axes.plot(
                    row["n"], row[figure], marker="x", color="black", markersize=11
                )
    axes.set_xscale("log")
    axes.set_yscale("log")
    counts = sorted({row["n"] for row in runs})
    axes.set_xticks(counts, [f"{count:,.0f}" for count in counts])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("pictures waited for at once (a cross: some failed or never ended)")
    _save(axes, title, path, fontsize=8, ncols=2)


def _lag(runs: list[Row], learned: list[Row], path: Path) -> None:
    _, axes = plt.subplots(figsize=(7.5, 4.5))
    fewest = min(row["n"] for row in runs)
    rows = {row["client"]: row for row in runs if row["n"] == fewest}
    for client, (colour, label) in CLIENTS.items():
        row = rows.get(client) or Row()
        if row["requests"] > 0 and "lag_mean_s" in row and "openai" not in client:
            polls = row["requests"] / fewest - 1
            at = polls, row["lag_mean_s"]
            axes.scatter(*at, color=colour, label=label, s=60, zorder=3)
    for row in learned:
        if row["case"].startswith("uniform stream"):
            label = "this library, learned (simulated)"
            at, colour = (row["polls"][1], row["lag_s"][1]), CLIENTS["ours"][0]
            axes.scatter(*at, marker="^", color=colour, label=label, s=60, zorder=3)
    axes.set_xscale("log")
    axes.set_xticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"polls a picture ({fewest:.0f} at once)")
    axes.set_ylabel("seconds from done to known, mean")
    _save(axes, "Lag against polls: down and left is better", path, fontsize=9)
