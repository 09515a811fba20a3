"""
Plant known bugs, one at a time, in a copy of the package, and see the suite fail.

    python tests/chaos/mutants.py [NAME ...]

Prints which test caught each bug. Exits 1 if one went unnoticed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LEFT = "test_an_answer_left_on_an_idle_connection_is_given_to_nobody"
CUT = "test_a_paid_request_cut_anywhere_is_paid_once_and_told"
SUBSET = (
    "test_targeted.py::test_one_call_is_one_post",
    "test_targeted.py::test_bad_answers_to_polls_lose_no_task",
    "test_targeted.py::test_answers_about_another_task_are_dropped",
    "test_targeted.py::test_the_task_of_an_ended_order_is_no_answer_to_the_next",
    f"test_targeted.py::{LEFT}",
    f"test_cuts.py::{CUT}[submit-cut_down-FIN]",
    "test_security.py::test_no_redirect_is_followed",
    "test_security.py::test_an_endless_answer_is_cut_off",
    "test_security.py::test_the_key_is_in_no_text_of_any_failure",
    "test_random.py::test_what_never_left_is_sent_again_and_succeeds",
    "test_cancellation.py",
    "test_random.py::test_no_schedule_of_faults_loses_or_doubles_an_order",
    "test_cuts.py",
    "test_targeted.py::test_a_storm_is_not_amplified",
)
"""Quick ones first: the run stops at the first failure."""

TRANSPORT, SENDER = "_io/transport.py", "_io/sender.py"
RETRY, LEDGER = "_core/retry.py", "_core/ledger.py"
MUTANTS = {
    "repeat after any ClientError": [
        (RETRY, "return kind is Kind.FREE or not trouble.sent", "return True"),
    ],
    "repeat POST after 5xx": [
        (
            RETRY,
            "if kind is not Kind.FREE or not isinstance(trouble, APIStatusError):",
            "if not isinstance(trouble, APIStatusError):",
        ),
    ],
    "classify by exception class": [
        (
            TRANSPORT,
            "sent=sent.at is not None,",
            "sent=not isinstance(error, (_BrokenError, aiohttp.ClientOSError)),",
        ),
    ],
    "follow redirects": [
        (TRANSPORT, "allow_redirects=False", "allow_redirects=True"),
    ],
    "key as default header, follow redirects": [
        (TRANSPORT, "allow_redirects=False", "allow_redirects=True"),
        (
            TRANSPORT,
            '"Accept-Encoding": "identity"}',
            (
                '"Accept-Encoding": "identity",'
                ' "Authorization": f"Bearer {self._key.reveal()}"}'
            ),
        ),
    ],
    "trust a fake 400": [
        (
            TRANSPORT,
            "        failure = _failure(error,",
            (
                "        if isinstance(error, aiohttp.ClientResponseError):\n"
                "            return Reply(error.status, {}, b'{}')\n"
                "        failure = _failure(error,"
            ),
        ),
    ],
    "truncated answer counts as not sent": [
        (
            TRANSPORT,
            "sent=sent.at is not None,",
            "sent=sent.at is not None and status is None,",
        ),
    ],
    "truncated answer counts as accepted": [
        (
            SENDER,
            "            if isinstance(answer, Reply):",
            (
                "            found = salvage_task_id(answer.body)\n"
                "            if found and not isinstance(answer, Reply):\n"
                '                told = \'{"data":{"taskId":"%s","state":"new"}}\'\n'
                "                answer = Reply(200, {}, (told % found).encode())\n"
                "            if isinstance(answer, Reply):"
            ),
        ),
    ],
    "no task id check": [
        ("_api/responses.py", "if wire.task_id != asked:", "if not asked:"),
    ],
    "two orders may share a task": [
        (
            "_submission.py",
            "if task_id in wiring.named or tracker.ledger.get(task_id) is not None:",
            "if not task_id:",
        ),
    ],
    "idle connection taken unseen": [
        (
            TRANSPORT,
            "if not protocol.should_close and not _readable(protocol.transport):",
            "if protocol.transport is not None:",
        ),
    ],
    "order() swallows cancellation": [
        (
            SENDER,
            "                self._abandon(order, runner)\n                raise\n",
            (
                "                self._abandon(order, runner)\n"
                "                return None\n"
            ),
        ),
    ],
    "paid request not shielded": [
        (SENDER, "return await asyncio.shield(runner)", "return await runner"),
    ],
    "orphans are dropped": [
        (SENDER, "self.orphans.append(fate)", "pass"),
    ],
    "404 settles at once": [
        (LEDGER, "STRIKES: Final = 3", "STRIKES: Final = 1"),
        (LEDGER, "NOT_FOUND_GRACE_S: Final = 30.0", "NOT_FOUND_GRACE_S: Final = 0.0"),
    ],
    "poll error settles the task": [
        (LEDGER, "ended = self._verdict(entry, answer, now)", "ended = answer"),
    ],
    "no cap on answers": [
        (TRANSPORT, "if len(arrived) > limit:", "if not limit:"),
    ],
    "aiohttp's exception chained": [
        (
            TRANSPORT,
            "RuntimeError) as raised:\n            error = raised\n",
            (
                "RuntimeError) as raised:\n"
                "            from apimodels_async.errors import OutcomeUnknownError\n"
                "            raise OutcomeUnknownError(str(sent)) from raised\n"
            ),
        ),
    ],
    "aiohttp repeats polls": [
        (
            TRANSPORT,
            "except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:",
            "except ZeroDivisionError as error:",
        ),
    ],
    "clean-up cut by a second cancellation": [
        (
            "_wiring.py",
            "await asyncio.shield(self._closing)",
            "await self._closing",
        ),
    ],
}
_STARTED = re.compile(
    r"^\S*test_\w+\.py::(\w+(?:\[.*?\])?) ?(PASSED|FAILED|ERROR|)", re.MULTILINE
)
CI = ("classify by exception class", "no task id check", "follow redirects")


def plant(name: str, folder: Path) -> None:
    """Copy the package into *folder* with the bug *name* in it."""
    package = folder / "apimodels_async"
    shutil.copytree(
        ROOT / "apimodels_async", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    for file, good, bad in MUTANTS[name]:
        path = package / file
        text = path.read_text(encoding="utf-8")
        found = text.count(good)
        if found != 1:
            msg = f"{name}: {file} has {found} times {good!r}; adapt the mutant"
            raise LookupError(msg)
        path.write_text(text.replace(good, bad), encoding="utf-8")


def caught_by(folder: Path) -> str | None:
    """Run the subset against the package in *folder*; return the test that failed."""
    tests = [str(ROOT / "tests/chaos" / test) for test in SUBSET]
    # An async test that hangs takes the signal method's teardown with it.
    options = ["-x", "-v", "--timeout=30", "--timeout-method=thread"]
    done = subprocess.run(
        # -P: the checkout itself must not come first.
        [sys.executable, "-P", "-m", "pytest", *options, "--show-capture=no", *tests],
        cwd=ROOT,
        # A mutant's lines are not the package's: they are not to be counted.
        env={k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
        | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        | {"CHAOS_NO_SHRINK": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    started = _STARTED.findall(done.stdout)
    if done.returncode == 0:
        return None
    if not started:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    name, end = started[-1]
    return name if end in {"FAILED", "ERROR"} else f"{name} hangs"


def try_out(name: str) -> str | None:
    """Return the test that catches the bug *name*, or None."""
    with tempfile.TemporaryDirectory() as folder:
        plant(name, Path(folder))
        return caught_by(Path(folder))


def main() -> int:
    """Try the bugs named on the command line, or all of them."""
    missed = 0
    for name in sys.argv[1:] or MUTANTS:
        started = time.monotonic()
        test = try_out(name)
        missed += test is None
        took = time.monotonic() - started
        sys.stdout.write(f"{name:40} {took:4.0f} s  {test or 'NOT CAUGHT'}\n")
        sys.stdout.flush()
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
