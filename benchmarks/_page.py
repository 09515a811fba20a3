"""Writes RESULTS.md: what results.json holds, as tables, and which goals were met."""

from __future__ import annotations

import re
from collections import defaultdict
from itertools import groupby
from operator import itemgetter
from statistics import median
from typing import TYPE_CHECKING, Any

from _plots import draw
from _results import BY_HAND, Row, by_client, span, spread

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

INTERVAL_S, LONGEST_S = 2.5, 20.0
POLL = {1: 0.75, 16: 0.55, 64: 0.55, 256: 0.55}
"""In flight -> CPU of a poll at most, of bare aiohttp's get and read."""
WAITING = {500: 0.80, 2_000: 0.60, 10_000: 0.60}
"""Tasks -> CPU at most, of the loop by hand."""
POLLING = ("httpx", "fal-client", "replicate", "runwayml")
BESIDE_PEERS = (("in all", 6, "cpu_s"), ("a request", 10, "cpu_a_request"))

GOALS = """\
P1 | polls | CPU of a poll over {scheme}, {together} in flight, of bare aiohttp: at most {most:.2f}x | {over} | ratio <= most
P2 | many | CPU of waiting for {n:,}, of the loop by hand: at most {most:.2f}x | {over}, {failed:.0f} failed | ratio <= most, failed <= 0
P2 | beside peers | {least}x less CPU {what} than every polling peer at 500 | {times:.1f}x less than {nearest}, the nearest; {furthest:.0f}x less than the furthest | least <= times
P3 | waiting | {n:,} done within {end_s:.1f} s | {wall_s:.1f} s | wall_s <= end_s
P4 | waiting | lag at {n:,}: mean {mean_s:.2f} s, p95 2.5 s | {lag_mean_s:.2f} s, {lag_p95_s:.2f} s | lag_mean_s <= mean_s, lag_p95_s <= 2.5
P5 | learned first | learned first poll, {case}: 0.80x the polls, +0.05 s lag | {fewer:.2f}x, {later:+.3f} s | fewer <= 0.80, later <= 0.05
P6 | 2,000 | 20 ms heartbeat with 2,000 waiting: p99 15 ms late, max 45 ms | {beat_p99_ms:.0f} ms, {beat_max_ms:.0f} ms | beat_p99_ms <= 15, beat_max_ms <= 45
P7 | pending | at most 500 bytes a pending task at {n:,} | {bytes:.0f} bytes | bytes <= 500
P8 | synchronous | {what} of a synchronous call, {together} at once, of aiohttp + json: at most 1.00x | {over} | ratio <= 1
P9 | decode | reading a {answer} answer: at most 1.8x json.loads | {over}, {us:.1f} us | ratio <= 1.8
P10 | download | CPU of 1 MB downloads, of aiohttp and a durable write by hand: at most 1.10x; loop delay p99 25 ms | {over}, {delay_ms:.0f} ms | ratio <= 1.1, delay_ms <= 25
P11 | kept | no new connections after warm-up, keep-alive of 5 s or more | {opened}; {failed} polls failed, at 2 s included | opened <= 0, failed <= 0
P12 | crowd | {n:,} pending, {rate:.0f} polls/s: 25 % of a core, 150 MB | {core:.0%}, +{memory_mb:.0f} MB, busiest second {busiest_second} polls, {lost} lost | core <= 0.25, memory_mb <= 150, lost <= 0, busiest_second <= most
P13 | import | import at most 25 ms over bare Python | {ms:.0f} ms | ms <= 25
P13 | import | first session at most 35 ms of CPU over importing aiohttp and cattrs | {session_ms:+.0f} ms | session_ms <= 35
"""
"""Name, which rows it is for, aim, what is shown as measured, what must hold."""

PAGE = """\
# Benchmark results

{date} · {processor} · {system} · Python {python}

Versions: {versions}.

One command repeats it all: `python benchmarks/report.py` (or `nox -s bench`) in an hour, with `--short` in half of it. {short}The server is a raw
protocol in a process of its own on one core, the client is alone on the other, variants take turns in one run. **Read the ratios:** they
are of the same turn; absolute times drift on a shared machine. Cells show the median, and the least and the most where there are
several turns.{busy}{note}

## Goals

{goals}

Where a goal is missed, [Polling](../docs/behaviour/polling.md#what-a-poll-costs) says where the time goes."""
CLIENTS = """\
## How the clients were used

Each as its own documentation shows it, with its own defaults and intervals; `aiohttp, by hand` and `httpx, by hand` gather loops that
sleep 2.5 s between polls. Changed: the address of the service and the key, for all; for fal-client its queue's address (`QUEUE_URL_FORMAT`), as
it takes no other; for replicate `wait=False`, so that it polls as it does for work that takes longer than a minute. openai has no tasks: its call is
one request held open, so it never polls, and it never lags. A client that is not through by a limit ({limits}) is stopped: what it
had not done by then counts as failed. CPU, memory and heartbeat include the ordering of all pictures at once. Absent from this run: {absent}."""
WAITED = (
    "client | CPU | of the loop by hand | wall | done | failed | lag mean, p95 | heartbeat p99, max | memory | requests | connections",
    "{name} | {cpu_s:.2f} s | {over} | {wall_s:.1f} s | {done:.0f} | {failed:.0f} | {lag_mean_s:.2f} s, {lag_p95_s:.2f} s | {beat_p99_ms:.0f} ms, {beat_max_ms:.0f} ms | +{memory_mb:.0f} MB | {requests:.0f} | {connections:.0f}",
)
PLOTS = """\
## Plots

![Lag against polls](plots/lag.svg)

![CPU against number of pictures](plots/cpu.svg)

![Memory against number of pictures](plots/memory.svg)"""
TABLES = {
    "transport": (
        "## One poll, plain and over TLS\n\nCPU a poll, and of bare aiohttp over the same scheme. Connections are warm. httpx has its own limits; with 256 in flight it has too few connections, and is left out.",
        "| at once | bare aiohttp | this library | httpx",
        "{scheme} | {together} | {bare} | {ours} | {httpx}",
    ),
    "calls": (
        "## One synchronous call, answered at once",
        "client | p50 | of aiohttp by hand",
        "{name} | {p50_us:.0f} us | {over}",
    ),
    "decode": (
        "## Reading an answer",
        "answer | bytes | json.loads | this library | of json.loads",
        "{answer} | {bytes} | {json_us:.1f} us | {us:.1f} us | {over}",
    ),
    "connections": (
        "## Connections\n\n200 tasks polled every 2.5 s, after two rounds to warm up.",
        "server keeps idle ones for | | opened | polls | failed | CPU a poll",
        "{kept_s:.0f} s | {scheme} | {opened} | {polls} | {failed} | {cpu_us_a_poll:.0f} us",
    ),
    "callbacks": (
        "## Callbacks",
        "| polls a task | lag mean, max | done | paid for and lost, twice | another's | strangers heard",
        "{case} | {polls_a_task:.2f} | {lag_s:.2f} s, {lag_max_s:.1f} s | {done} of {n} | {lost}, {twice} | {mistaken} | {strangers_heard}",
    ),
}
"""Section -> what is above its table, columns, the form of a row."""
DOWNLOADS = """\
## Downloads

500 files of 1 MB, 16 at a time: CPU {over} of aiohttp and a durable write by hand, {over_null} of reading and
throwing away; loop delay p99 {delay_ms:.0f} ms (25 ms)."""


def write(found: dict[str, Any], folder: Path) -> None:
    """Write RESULTS.md and its plots into *folder*."""
    rows = rows_of(found)
    parts = [PAGE.format_map(head(found) | {"goals": judged(rows)})]
    if runs := rows["peers"]:
        draw(runs, rows["learned"], folder / "plots")
        peers = found["peers"]
        limits = (f"{int(n):,}: {s:.0f} s" for n, s in peers.get("limits", {}).items())
        absent = ", ".join(peers.get("absent", [])) or "none"
        parts.append(CLIENTS.format(limits=", ".join(limits), absent=absent))
        for count in sorted({row["n"] for row in runs}):
            title = f"## Waiting for {count:,.0f} pictures of 4-20 s"
            same = [row for row in runs if row["n"] == count]
            parts.append(table(title, *WAITED, same))
        parts.append(PLOTS)
    for name, form in TABLES.items():
        if rows[name]:
            parts.append(table(*form, rows[name]))
        if name == "transport" and "ceiling" in found:
            each = (f"{name} {rate:,.0f}" for name, rate in found["ceiling"].items())
            what = "The server's own limit, in requests a second, by protocol"
            parts.append(f"{what}: {', '.join(each)}.")
    parts += [DOWNLOADS.format_map(row) for row in rows["download"]]
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n")


def table(above: str, columns: str, form: str, rows: Iterable[Row]) -> str:
    """Return a table with what is above it."""
    rule = "|" + "---|" * (columns.count("|") + 1)
    lines = [f"| {columns} |", rule, *(f"| {form.format_map(row)} |" for row in rows)]
    return f"{above}\n\n" + "\n".join(lines)


def judged(rows: dict[str, list[Row]]) -> str:
    """Return the table of the goals."""
    lines = ["| | goal | measured | |", "|---|---|---|---|"]
    goals = (line.split(" | ") for line in GOALS.splitlines())
    for section, group in groupby(goals, itemgetter(1)):
        same = list(group)
        for row in rows[section]:
            for name, _, aim, shown, limits in same:
                met = all(within(row, limit) for limit in limits.split(", "))
                form = (
                    f"| {name} | {aim} | {shown} | {'met' if met else '**missed**'} |"
                )
                lines.append(form.format_map(row))
        lines += [
            f"| {goal[0]} | | | not measured |" for goal in same if not rows[section]
        ]
    return "\n".join(lines)


def within(row: Row, limit: str) -> bool:
    """Return whether a row keeps ``figure <= figure``; either may be a number."""
    low, high = (
        float(row[word] if word[0].isalpha() else word) for word in limit.split(" <= ")
    )
    return low <= high


def head(found: dict[str, Any]) -> dict[str, Any]:
    """Return what the head of the page is filled in with."""
    machine: dict[str, Any] = found["machine"]
    versions = found.get("peers", {}).get("versions", {}).items()
    busy, load = "", machine.get("load", {}).values()
    if load:
        busy = f" Load average before each script: {min(load):.1f}-{max(load):.1f} (up to 2 is the script before it)."
    return machine | {
        "versions": ", ".join(f"{name} {version}" for name, version in versions),
        "short": "This is a run with `--short`. "
        if "--short" in machine.get("how", [])
        else "",
        "busy": busy,
        "note": f"\n\n**{machine['note']}**" if "note" in machine else "",
    }


def rows_of(found: dict[str, Any]) -> defaultdict[str, list[Row]]:
    """Return the rows of every section, and those that goals are for."""
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    for name, section in found.items():
        for each in section if isinstance(section, list) else [section]:
            row = Row(each, over=span(each)) if "ratio" in each else Row(each)
            rows[name].append(row)
            if call := re.match(r"call, (\w+) c=(\d+)", name):
                rows["synchronous"].append(Row(row, what=call[1], together=call[2]))
    rows["synchronous"].sort(key=lambda row: (int(row["together"]), row["what"]))
    _add_waiting(rows, by_client(found.get("peers", {}).get("runs", []), "cpu_s"))
    rows["calls"] = by_client(found.get("calls", []), "p50_us", f"{BY_HAND}-sync")
    _add_polls(rows)
    for row in rows["learned"]:
        (polls, fewer), (lag, later) = row["polls"], row["lag_s"]
        if row["case"].endswith("stream"):
            more = {"fewer": fewer / polls, "later": later - lag}
            rows["learned first"].append(Row(row, **more))
    for row in rows["download"]:
        row |= {"over": spread(row["hand"]), "over_null": spread(row["null"])}
        row |= {"ratio": median(row["hand"]), "delay_ms": row["delay_p99_s"] * 1e3}
    if kept := rows["connections"]:
        opened = sum(row["opened"] for row in kept if row["kept_s"] >= 5)
        failed = sum(row["failed"] for row in kept)
        rows["kept"].append(Row(opened=opened, failed=failed))
    for row in rows["crowd"]:
        row["most"] = 1.1 * row["rate"]
    for row in rows["import"]:
        over = row["first session"] - row["aiohttp + cattrs"]
        row |= {"ms": row["apimodels_async"] * 1e3, "session_ms": over * 1e3}
    return rows


def _add_waiting(rows: defaultdict[str, list[Row]], runs: list[Row]) -> None:
    rows["peers"] = runs
    theirs = [row for row in runs if row["n"] == 500 and row["client"] in POLLING]
    for row in (row for row in runs if row["client"] == "ours"):
        longer = 1.0 if row["n"] > 2_000 else 0.3
        row |= {"end_s": LONGEST_S + INTERVAL_S + longer, "mean_s": 0.55 * INTERVAL_S}
        rows["waiting"].append(row)
        if row["n"] in WAITING:
            rows["many"].append(Row(row, most=WAITING[row["n"]]))
        if row["n"] == 2_000:
            rows["2,000"].append(row)
        if row["n"] == 500 and theirs:
            for what, least, cpu in BESIDE_PEERS:
                over = sorted((peer[cpu] / row[cpu], peer["client"]) for peer in theirs)
                times, nearest = over[0]
                more = {"times": times, "nearest": nearest, "furthest": over[-1][0]}
                rows["beside peers"].append(Row(what=what, least=least, **more))


def _add_polls(rows: defaultdict[str, list[Row]]) -> None:
    """Put the variants of a poll into one row; ours are what a goal is for."""
    measured, rows["transport"] = rows["transport"], []
    where = itemgetter("scheme", "together")
    for (scheme, together), variants in groupby(measured, where):
        cells = Row(scheme=scheme, together=together)
        for row in variants:
            cell = f"{row['us']:.0f} us"
            more = "" if row["variant"] == "bare" else f", {row['over']}"
            cells[row["variant"]] = cell + more
            if row["variant"] == "ours":
                rows["polls"].append(Row(row, most=POLL[together]))
        rows["transport"].append(cells)
