"""
Run the simulation: real orders, a world that is made up, and everything goes wrong.

One number, the seed, decides a whole run. Exit status: 0 if every run held what it had
to, 1 if one did not, 130 after Ctrl-C.

  python tests/sim/run.py                     runs until 10,000 orders are placed
  python tests/sim/run.py --seconds 60        fresh seeds for a minute
  python tests/sim/run.py --redis             ... with a store on a server that fails
  python tests/sim/run.py --seed 17           one run again, exactly
  python tests/sim/run.py --seed 17 --shrink  ... and the shortest that fails like it
  python tests/sim/run.py --seed 17 --trace   ... and every event of it
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    if os.environ.get("PYTHONHASHSEED") != "0":  # a set of texts has an order, too
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.argv])  # noqa: S606  ourselves

from sim.invariants import GATING
from sim.plan import describe
from sim.planning import ORDERS, make
from sim.shrink import broken, shrink
from sim.simulation import simulate

COMMAND = "python tests/sim/run.py --seed {seed}"
PROGRESS_S = 2.0
FRESH = 1 << 40


class Campaign:
    """Many runs, and what came of them."""

    def __init__(self, *, everything=False, redis=False, **options):
        self._everything, self._redis = everything, redis
        self._options = options
        self.runs = self.orders = self.polls = 0
        self.struck, self.seeds, self.first = Counter(), Counter(), {}
        self.keyed = Counter()
        self.failure = None
        """Seed and violation of the first run that failed."""
        self._cpu = time.process_time()

    def run(self, seed):
        """Carry out the run of *seed*; return whether it held."""
        report = simulate(make(seed, redis=self._redis), **self._options)
        self.runs += 1
        self.orders += report.orders
        self.polls += report.polls
        self.struck.update(report.struck)
        self.keyed.update(report.keyed)
        for violation in report.violations:
            self.seeds[violation.name] += 1
            self.first.setdefault(violation.name, (seed, violation))
        failing = broken(report, everything=self._everything)
        if failing and self.failure is None:
            self.failure = seed, failing[0]
        return not failing

    def pace(self):
        """Return a line about how far it is and how fast."""
        cpu = time.process_time() - self._cpu
        return (
            f"{self.runs:,} runs, {self.orders:,} orders, {self.polls:,} polls, "
            f"{self.orders / max(cpu, 1e-9):,.0f} orders per second of CPU"
        )

    def summary(self):
        """Return what there is to say in the end."""
        told = ", ".join(f"{n:,} {what}" for what, n in sorted(self.keyed.items()))
        lines = [self.pace(), f"in stores: {told or 'nothing'}", "", "faults injected:"]
        width = max(map(len, self.struck), default=0)
        for kind, count in sorted(self.struck.items()):
            lines.append(f"  {kind:<{width}} {count:>9,}")
        lines += ["", f"invariants broken (of {len(GATING)}):"]
        for name, (seed, violation) in sorted(self.first.items()):
            word = "" if GATING[name] else " (known, does not fail the run)"
            lines.append(f"  {name}: {self.seeds[name]:,} runs{word}")
            lines.append(f"    first with --seed {seed}: {violation}")
        return "\n".join(lines if self.first else [*lines, "  none"])


def tell(seed, violation, *, everything=False, redis=False, shrunk=True, **options):
    """Return what is told of a run that failed."""
    command = COMMAND.format(seed=seed) + (" --redis" if redis else "")
    command += " --all-invariants" if everything else ""
    lines = [f"BROKEN {violation}", f"seed   {seed}", f"again  {command}"]
    if shrunk:
        plan = shrink(make(seed, redis=redis), violation, **options)
        lines += ["", f"the shortest that fails like it, {len(plan)} items:"]
        lines += [f"  {describe(item)}" for item in plan]
        lines += ["", "and what happens in it:"]
        simulate(plan, stop_at=violation.name, show=lines.append, **options)
    return "\n".join(lines)


def parse(arguments=None):
    """Return the command line, read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--seed", type=int, metavar="N", help="this one run")
    group.add_argument(
        "--orders",
        type=int,
        metavar="N",
        help=f"seeds --first, --first + 1 ... until N are placed, some {ORDERS} a seed",
    )
    group.add_argument(
        "--seconds", type=float, metavar="S", help="fresh seeds for S seconds"
    )
    parser.add_argument(
        "--first", type=int, default=0, metavar="N", help="where --orders begins (0)"
    )
    parser.add_argument(
        "--redis",
        action="store_true",
        help="the store is on a Redis server, which is cut off, crashes and fails over",
    )
    parser.add_argument(
        "--shrink", action="store_true", help="shorten what fails as far as it goes"
    )
    parser.add_argument("--trace", action="store_true", help="print every event")
    parser.add_argument(
        "--all-invariants",
        action="store_true",
        help="fail also by what is known not to hold yet",
    )
    return parser.parse_args(arguments)


def seeds_of(options, campaign):
    """Yield the seeds to run."""
    if options.seed is not None:
        yield options.seed
        return
    start, seed = time.monotonic(), options.first
    if options.seconds is not None:
        seed = time.time_ns() % FRESH
        print(f"fresh seeds from {seed}")
    while True:
        over = time.monotonic() - start
        if options.seconds is not None and over > options.seconds:
            return
        if options.seconds is None and campaign.orders >= (options.orders or 10_000):
            return
        yield seed
        seed += 1


def main(arguments=None, bug=None):
    """Run, perhaps with a *bug* planted, and return the exit status."""
    options = parse(arguments)
    everything = options.all_invariants
    show = print if options.trace else None
    redis = options.redis
    campaign = Campaign(everything=everything, redis=redis, show=show, bug=bug)
    told = time.monotonic()
    try:
        for seed in seeds_of(options, campaign):
            if not campaign.run(seed):
                break
            if time.monotonic() - told > PROGRESS_S:
                told = time.monotonic()
                print(campaign.pace(), file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(campaign.summary())
        return 130
    print(campaign.summary())
    if campaign.failure is None:
        return 0
    seed, violation = campaign.failure
    which = {"everything": everything, "redis": redis, "shrunk": options.shrink}
    print("\n" + tell(seed, violation, **which, bug=bug))
    return 1


if __name__ == "__main__":
    sys.exit(main())
