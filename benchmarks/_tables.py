"""Turns what a run of the benchmarks found into RESULTS.md."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from _goals import Runs, judge, middle, ratios, spread
from _plots import draw

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {
    "ours": "**this library**",
    "aiohttp": "aiohttp, by hand",
    "httpx": "httpx, by hand",
    "openai": "openai (synchronous)",
    "openai-aiohttp": "openai, aiohttp backend",
}


def write(found: dict[str, Any], folder: Path) -> None:
    """Write RESULTS.md and its plots into *folder*."""
    runs: Runs = defaultdict(list)
    for each in found.get("peers", {}).get("runs", []):
        runs[each["n"], each["client"]].append(each)
    parts = [_head(found), _goals(found, runs)]
    if runs:
        draw(runs, found.get("learned", []), folder / "plots")
        parts += [
            _peers(found),
            *(_waiting(count, runs) for count in sorted({count for count, _ in runs})),
            _plots(),
        ]
    sections = {
        _transport: "transport",
        _calls: "calls",
        _decoding: "decode",
        _connections: "connections",
        _callbacks: "callbacks",
        _downloads: "download",
    }
    parts += [make(found) for make, needed in sections.items() if needed in found]
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n")


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _head(found: dict[str, Any]) -> str:
    machine = found["machine"]
    known = found.get("peers", {}).get("versions", {})
    versions = ", ".join(f"{name} {version}" for name, version in known.items())
    load = machine.get("load", {}).values()
    busy = (
        f" Load average before each script: {min(load):.1f}-{max(load):.1f} (up to 2 is the script before it)."
        if load
        else ""
    )
    note = f"\n\n**{machine['note']}**" if "note" in machine else ""
    how = (
        "This is a run with `--short`. " if "--short" in machine.get("how", []) else ""
    )
    return f"""# Benchmark results

{machine["date"]} · {machine["processor"]} · {machine["system"]} · Python {machine["python"]}

Versions: {versions}.

One command repeats it all: `python benchmarks/report.py` (or `nox -s bench`) in an hour, with `--short` in half of it. {how}The server is a raw
protocol in a process of its own on one core, the client is alone on the other, variants take turns in one run. **Read the ratios:** they
are of the same turn; absolute times drift on a shared machine. Cells show the median, and the least and the most where there are
several turns.{busy}{note}"""


def _goals(found: dict[str, Any], runs: Runs) -> str:
    lines = ["## Goals", "", "| | goal | measured | |", "|---|---|---|---|"]
    for name, aim, measured, met in judge(found, runs):
        word = {True: "met", False: "**missed**", None: "not measured"}[met]
        lines.append(f"| {name} | {aim} | {measured} | {word} |")
    where = "[Polling](../docs/behaviour/polling.md#what-a-poll-costs)"
    told = f"Where a goal is missed, {where} says where the time goes."
    return "\n".join([*lines, "", told])


def _peers(found: dict[str, Any]) -> str:
    peers = found["peers"]
    limits = ", ".join(
        f"{int(n):,}: {limit:.0f} s" for n, limit in peers.get("limits", {}).items()
    )
    absent = ", ".join(peers.get("absent", [])) or "none"
    return f"""## How the clients were used

Each as its own documentation shows it, with its own defaults and intervals; `aiohttp, by hand` and `httpx, by hand` gather loops that
sleep 2.5 s between polls. Changed: the address of the service and the key, for all; for fal-client its queue's address (`QUEUE_URL_FORMAT`), as
it takes no other; for replicate `wait=False`, so that it polls as it does for work that takes longer than a minute. openai has no tasks: its call is
one request held open, so it never polls, and it never lags. A client that is not through by a limit ({limits}) is stopped: what it
had not done by then counts as failed. CPU, memory and heartbeat include the ordering of all pictures at once. Absent from this run: {absent}."""


def _waiting(count: int, runs: Runs) -> str:
    lines = [
        f"## Waiting for {count:,} pictures of 4-20 s",
        "",
        "| client | CPU | of the loop by hand | wall | done | failed | lag mean, p95 | heartbeat p99, max | memory | requests | connections |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    clients = [name for n, name in runs if n == count and runs[n, name]]
    for client in clients:
        rows = runs[count, client]
        failed = fmean(
            sum((each.get("failures") or {}).values()) + each["unfinished"]
            for each in rows
        )
        lag, late = (middle(rows, f"lag_{each}_s") for each in ("mean", "p95"))
        p99, most = (middle(rows, f"beat_{each}_ms") for each in ("p99", "max"))
        cells = [
            NAMES.get(client, client),
            _cell(middle(rows, "cpu_s"), ".2f") + " s",
            spread(ratios(runs, count, client)),
            _cell(middle(rows, "wall_s"), ".1f") + " s",
            _cell(middle(rows, "done"), ".0f"),
            f"{failed:.0f}",
            f"{_cell(lag, '.2f')} s, {_cell(late, '.2f')} s",
            f"{_cell(p99, '.0f')} ms, {_cell(most, '.0f')} ms",
            "+" + _cell(middle(rows, "memory_mb"), ".0f") + " MB",
            _cell(middle(rows, "requests"), ".0f"),
            _cell(middle(rows, "connections"), ".0f"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _plots() -> str:
    return """## Plots

![Lag against polls](plots/lag.svg)

![CPU against number of pictures](plots/cpu.svg)

![Memory against number of pictures](plots/memory.svg)"""


def _calls(found: dict[str, Any]) -> str:
    lines = [
        "## One synchronous call, answered at once",
        "",
        "| client | p50 | of aiohttp by hand |",
        "|---|---|---|",
    ]
    by_hand = {
        each["turn"]: each["p50_us"]
        for each in found["calls"]
        if each["client"] == "aiohttp-sync"
    }
    names = {
        "aiohttp-sync": "aiohttp, by hand",
        "ours-sync": "**this library**",
        **NAMES,
    }
    for client in dict.fromkeys(each["client"] for each in found["calls"]):
        mine = [each for each in found["calls"] if each["client"] == client]
        over = [each["p50_us"] / by_hand[each["turn"]] for each in mine]
        middle = median(each["p50_us"] for each in mine)
        lines.append(
            f"| {names.get(client, client)} | {middle:.0f} us | {spread(over)} |"
        )
    return "\n".join(lines)


def _transport(found: dict[str, Any]) -> str:
    lines = [
        "## One poll, plain and over TLS",
        "",
        "CPU a poll, and of bare aiohttp over the same scheme. Connections are warm. httpx has its own limits; with 256 in flight it has too few connections, and is left out.",
        "",
        "| | at once | bare aiohttp | this library | httpx |",
        "|---|---|---|---|---|",
    ]
    cells: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    for row in found["transport"]:
        ratio = f", {row['ratio']:.2f}x ({row['low']:.2f}-{row['high']:.2f})"
        cell = f"{row['us']:.0f} us" + (ratio if row["variant"] != "bare" else "")
        cells[row["scheme"], row["together"]][row["variant"]] = cell
    for (scheme, together), by in cells.items():
        three = (by.get(name, "-") for name in ("bare", "ours", "httpx"))
        lines.append(f"| {scheme} | {together} | " + " | ".join(three) + " |")
    if "ceiling" in found:
        limits = ", ".join(
            f"{name} {rate:,.0f}" for name, rate in found["ceiling"].items()
        )
        lines += [
            "",
            f"The server's own limit, in requests a second, by protocol: {limits}.",
        ]
    return "\n".join(lines)


def _decoding(found: dict[str, Any]) -> str:
    lines = [
        "## Reading an answer",
        "",
        "| answer | bytes | json.loads | this library | of json.loads |",
        "|---|---|---|---|---|",
        *(
            f"| {row['answer']} | {row['bytes']} | {row['json_us']:.1f} us | "
            f"{row['us']:.1f} us | {row['ratio']:.2f}x ({row['low']:.2f}-{row['high']:.2f}) |"
            for row in found["decode"]
        ),
    ]
    return "\n".join(lines)


def _connections(found: dict[str, Any]) -> str:
    lines = [
        "## Connections",
        "",
        "200 tasks polled every 2.5 s, after two rounds to warm up.",
        "",
        "| server keeps idle ones for | | opened | polls | failed | CPU a poll |",
        "|---|---|---|---|---|---|",
        *(
            f"| {each['kept_s']:.0f} s | {each['scheme']} | {each['opened']} | "
            f"{each['polls']} | {each['failed']} | {each['cpu_us_a_poll']:.0f} us |"
            for each in found["connections"]
        ),
    ]
    return "\n".join(lines)


def _callbacks(found: dict[str, Any]) -> str:
    lines = [
        "## Callbacks",
        "",
        "| | polls a task | lag mean, max | done | paid for and lost, twice | another's | strangers heard |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {each['case']} | {each['polls_a_task']:.2f} | {each['lag_s']:.2f} s, "
            f"{each['lag_max_s']:.1f} s | {each['done']} of {each['n']} | {each['lost']}, "
            f"{each['twice']} | {each['mistaken']} | {each['strangers_heard']} |"
            for each in found["callbacks"]
        ),
    ]
    return "\n".join(lines)


def _downloads(found: dict[str, Any]) -> str:
    row = found["download"]
    return f"""## Downloads

500 files of 1 MB, 16 at a time: CPU {spread(row["hand"])} of aiohttp and a durable write by hand, {spread(row["null"])} of reading and
throwing away; loop delay p99 {row["delay_p99_s"] * 1e3:.0f} ms (25 ms)."""
