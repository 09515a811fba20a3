"""
The simulation itself: it repeats, it catches what is planted, and fresh seeds hold.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sim import bugs
from sim.invariants import GATING
from sim.keyed import bugs as stores
from sim.plan import Order, Process
from sim.planning import make
from sim.redis import bugs as servers
from sim.run import Campaign, main, tell
from sim.shrink import broken, shrink, violates
from sim.simulation import simulate

RUN = Path(__file__).parent / "run.py"
FRESH_S = 10.0
SMALL = 60
"""Orders of a run that is to break."""


PLANTED = {
    "bought_once": bugs.BuysTwice,
    "findable": bugs.CallsItRefused,
    "nobody_waits_for_ever": bugs.NeverAnswers,
    "poll_spacing": bugs.HastyClock,
    "respacing": bugs.HastyClock,
    "key_nowhere": bugs.TellsTheKey,
    "echo_nowhere": bugs.PassesEchoesOn,
    "nothing_left": bugs.Lingers,
    "typed_errors": bugs.RaisesOthers,
    "truth_about_money": bugs.CallsItRefused,
    "own_result": bugs.MixesPictures,
    "own_task": bugs.NamesAnother,
    "forged_callback": bugs.MixesPictures,
    "file_whole": bugs.KeepsHalf,
    "events_in_order": bugs.GoesBack,
    "batch_complete": bugs.LosesOutcomes,
    "batch_bound": bugs.ReadsAhead,
    "budget_kept": bugs.IgnoresBudgets,
    "record_before_order": bugs.RecordsNothing,
    "key_bought_once": stores.SellsAgain,
    "key_agrees": stores.MixesOrders,
    "key_kept": stores.WritesFailed,
    "nobody_waits_for_key": stores.NeverTells,
    "recovered_once": stores.TakesFromTheLiving,
    "recovered_again": stores.LosesUnacked,
    "durable_kept": servers.WaitsForNothing,
    "silent_after_close": bugs.SendsAfterwards,
    "nothing_uncaught": bugs.ThrowsInACallback,
}
"""Invariant -> a bug that breaks it."""


def broken_by(bug, name):
    """Return a plan that shows *bug* as a breach of *name*, and that breach."""
    for seed in range(80):
        plan = make(seed, SMALL, redis=hasattr(bug, "on_redis"))
        for violation in simulate(plan, stop_at=name, bug=bug).violations:
            if violation.name == name:
                return plan, violation
    return None


def test_the_same_seed_gives_the_same_run():
    """Two runs of one seed have the same events at the same times in the same order."""
    digests = [[simulate(make(seed)).digest for seed in range(4)] for _ in range(2)]

    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 4


def test_a_run_does_not_depend_on_the_order_of_sets():
    """Processes that hash texts differently make the same run of a seed."""
    code = (
        "from sim.planning import make; from sim.simulation import simulate;"
        "print([simulate(make(seed)).digest for seed in range(3)])"
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


def test_what_was_dealt_with_is_not_recovered_again():
    """An order that is handed out after it was acked is found out, too."""
    assert broken_by(stores.ForgetsAcks, "recovered_once") is not None


def test_what_a_server_forgot_and_nobody_wrote_again_is_missed():
    """A session that still says words of an order has it in the store again."""
    assert broken_by(servers.WritesNothingAgain, "key_kept") is not None


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


@pytest.mark.parametrize("redis", [False, True], ids=["", "redis"])
def test_fresh_seeds_hold(capsys, redis):
    """Whatever the seed, no invariant that gates is broken."""
    seed = time.time_ns() % (1 << 40)
    with capsys.disabled():
        print(f"\nfresh seeds from {seed}")
    campaign, until = Campaign(redis=redis), time.monotonic() + FRESH_S
    while time.monotonic() < until:
        if not campaign.run(seed):
            pytest.fail(tell(*campaign.failure, redis=redis))
        seed += 1


def test_the_command_repeats_a_run(capsys):
    """``--seed`` carries out one run, and says how it went."""
    status = main(["--seed", "3"])

    assert status == 0
    assert "1 runs, " in capsys.readouterr().out


def test_the_command_tells_how_to_repeat_what_failed(capsys):
    """A run that breaks an invariant exits 1, with its seed and its shortest form."""
    status = main(["--seed", "1", "--shrink"], bug=PLANTED["bought_once"])

    said = capsys.readouterr().out
    assert status == 1
    assert "BROKEN bought_once" in said
    assert "again  python tests/sim/run.py --seed 1\n" in said
    assert "the shortest that fails like it, 3 items" in said


def test_what_is_known_to_be_broken_fails_only_if_asked_to():
    """An invariant that does not gate is told of, and fails a run on demand."""
    report = simulate(make(0, SMALL), bug=PLANTED["findable"])
    known = [replace(report.violations[0], name=name) for name in GATING]
    report = replace(report, violations=known)

    gating = [violation.name for violation in broken(report)]
    assert gating == [name for name, gates in GATING.items() if gates]
    assert broken(report, everything=True) == known


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
        assert process.stderr.readline()  # its progress: some runs have ended
        process.send_signal(2)
        out, err = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "orders per second" in out
    assert "Traceback" not in err
