"""
The simulation itself: it repeats, it catches what is planted, and fresh seeds hold.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sim.bugs import PLANTED
from sim.invariants import GATING
from sim.plan import Order, Process
from sim.planning import make
from sim.run import Campaign, describe, main
from sim.shrink import shrink, violates
from sim.simulation import simulate

RUN = Path(__file__).parent / "run.py"
FRESH_S = 20.0
SMALL = 60
"""Orders of a run that is to break."""


def broken_by(bug, name):
    """Return a plan that shows *bug* as a breach of *name*, and that breach."""
    for seed in range(20):
        plan = make(seed, SMALL)
        for violation in simulate(plan, stop_at=name, bug=bug).violations:
            if violation.name == name:
                return plan, violation
    return None


def test_the_same_seed_gives_the_same_run():
    """Two runs of one seed have the same events at the same times in the same order."""
    digests = [[simulate(make(seed)).digest for seed in range(6)] for _ in range(2)]

    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 6


def test_a_run_does_not_depend_on_the_order_of_sets():
    """Processes that hash texts differently make the same run of a seed."""
    code = (
        "from sim.planning import make; from sim.simulation import simulate;"
        "print([simulate(make(seed)).digest for seed in range(6)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": str(RUN.parents[1]),
            },
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(said) == 1


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_caught(name):
    """Each invariant fails once something breaks it."""
    assert broken_by(PLANTED[name], name) is not None


def test_every_invariant_that_gates_can_fail():
    """There is a bug to plant for all that a run may fail by."""
    gating = {name for name, gates in GATING.items() if gates}

    assert gating <= PLANTED.keys()
    assert PLANTED.keys() <= GATING.keys()


def test_a_failing_run_is_made_short():
    """What a planted bug needs is one process, one order and who wants it."""
    bug = PLANTED["bought_once"]
    plan, violation = broken_by(bug, "bought_once")

    short = shrink(plan, violation, bug=bug)

    assert violates(short, "bought_once", bug=bug)
    assert len(short) == 3
    assert sum(isinstance(item, (Order, Process)) for item in short) == 2


def test_fresh_seeds_hold(capsys):
    """Whatever the seed, no invariant that gates is broken."""
    seed = time.time_ns() % (1 << 40)
    with capsys.disabled():
        print(f"\nfresh seeds from {seed}")
    campaign, until = Campaign(), time.monotonic() + FRESH_S
    while time.monotonic() < until:
        if not campaign.run(seed):
            pytest.fail(describe(*campaign.failure, everything=False, shrunk=True))
        seed += 1


def test_the_command_repeats_a_run(capsys):
    """``--seed`` carries out one run, and says how it went."""
    status = main(["--seed", "3"])

    assert status == 0
    assert "1 runs, " in capsys.readouterr().out


def test_the_command_fails_by_what_is_known_if_asked_to(capsys):
    """``--all-invariants`` fails a run, and tells how to repeat and shorten it."""
    status = main(["--seed", "5", "--all-invariants", "--shrink"])

    said = capsys.readouterr().out
    assert status == 1
    assert "python tests/sim/run.py --seed 5 --all-invariants" in said
    assert "the shortest that fails like it" in said


def test_ctrl_c_ends_the_command_cleanly():
    """An interrupt shows the summary instead of a traceback."""
    with subprocess.Popen(
        [sys.executable, str(RUN), "--seconds", "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert "fresh seeds" in process.stdout.readline()
        time.sleep(0.5)
        process.send_signal(2)
        out, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "orders per second" in out
    assert "Traceback" not in err
