"""The goals of the library's speed, and whether a run met them."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

POLLING = ("httpx", "fal-client", "replicate", "runwayml")
BY_HAND = "aiohttp"
INTERVAL_S, LONGEST_S = 2.5, 20.0
POLL = {1: 0.75, 16: 0.55, 64: 0.55, 256: 0.55}
"""In flight -> CPU of a poll at most, of bare aiohttp's get and read."""
WAITING = {500: 0.80, 2_000: 0.60, 10_000: 0.60}
"""Tasks -> CPU at most, of the loop by hand."""

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


def _judge(name: str, what: str, limit: float, row: dict[str, Any]) -> Goal:
    measured = f"{row['ratio']:.2f}x ({row['low']:.2f}-{row['high']:.2f})"
    return Goal(name, f"{what}: at most {limit:.2f}x", measured, row["ratio"] <= limit)


def _one_poll(found: Found) -> list[Goal]:
    return [
        _judge(
            "P1",
            f"CPU of a poll over {row['scheme']}, {row['together']} in flight, of bare "
            "aiohttp",
            POLL[row["together"]],
            row,
        )
        for row in found["transport"]
        if row["variant"] == "ours"
    ]


def _cpu(runs: Runs) -> list[Goal]:
    goals = []
    for count, limit in WAITING.items():
        values = ratios(runs, count, "ours")
        if not values:
            continue
        rows = runs[count, "ours"]
        lost = sum(len(each["failures"]) + each["unfinished"] for each in rows)
        aim = f"CPU of waiting for {count:,}, of the loop by hand: at most {limit:.2f}x"
        met = median(values) <= limit and not lost
        goals.append(Goal("P2", aim, f"{spread(values)}, {lost} failed", met))
    return goals


def _peers(runs: Runs) -> list[Goal]:
    """Return by how much less CPU the others would do, in all and a request."""
    goals = []
    for what, least, per in (("in all", 6, ""), ("a request", 10, "requests")):
        mine = _spent(runs.get((500, "ours"), []), per)
        theirs = {each: _spent(runs.get((500, each), []), per) for each in POLLING}
        below = {name: cpu / mine for name, cpu in theirs.items() if cpu and mine}
        if not below:
            continue
        nearest = min(below, key=lambda name: below[name])
        measured = (
            f"{below[nearest]:.1f}x less than {nearest}, the nearest; "
            f"{max(below.values()):.0f}x less than the furthest"
        )
        aim = f"{least}x less CPU {what} than every polling peer at 500"
        goals.append(Goal("P2", aim, measured, below[nearest] >= least))
    return goals


def _spent(rows: list[dict[str, Any]], per: str) -> float:
    """Return the median CPU seconds, for each of what they have under *per*, if any."""
    values = [r["cpu_s"] / (r[per] if per else 1) for r in rows if "cpu_s" in r]
    return median(values) if values else 0.0


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
    aim = "20 ms heartbeat with 2,000 waiting: p99 15 ms late, max 45 ms"
    met = p99 <= 15 and most <= 45
    return [Goal("P6", aim, f"{p99:.0f} ms, {most:.0f} ms", met)]


def _memory(found: Found) -> list[Goal]:
    pending = found["pending"]
    aim = f"at most 500 bytes a pending task at {pending['n']:,}"
    measured = f"{pending['bytes']:.0f} bytes"
    return [Goal("P7", aim, measured, pending["bytes"] <= 500)]


def _calls(found: Found) -> list[Goal]:
    return [
        _judge(
            "P8",
            f"{what} of a synchronous call, {together} at once, of aiohttp + json",
            1.0,
            found[f"call, {what} c={together}"],
        )
        for together in (1, 32)
        for what in ("CPU", "p50")
    ]


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
    over, delay = row["hand"], row["delay_p99_s"]
    aim = (
        "CPU of 1 MB downloads, of aiohttp and a durable write by hand: at most 1.10x; "
        "loop delay p99 25 ms"
    )
    measured = f"{spread(over)}, {delay * 1e3:.0f} ms"
    return [Goal("P10", aim, measured, median(over) <= 1.1 and delay <= 0.025)]


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
    met = crowd["core"] <= 0.25 and crowd["memory_mb"] <= 150 and not crowd["lost"]
    met = met and crowd["busiest_second"] <= 1.1 * crowd["rate"]
    aim = f"{crowd['n']:,} pending, {crowd['rate']:.0f} polls/s: 25 % of a core, 150 MB"
    return [Goal("P12", aim, measured, met)]


def _imports(found: Found) -> list[Goal]:
    times = found["import"]
    light, first = times["apimodels_async"], times["first session"]
    over = first - times["aiohttp + cattrs"]
    aim = "first session at most 35 ms of CPU over importing aiohttp and cattrs"
    return [
        Goal(
            "P13",
            "import at most 25 ms over bare Python",
            f"{light * 1e3:.0f} ms",
            light <= 0.025,
        ),
        Goal("P13", aim, f"{over * 1e3:+.0f} ms", over <= 0.035),
    ]
