"""
Cancel, interrupt and leave every call at every moment, and count the money.

    python tests/soak/accounting.py [--surface NAME ...] [--orders 5000]
                                    [--programs 300] [--seed 1]

Each surface orders from an emulator in a process of its own, over loopback sockets with
jitter. Half of its calls are cut between the k-th and the next iteration of the loop,
for all k in turn, half at random moments: by a cancellation, two of them, a timeout of
asyncio's or anyio's, ``wait_for``, a sibling that fails, ``break``, a SIGINT.
Then what the emulator charged is compared with what the user can find. Exits 1 when
anything is unaccounted for.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

# The package `soak` is that of the tests.
sys.path[0] = str(Path(__file__).parent.parent)

from soak import interrupts, surfaces  # noqa: E402  the path comes first
from soak.accounts import PLACES, Account, serving  # noqa: E402

from apimodels_async.emulator import Emulator  # noqa: E402

IN_PROCESS = {
    "generate": surfaces.generate,
    "generate-task": surfaces.generate_task,
    "edit": surfaces.edit,
    "submit": surfaces.submit,
    "batch": surfaces.batch,
    "batch-journal": surfaces.batch_journal,
    "batch-files": surfaces.batch_files,
    "download": surfaces.download,
    "aclose": surfaces.aclose,
    "loop-end": surfaces.loop_end,
    "sync": interrupts.sync_session,
}
PROGRAMS = {"mcp": interrupts.mcp, "cli": interrupts.cli}
SLOWER = {
    "mcp": {"times": (0.0, 0.06), "jitter": 0.05},
    "cli": {"times": (0.02, 0.25), "jitter": 0.08},
}
"""Seconds of the emulator, for what takes longer to be reached."""


async def serve(how: str) -> None:
    """Run the emulator until stdin ends."""
    given = json.loads(how)
    times, jitter = tuple(given["times"]), given["jitter"]
    emulator = Emulator(
        service_times={"*": times}, credits="1000000", seed=given["seed"]
    )
    async with emulator:
        # Before an order takes effect, and between that and its answer.
        for after in (False, True):
            for share in (0.25, 0.5, 1.0):
                emulator.fault(
                    "*",
                    "slow",
                    times=None,
                    probability=0.2,
                    after=after,
                    seconds=jitter * share,
                )
        told = {"base_url": emulator.base_url, "key": emulator.api_key}
        print(json.dumps(told), flush=True)
        await asyncio.to_thread(sys.stdin.read)


def run(name: str, orders: int, seed: int) -> Account:
    """Run one surface and compare the books."""
    account, started = Account(name), time.monotonic()
    with serving(**SLOWER.get(name, {}), seed=seed) as served:
        (IN_PROCESS | PROGRAMS)[name](account, served, orders, seed)
        account.audit(served.works())
    account.seconds = time.monotonic() - started
    return account


def show(accounts: list[Account]) -> None:
    """Print the table."""
    head = ("surface", "orders", "cut", "paid", *PLACES, "lost", "faults", "s")
    rows = [head]
    for each in accounts:
        places = [str(each.found[place]) for place in PLACES]
        numbers = (each.orders, sum(each.cut.values()), each.paid)
        ends = (len(each.lost), len(each.faults), round(each.seconds))
        rows.append((each.name, *map(str, numbers), *places, *map(str, ends)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        cells = zip(row, widths, strict=True)
        print("  ".join(cell.rjust(width) for cell, width in cells))
    print()
    for each in accounts:
        kinds = ", ".join(f"{kind} {n}" for kind, n in each.cut.most_common())
        print(f"{each.name} was cut by: {kinds}")
    lost = sum(len(each.lost) for each in accounts)
    paid = sum(each.paid for each in accounts)
    print(f"\npaid {paid}, accounted for {paid - lost}, unaccounted: {lost}")


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__.strip().splitlines()[0],
        epilog="surfaces: " + ", ".join(IN_PROCESS | PROGRAMS),
    )
    parser.add_argument(
        "--surface",
        action="append",
        choices=list(IN_PROCESS | PROGRAMS),
        help="one of those below; repeatable; else all",
    )
    parser.add_argument("--orders", type=int, default=5000, help="of each in process")
    parser.add_argument("--programs", type=int, default=300, help="orders of mcp, cli")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        asyncio.run(serve(given.serve))
        return 0
    accounts = []
    for name in given.surface or [*IN_PROCESS, *PROGRAMS]:
        orders = given.programs if name in PROGRAMS else given.orders
        account = run(name, orders, given.seed)
        accounts.append(account)
        print(
            f"{name}: {account.orders} orders, {account.paid} paid, "
            f"{len(account.lost)} unaccounted, {account.seconds:.0f} s",
            flush=True,
        )
        for line in (*account.lost[:5], *account.faults[:5]):
            print("   ", line)
    show(accounts)
    return any(each.lost or each.faults for each in accounts)


if __name__ == "__main__":
    sys.exit(main())
