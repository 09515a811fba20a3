"""
Order thousands of pictures through a proxy that spoils every request, and count money.

    python tests/soak/chaos.py [--posts 20000] [--seed 1] [--own-pool] [--callbacks]

Every paid POST meets a fault: cuts, resets, stalls, garbage, closed idle connections,
refused connections. Client, proxy and emulator share one process. With --callbacks the
API calls back, past the proxy: then nothing that was charged may stay unknown. Exits 1
if an invariant is broken, and prints the smallest schedule that still breaks one.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Any

# The proxy is that of the tests, in tests/support.
sys.path[0] = str(Path(__file__).parent.parent)

from soak import campaign  # noqa: E402  the path comes first
from support.proxy import PAID_KINDS  # noqa: E402

CHUNK = 4000  # orders in one run: the emulator's books stay small
DOWN = 0.5  # share of the "down" faults that happen: they refuse everybody


async def measure(posts: int, seed: int, *, own_pool: bool, called_back: bool) -> bool:
    """Run *posts* orders, print the figures, and return whether every promise held."""
    options: dict[str, Any] = {
        "down": DOWN,
        "attempts": 8,
        "lent": not own_pool,
        "called_back": called_back,
        "kinds": tuple(sorted(set(PAID_KINDS) - {"stray"})),
    }
    reports: list[Any] = []
    for number in range(0, posts, CHUNK):
        count = min(CHUNK, posts - number)
        report = await campaign.run(seed + number, count, **options)
        reports.append(report)
        print(f"seed {report.seed}: {count} orders in {report.seconds:.0f} s", end="; ")
        print(", ".join(f"{fate} {n}" for fate, n in report.fates.most_common()))
        for line in report.broken[:5]:
            print("   ", line)
    show(reports, posts, own_pool=own_pool)
    broken = [report for report in reports if report.broken]
    if broken:
        print(await campaign.least(broken[0], **options))
    return not broken


def show(reports: list[Any], posts: int, *, own_pool: bool) -> None:
    """Print the figures of all runs together."""
    history = [intent for report in reports for intent in report.history]
    unsent = [
        intent
        for intent in history
        if getattr(intent.error, "charged", None) is False
        and type(intent.error).__name__ in {"ConnectionFailedError", "TransportTimeout"}
    ]
    faults: dict[str, int] = {}
    for report in reports:
        for kind, count in report.faults.items():
            faults[kind] = faults.get(kind, 0) + count
    charged = sum(report.charged for report in reports)
    print()
    aimed = sum(faults.values())
    print(f"{posts} orders: {aimed} POSTs met a fault of their own,")
    print(f"    {posts - aimed} died with a connection that closed under them")
    print("   ", ", ".join(f"{kind} {n}" for kind, n in sorted(faults.items())))
    print(f"charged {charged}, paid twice {sum(report.twice for report in reports)}")
    for fate in ("returned", "unknown", "refused", "lost"):
        print(f"    {fate}: {sum(intent.fate == fate for intent in history)}")
    key = sum(line.startswith("I8") for report in reports for line in report.broken)
    print(f"key or prompt visible in errors and logs: {key}")
    print(f"invariants broken: {sum(len(report.broken) for report in reports)}")
    if not own_pool:
        not_sent = sum(report.not_sent for report in reports)
        taken = sum(report.tries for report in reports) - len(history)
        given_up = not_sent - taken
        print(f"tries that never left: {not_sent}, of these repeated {taken},")
        print(f"    given up {given_up} (attempts or retry budget; all uncharged)")
    print(f"orders that ended as never sent: {len(unsent)}")


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument("--posts", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--own-pool",
        action="store_true",
        help="let the session make its own pool; tries that never left are not counted",
    )
    parser.add_argument(
        "--callbacks",
        action="store_true",
        help="let the API call back; what was charged must then be found again",
    )
    given = parser.parse_args()
    held = asyncio.run(
        measure(
            given.posts,
            given.seed,
            own_pool=given.own_pool,
            called_back=given.callbacks,
        )
    )
    return not held


if __name__ == "__main__":
    sys.exit(main())
