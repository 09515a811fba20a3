"""Turns what a run of the benchmarks found into RESULTS.md."""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING

from _goals import Found, Runs, by_client, calls_over, judge, middle, ratios
from _plots import draw
from _results import span, spread

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NAMES = {
    "ours": "**this library**",
    "ours-sync": "**this library**",
    "aiohttp": "aiohttp, by hand",
    "aiohttp-sync": "aiohttp, by hand",
    "httpx": "httpx, by hand",
    "openai": "openai (synchronous)",
    "openai-aiohttp": "openai, aiohttp backend",
}
PLOTS = """## Plots

![Lag against polls](plots/lag.svg)

![CPU against number of pictures](plots/cpu.svg)

![Memory against number of pictures](plots/memory.svg)"""

TABLES = {
    "decode": (
        "Reading an answer",
        "answer | bytes | json.loads | this library | of json.loads",
        "{answer} | {bytes} | {json_us:.1f} us | {us:.1f} us | {ratio:.2f}x ({low:.2f}-{high:.2f})",
    ),
    "connections": (
        "Connections",
        "server keeps idle ones for | | opened | polls | failed | CPU a poll",
        "{kept_s:.0f} s | {scheme} | {opened} | {polls} | {failed} | {cpu_us_a_poll:.0f} us",
        "200 tasks polled every 2.5 s, after two rounds to warm up.",
    ),
    "callbacks": (
        "Callbacks",
        "| polls a task | lag mean, max | done | paid for and lost, twice | another's | strangers heard",
        "{case} | {polls_a_task:.2f} | {lag_s:.2f} s, {lag_max_s:.1f} s | {done} of {n} | {lost}, {twice} | {mistaken} | {strangers_heard}",
    ),
}
"""Section -> title, columns, the form of a row, paragraphs before."""


def write(found: Found, folder: Path) -> None:
    """Write RESULTS.md and its plots into *folder*."""
    runs = by_client(found.get("peers", {}).get("runs", []))
    parts = [_head(found), _goals(found, runs)]
    if runs:
        draw(runs, found.get("learned", []), folder / "plots")
        counts = sorted({count for count, _ in runs})
        parts += [_peers(found), *(_waiting(count, runs) for count in counts), PLOTS]
    parts += [_transport(found)] if "transport" in found else []
    parts += [_calls(found)] if "calls" in found else []
    for name, (title, columns, row, *before) in TABLES.items():
        if name in found:
            rows = (row.format(**each) for each in found[name])
            parts.append(_table(title, columns, rows, *before))
    parts += [_downloads(found)] if "download" in found else []
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n")


def _table(title: str, columns: str, rows: Iterable[str], *before: str) -> str:
    """Return a section: its title, paragraphs, and a table of ready rows."""
    rule = "|" + "---|" * (columns.count("|") + 1)
    head = f"| {columns}".rstrip() + " |"
    table = "\n".join([head, rule, *(f"| {row} |" for row in rows)])
    return "\n\n".join([f"## {title}", *before, table])


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _head(found: Found) -> str:
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


def _goals(found: Found, runs: Runs) -> str:
    words = {True: "met", False: "**missed**", None: "not measured"}
    rows = [
        f"{name} | {aim} | {measured} | {words[met]}"
        for name, aim, measured, met in judge(found, runs)
    ]
    where = "[Polling](../docs/behaviour/polling.md#what-a-poll-costs)"
    told = f"Where a goal is missed, {where} says where the time goes."
    return _table("Goals", "| goal | measured | ", rows) + "\n\n" + told


def _peers(found: Found) -> str:
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
    rows = []
    for client in [name for n, name in runs if n == count and runs[n, name]]:
        mine = runs[count, client]
        failed = fmean(
            sum((each.get("failures") or {}).values()) + each["unfinished"]
            for each in mine
        )

        def cell(name: str, form: str = ".0f", rows: list[Found] = mine) -> str:
            return _cell(middle(rows, name), form)

        rows.append(
            f"{NAMES.get(client, client)} | {cell('cpu_s', '.2f')} s | "
            f"{spread(ratios(runs, count, client))} | {cell('wall_s', '.1f')} s | "
            f"{cell('done')} | {failed:.0f} | {cell('lag_mean_s', '.2f')} s, "
            f"{cell('lag_p95_s', '.2f')} s | {cell('beat_p99_ms')} ms, "
            f"{cell('beat_max_ms')} ms | +{cell('memory_mb')} MB | "
            f"{cell('requests')} | {cell('connections')}"
        )
    return _table(
        f"Waiting for {count:,} pictures of 4-20 s",
        "client | CPU | of the loop by hand | wall | done | failed | lag mean, p95 | "
        "heartbeat p99, max | memory | requests | connections",
        rows,
    )


def _calls(found: Found) -> str:
    rows = [
        f"{NAMES.get(client, client)} | {us:.0f} us | {spread(over)}"
        for client, (us, over) in calls_over(found["calls"]).items()
    ]
    title = "One synchronous call, answered at once"
    return _table(title, "client | p50 | of aiohttp by hand", rows)


def _transport(found: Found) -> str:
    cells: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    for row in found["transport"]:
        cell = f"{row['us']:.0f} us"
        more = "" if row["variant"] == "bare" else f", {span(row)}"
        cells[row["scheme"], row["together"]][row["variant"]] = cell + more
    rows = []
    for (scheme, together), by in cells.items():
        three = (by.get(name, "-") for name in ("bare", "ours", "httpx"))
        rows.append(f"{scheme} | {together} | " + " | ".join(three))
    made = _table(
        "One poll, plain and over TLS",
        "| at once | bare aiohttp | this library | httpx",
        rows,
        "CPU a poll, and of bare aiohttp over the same scheme. Connections are warm. httpx has its own limits; with 256 in flight it has too few connections, and is left out.",
    )
    limits = [f"{name} {rate:,.0f}" for name, rate in found.get("ceiling", {}).items()]
    if limits:
        made += "\n\nThe server's own limit, in requests a second, by protocol: "
        made += ", ".join(limits) + "."
    return made


def _downloads(found: Found) -> str:
    row = found["download"]
    return f"""## Downloads

500 files of 1 MB, 16 at a time: CPU {spread(row["hand"])} of aiohttp and a durable write by hand, {spread(row["null"])} of reading and
throwing away; loop delay p99 {row["delay_p99_s"] * 1e3:.0f} ms (25 ms)."""
