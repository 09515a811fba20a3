"""The goals of the library's speed, and whether a run met them."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any, TypeAlias

from _results import span, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLLING = ("httpx", "fal-client", "replicate", "runwayml")
BY_HAND = "aiohttp"
INTERVAL_S, LONGEST_S = 2.5, 20.0
POLL = {1: 0.75, 16: 0.55, 64: 0.55, 256: 0.55}
"""In flight -> CPU of a poll at most, of bare aiohttp's get and read."""
WAITING = {500: 0.80, 2_000: 0.60, 10_000: 0.60}
"""Tasks -> CPU at most, of the loop by hand."""

Found: TypeAlias = dict[str, Any]
Runs: TypeAlias = dict[tuple[int, str], list[Found]]
Goal: TypeAlias = tuple[str, str, str, bool | None]
"""Name, aim, what was measured, whether it was met; None: this run does not tell."""


def judge(found: Found, runs: Runs) -> list[Goal]:
    """Return every goal, as far as it was measured."""
    goals: list[Goal] = []
    for name, part in PARTS.items():
        try:
            goals += [*part(found, runs)] or [(name, "", "", None)]
        except KeyError as error:  # its script did not come to an end
            goals.append((name, "", f"the run has no {error}", None))
    return goals


def by_client(runs: list[Found]) -> Runs:
    """Return runs by pictures waited for and client, in the order they were made."""
    found: Runs = {}
    for each in runs:
        found.setdefault((each["n"], each["client"]), []).append(each)
    return found


def calls_over(calls: list[Found]) -> dict[str, tuple[float, list[float]]]:
    """Return of each client the median call, microseconds, and its ratios by turn."""
    by: dict[str, dict[int, float]] = {}
    for each in calls:
        by.setdefault(each["client"], {})[each["turn"]] = each["p50_us"]
    hand = by[f"{BY_HAND}-sync"]
    return {
        client: (
            median(turns.values()),
            [us / hand[turn] for turn, us in turns.items()],
        )
        for client, turns in by.items()
    }


def ratios(runs: Runs, count: int, client: str) -> list[float]:
    """Return CPU over the loop by hand, of the turns that have both."""
    base = {each["turn"]: each.get("cpu_s") for each in runs.get((count, BY_HAND), [])}
    return [
        each["cpu_s"] / base[each["turn"]]
        for each in runs.get((count, client), [])
        if "cpu_s" in each and base.get(each["turn"])
    ]


def middle(rows: list[Found], name: str, per: str = "") -> float | None:
    """Return the median of *name*, for each of *per* if given, in rows that have it."""
    known = [each for each in rows if each.get(name) is not None]
    values = [each[name] / (each[per] if per else 1) for each in known]
    return median(values) if values else None


def _most(name: str, what: str, limit: float, row: Found) -> Goal:
    return name, f"{what}: at most {limit:.2f}x", span(row), row["ratio"] <= limit


def _one_poll(found: Found, _runs: Runs) -> Iterator[Goal]:
    for row in found["transport"]:
        what = f"CPU of a poll over {row['scheme']}, {row['together']} in flight"
        if row["variant"] == "ours":
            limit = POLL[row["together"]]
            yield _most("P1", f"{what}, of bare aiohttp", limit, row)


def _cpu(_found: Found, runs: Runs) -> Iterator[Goal]:
    for count, limit in WAITING.items():
        values, rows = ratios(runs, count, "ours"), runs.get((count, "ours"), [])
        if values:
            lost = sum(len(each["failures"]) + each["unfinished"] for each in rows)
            aim = f"CPU of waiting for {count:,}, of the loop by hand: at most"
            met = median(values) <= limit and not lost
            yield "P2", f"{aim} {limit:.2f}x", f"{spread(values)}, {lost} failed", met
    for what, least, per in (("in all", 6, ""), ("a request", 10, "requests")):
        mine = middle(runs.get((500, "ours"), []), "cpu_s", per)
        theirs = {
            name: middle(runs.get((500, name), []), "cpu_s", per) for name in POLLING
        }
        below = sorted(
            (cpu / mine, name) for name, cpu in theirs.items() if cpu and mine
        )
        if below:
            measured = (
                f"{below[0][0]:.1f}x less than {below[0][1]}, the nearest; "
                f"{below[-1][0]:.0f}x less than the furthest"
            )
            aim = f"{least}x less CPU {what} than every polling peer at 500"
            yield "P2", aim, measured, below[0][0] >= least


def _in_time(_found: Found, runs: Runs) -> Iterator[Goal]:
    for count in (100, 500, 2_000, 10_000):
        rows = runs.get((count, "ours"), [])
        wall = middle(rows, "wall_s")
        if wall is None:
            continue
        limit = LONGEST_S + INTERVAL_S + (1.0 if count > 2_000 else 0.3)
        yield (
            "P3",
            f"{count:,} done within {limit:.1f} s",
            f"{wall:.1f} s",
            wall <= limit,
        )
        lag, late = middle(rows, "lag_mean_s") or 0, middle(rows, "lag_p95_s") or 0
        most = 0.55 * INTERVAL_S
        aim = f"lag at {count:,}: mean {most:.2f} s, p95 {INTERVAL_S} s"
        met = lag <= most and late <= INTERVAL_S
        yield "P4", aim, f"{lag:.2f} s, {late:.2f} s", met


def _learned(found: Found, _runs: Runs) -> Iterator[Goal]:
    for each in found["learned"]:
        if each["case"].endswith("stream"):
            fewer = each["polls"][1] / each["polls"][0]
            later = each["lag_s"][1] - each["lag_s"][0]
            aim = f"learned first poll, {each['case']}: 0.80x the polls, +0.05 s lag"
            met = fewer <= 0.80 and later <= 0.05
            yield "P5", aim, f"{fewer:.2f}x, {later:+.3f} s", met


def _heartbeat(_found: Found, runs: Runs) -> Iterator[Goal]:
    rows = runs.get((2_000, "ours"), [])
    p99, most = middle(rows, "beat_p99_ms"), middle(rows, "beat_max_ms")
    if p99 is not None and most is not None:
        aim = "20 ms heartbeat with 2,000 waiting: p99 15 ms late, max 45 ms"
        yield "P6", aim, f"{p99:.0f} ms, {most:.0f} ms", p99 <= 15 and most <= 45


def _memory(found: Found, _runs: Runs) -> Iterator[Goal]:
    count, size = found["pending"]["n"], found["pending"]["bytes"]
    aim = f"at most 500 bytes a pending task at {count:,}"
    yield "P7", aim, f"{size:.0f} bytes", size <= 500


def _calls(found: Found, _runs: Runs) -> Iterator[Goal]:
    for together in (1, 32):
        for what in ("CPU", "p50"):
            aim = f"{what} of a synchronous call, {together} at once, of aiohttp + json"
            yield _most("P8", aim, 1.0, found[f"call, {what} c={together}"])


def _decoding(found: Found, _runs: Runs) -> Iterator[Goal]:
    for row in found["decode"]:
        aim = f"reading a {row['answer']} answer: at most 1.8x json.loads"
        yield "P9", aim, f"{span(row)}, {row['us']:.1f} us", row["ratio"] <= 1.8


def _downloads(found: Found, _runs: Runs) -> Iterator[Goal]:
    over, delay = found["download"]["hand"], found["download"]["delay_p99_s"]
    aim = (
        "CPU of 1 MB downloads, of aiohttp and a durable write by hand: at most 1.10x; "
        "loop delay p99 25 ms"
    )
    met = median(over) <= 1.1 and delay <= 0.025
    yield "P10", aim, f"{spread(over)}, {delay * 1e3:.0f} ms", met


def _connections(found: Found, _runs: Runs) -> Iterator[Goal]:
    rows = found["connections"]
    opened = sum(each["opened"] for each in rows if each["kept_s"] >= 5)
    failed = sum(each["failed"] for each in rows)
    aim = "no new connections after warm-up, keep-alive of 5 s or more"
    measured = f"{opened}; {failed} polls failed, at 2 s included"
    yield "P11", aim, measured, not opened and not failed


def _crowd(found: Found, _runs: Runs) -> Iterator[Goal]:
    crowd = found["crowd"]
    measured = (
        f"{crowd['core']:.0%}, +{crowd['memory_mb']:.0f} MB, busiest second "
        f"{crowd['busiest_second']} polls, {crowd['lost']} lost"
    )
    met = crowd["core"] <= 0.25 and crowd["memory_mb"] <= 150 and not crowd["lost"]
    met = met and crowd["busiest_second"] <= 1.1 * crowd["rate"]
    aim = f"{crowd['n']:,} pending, {crowd['rate']:.0f} polls/s: 25 % of a core, 150 MB"
    yield "P12", aim, measured, met


def _imports(found: Found, _runs: Runs) -> Iterator[Goal]:
    times = found["import"]
    light, over = times["apimodels_async"], times["first session"]
    over -= times["aiohttp + cattrs"]
    aim = "import at most 25 ms over bare Python"
    yield "P13", aim, f"{light * 1e3:.0f} ms", light <= 0.025
    aim = "first session at most 35 ms of CPU over importing aiohttp and cattrs"
    yield "P13", aim, f"{over * 1e3:+.0f} ms", over <= 0.035


PARTS: dict[str, Callable[[Found, Runs], Iterator[Goal]]] = {
    "P1": _one_poll,
    "P2": _cpu,
    "P3, P4": _in_time,
    "P5": _learned,
    "P6": _heartbeat,
    "P7": _memory,
    "P8": _calls,
    "P9": _decoding,
    "P10": _downloads,
    "P11": _connections,
    "P12": _crowd,
    "P13": _imports,
}
