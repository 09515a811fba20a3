"""The plots of RESULTS.md: the same SVG for the same figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from _goals import middle

mpl.use("svg")
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    from _goals import Found, Runs

OURS = "ours"
COLOURS = {
    "ours": "#0b6e4f",
    "aiohttp": "#6c757d",
    "httpx": "#c77d0a",
    "fal-client": "#b3261e",
    "replicate": "#7b3fb5",
    "runwayml": "#1f5fbf",
    "openai": "#a0527f",
    "openai-aiohttp": "#4f8a8b",
}
LABELS = {
    "ours": "this library",
    "aiohttp": "aiohttp by hand",
    "httpx": "httpx by hand",
}


def draw(runs: Runs, learned: list[Found], folder: Path) -> None:
    """Draw all plots into *folder*."""
    folder.mkdir(exist_ok=True)
    plt.rcParams.update(
        {
            "svg.hashsalt": "apimodels_async",
            "svg.fonttype": "path",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e3e3e3",
        }
    )
    _lag(runs, learned, folder / "lag.svg")
    _growth(runs, "cpu_s", "CPU seconds to wait for N pictures", folder / "cpu.svg")
    _growth(runs, "memory_mb", "Memory growth, MB", folder / "memory.svg")


def _save(path: Path) -> None:
    plt.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    plt.close("all")


def _growth(runs: Runs, name: str, title: str, path: Path) -> None:
    _, axes = plt.subplots(figsize=(7.5, 4.5))
    counts = sorted({count for count, _ in runs})
    for client, colour in COLOURS.items():
        points = [(n, middle(runs.get((n, client), []), name)) for n in counts]
        known = [(n, value) for n, value in points if value is not None and value > 0]
        if not known:
            continue
        axes.plot(
            *zip(*known, strict=True),
            marker="o",
            color=colour,
            label=LABELS.get(client, client),
            linewidth=2.5 if client == OURS else 1.3,
        )
        for n, value in known:
            rows = runs[n, client]
            if any(each["unfinished"] or each.get("failures") for each in rows):
                axes.plot(n, value, marker="x", color="black", markersize=11)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(counts, [f"{n:,}" for n in counts])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()
    axes.set_xlabel("pictures waited for at once (a cross: some failed or never ended)")
    axes.set_title(title, loc="left")
    axes.legend(frameon=False, fontsize=8, ncols=2)
    _save(path)


def _lag(runs: Runs, learned: list[Found], path: Path) -> None:
    _, axes = plt.subplots(figsize=(7.5, 4.5))
    count = 100 if any(n == 100 for n, _ in runs) else min(n for n, _ in runs)
    for client, colour in COLOURS.items():
        rows = runs.get((count, client), [])
        requests, lag = middle(rows, "requests"), middle(rows, "lag_mean_s")
        if requests is None or lag is None or client.startswith("openai"):
            continue
        each = requests / count - 1
        label = LABELS.get(client, client)
        axes.scatter(each, lag, color=colour, s=60, zorder=3, label=label)
    for row in learned:
        if row["case"].startswith("uniform stream"):
            label = "this library, learned (simulated)"
            polls, lag, colour = row["polls"][1], row["lag_s"][1], COLOURS[OURS]
            axes.scatter(
                polls, lag, color=colour, marker="^", s=60, zorder=3, label=label
            )
    axes.legend(frameon=False, fontsize=9)
    axes.set_xscale("log")
    axes.set_xticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"polls a picture ({count} at once)")
    axes.set_ylabel("seconds from done to known, mean")
    axes.set_title("Lag against polls: down and left is better", loc="left")
    _save(path)
