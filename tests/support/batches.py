"""
What several of these test files need: requests, ends of batches, a journal's rows.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections import Counter

from apimodels_async import ImageRequest
from apimodels_async.errors import ApiModelsError

TASK = "gpt-image-2"


def tasks(count, prefix="moose"):
    """Return *count* requests that are answered by tasks."""
    return [ImageRequest(TASK, f"{prefix} {number}") for number in range(count)]


def uncovered():
    """Return the environment for what is going to be killed: without coverage.

    A killed process would leave a torn file among the coverage data.
    """
    return {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}


def run_campaign(script, *words):
    """Run a program of ``tests/soak``; return what it says once all promises held."""
    done = subprocess.run(
        [sys.executable, str(script), *words],
        check=False,
        capture_output=True,
        text=True,
        env=uncovered(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tell_promises(promises):
    """Print which of *promises* were kept; return whether all were."""
    for promise, kept in promises.items():
        print("ok    " if kept else "BROKEN", promise)  # noqa: T201  who runs it reads
    return all(promises.values())


async def drain(batch):
    """Run *batch* to its end; return its outcomes by index, and what it raised."""
    outcomes, raised = {}, None
    async with batch:
        try:
            async for outcome in batch:
                assert outcome.index not in outcomes
                outcomes[outcome.index] = outcome
        except ApiModelsError as error:
            raised = error
    return outcomes, raised


def prompts_ordered(emulator):
    """Return how often each prompt was accepted, tasks and synchronous ones alike."""
    made = [*emulator.tasks.values(), *emulator.generations.values()]
    return Counter(task.prompt for task in made)


def orders(emulator):
    """Return the paid requests that reached the emulator."""
    paid = {"create", "sync", "edit"}
    return [record for record in emulator.requests if record.endpoint in paid]


def rows(path, columns="state"):
    """Return *columns* of a journal in the order of the source."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        sql = f"SELECT {columns} FROM orders WHERE current ORDER BY number"  # noqa: S608
        found = connection.execute(sql)
        return [row[0] if len(row) == 1 else row for row in found]


def rewrite(path, statement, *values):
    """Change a closed journal by hand."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(statement, values)
        connection.commit()
