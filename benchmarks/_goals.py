"""The goals of the library's speed, and whether a run met them."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

POLLING = ("httpx", "fal-client", "replicate", "runwayml")
BY_HAND = "aiohttp"
INTERVAL_S, LONGEST_S = 2.5, 20.0
SLACK = 1.25
"""For noise: a shared machine's clock drifts by more within minutes."""

Found = dict[str, Any]
Runs = dict[tuple[int, str], list[dict[str, Any]]]


class Goal(NamedTuple):
    """One line of the table."""

    name: str
    aim: str
    measured: str
    met: bool | None
    """None: this run does not tell."""


def judge(found: Found, runs: Runs) -> list[Goal]:
    """Return every goal, as far as it was measured."""
    parts: dict[str, Callable[[], list[Goal]]] = {
        "P1": lambda: _one_poll(found),
        "P2": lambda: [*_cpu(runs), *_peers(runs)],
        "P3, P4": lambda: _in_time(runs),
        "P5": lambda: _learned(found),
        "P6": lambda: _heartbeat(runs),
        "P7": lambda: _memory(found),
        "P8": lambda: _calls(found),
        "P9": lambda: _decoding(found),
        "P10": lambda: _downloads(found),
        "P11": lambda: _connections(found),
        "P12": lambda: _crowd(found),
        "P13": lambda: _imports(found),
    }
    goals: list[Goal] = []
    for name, part in parts.items():
        try:
            goals += part() or [Goal(name, "", "", None)]
        except KeyError as error:  # its script did not come to an end
            goals.append(Goal(name, "", f"the run has no {error}", None))
    return goals


def ratios(runs: Runs, count: int, client: str) -> list[float]:
    """Return CPU over the loop by hand, of the turns that have both."""
    base = {each["turn"]: each.get("cpu_s") for each in runs.get((count, BY_HAND), [])}
    return [
        each["cpu_s"] / base[each["turn"]]
        for each in runs.get((count, client), [])
        if "cpu_s" in each and base.get(each["turn"])
    ]


def spread(values: list[float]) -> str:
    """Return the median of some ratios, and their range."""
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.2f}x"
    return f"{median(values):.2f}x ({min(values):.2f}-{max(values):.2f})"


def middle(rows: list[dict[str, Any]], name: str) -> float | None:
    """Return the median of what the rows have under *name*."""
    values = [each[name] for each in rows if each.get(name) is not None]
    return median(values) if values else None


def _ours(found: Found, case: str) -> dict[str, Any]:
    (row,) = (each for each in found[case] if each["variant"] == "ours")
    return dict(row)


def _one_poll(found: Found) -> list[Goal]:
    goals = []
    for together, limit in ((1, 1.35), (64, 1.20)):
        row = _ours(found, f"poll, CPU c={together}")
        measured = f"{row['ratio']:.2f}x ({row['low']:.2f}-{row['high']:.2f})"
        aim = f"CPU a poll at c={together}: at most {limit:.2f}x bare aiohttp"
        goals.append(Goal("P1", aim, measured, row["ratio"] <= limit))
    return goals


def _cpu(runs: Runs) -> list[Goal]:
    goals = []
    for count, limit in ((500, 1.2), (2_000, 1.0)):
        values = ratios(runs, count, "ours")
        if not values:
            continue
        rows = runs[count, "ours"]
        lost = sum(len(each["failures"]) + each["unfinished"] for each in rows)
        aim = f"CPU waiting for {count:,}: at most {limit:.1f}x the loop by hand"
        met = median(values) <= limit * SLACK and not lost
        measured = f"{spread(values)}, {lost} failed"
        if met and median(values) > limit:
            measured += "; within the slack only"
        goals.append(Goal("P2", aim, measured, met))
    return goals


def _peers(runs: Runs) -> list[Goal]:
    mine = ratios(runs, 500, "ours")
    theirs = {each: ratios(runs, 500, each) for each in POLLING}
    if not mine or not any(theirs.values()):
        return []
    below = {n: median(v) / median(mine) for n, v in theirs.items() if v}
    nearest = min(below, key=lambda name: below[name])
    measured = (
        f"{below[nearest]:.1f}x less than {nearest}, the nearest; "
        f"{max(below.values()):.0f}x less than the furthest"
    )
    aim = "at least 8x less CPU than every polling peer at 500"
    return [Goal("P2", aim, measured, below[nearest] >= 8)]


def _in_time(runs: Runs) -> list[Goal]:
    goals = []
    for count in (100, 500, 2_000, 10_000):
        rows = runs.get((count, "ours"), [])
        wall = middle(rows, "wall_s")
        if wall is None:
            continue
        limit = LONGEST_S + INTERVAL_S + (1.0 if count > 2_000 else 0.3)
        aim = f"{count:,} done within {limit:.1f} s"
        goals.append(Goal("P3", aim, f"{wall:.1f} s", wall <= limit))
        lag, late = middle(rows, "lag_mean_s") or 0, middle(rows, "lag_p95_s") or 0
        mean_limit = 0.55 * INTERVAL_S
        aim = f"lag at {count:,}: mean {mean_limit:.2f} s, p95 {INTERVAL_S} s"
        met = lag <= mean_limit and late <= INTERVAL_S
        goals.append(Goal("P4", aim, f"{lag:.2f} s, {late:.2f} s", met))
    return goals


def _learned(found: Found) -> list[Goal]:
    goals = []
    for each in found["learned"]:
        if not each["case"].endswith("stream"):
            continue
        fewer = each["polls"][1] / each["polls"][0]
        later = each["lag_s"][1] - each["lag_s"][0]
        aim = f"learned first poll, {each['case']}: 0.80x the polls, +0.05 s lag"
        met = fewer <= 0.80 and later <= 0.05
        goals.append(Goal("P5", aim, f"{fewer:.2f}x, {later:+.3f} s", met))
    return goals


def _heartbeat(runs: Runs) -> list[Goal]:
    beat = runs.get((2_000, "ours"), [])
    p99, most = middle(beat, "beat_p99_ms"), middle(beat, "beat_max_ms")
    if p99 is None or most is None:
        return []
    aim = "20 ms heartbeat with 2,000 waiting: p99 25 ms late, max 60 ms"
    met = p99 <= 25 and most <= 60
    return [Goal("P6", aim, f"{p99:.0f} ms, {most:.0f} ms", met)]


def _memory(found: Found) -> list[Goal]:
    pending = found["pending"]
    aim = f"at most 500 bytes a pending task at {pending['n']:,}"
    measured = f"{pending['bytes']:.0f} bytes"
    return [Goal("P7", aim, measured, pending["bytes"] <= 500)]


def _calls(found: Found) -> list[Goal]:
    row = _ours(found, "sync call, p50 c=1")
    measured = f"{row['ratio']:.2f}x ({row['low']:.2f}-{row['high']:.2f})"
    aim = "synchronous call p50: at most 1.15x bare aiohttp + json"
    return [Goal("P8", aim, measured, row["ratio"] <= 1.15)]


def _decoding(found: Found) -> list[Goal]:
    return [
        Goal(
            "P9",
            f"reading a {row['answer']} answer: at most 1.8x json.loads",
            f"{row['ratio']:.2f}x ({row['low']:.2f}-{row['high']:.2f}), "
            f"{row['us']:.1f} us",
            row["ratio"] <= 1.8,
        )
        for row in found["decode"]
    ]


def _downloads(found: Found) -> list[Goal]:
    row = found["download"]
    over, delay = row["null"], row["delay_p99_s"]
    aim = "1 MB downloads: CPU 2.2x of throwing them away, loop delay p99 25 ms"
    measured = f"{spread(over)}, {delay * 1e3:.0f} ms"
    return [Goal("P10", aim, measured, median(over) <= 2.2 and delay <= 0.025)]


def _connections(found: Found) -> list[Goal]:
    kept = [each for each in found["connections"] if each["kept_s"] >= 5]
    opened = sum(each["opened"] for each in kept)
    failed = sum(each["failed"] for each in found["connections"])
    aim = "no new connections after warm-up, keep-alive of 5 s or more"
    measured = f"{opened}; {failed} polls failed, at 2 s included"
    return [Goal("P11", aim, measured, not opened and not failed)]


def _crowd(found: Found) -> list[Goal]:
    crowd = found["crowd"]
    measured = (
        f"{crowd['core']:.0%}, +{crowd['memory_mb']:.0f} MB, busiest second "
        f"{crowd['busiest_second']} polls, {crowd['lost']} lost"
    )
    met = crowd["core"] <= 0.6 and crowd["memory_mb"] <= 200 and not crowd["lost"]
    met = met and crowd["busiest_second"] <= 1.1 * crowd["rate"]
    aim = f"{crowd['n']:,} pending, {crowd['rate']:.0f} polls/s: 60 % of a core, 200 MB"
    return [Goal("P12", aim, measured, met)]


def _imports(found: Found) -> list[Goal]:
    times = found["import"]
    light, first = times["apimodels_async"], times["first session"]
    over = first - times["aiohttp + cattrs"]
    aim = "first session at most 30 ms over importing aiohttp and cattrs"
    return [
        Goal(
            "P13",
            "import at most 25 ms over bare Python",
            f"{light * 1e3:.0f} ms",
            light <= 0.025,
        ),
        Goal("P13", aim, f"{over * 1e3:+.0f} ms", over <= 0.030),
    ]
