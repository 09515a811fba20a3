"""``apimodels ls``, also while a batch runs."""

from __future__ import annotations

import os
from pathlib import Path

from apimodels_async import Session


async def test_a_folder_in_use_is_listed_but_not_shared(run, emulator, prompts):
    """A second run is told the first one's process id; ls may look on."""
    await run("batch", prompts("a fox"), "--out", "D")
    async with (
        Session(emulator.api_key, base_url=emulator.base_url) as session,
        session.images.batch([], journal=Path("D/journal.sqlite")),
    ):
        second = await run("resume", "D")
        seen = await run("ls", "D")

    assert second.code == 2
    assert f"another process (pid {os.getpid()}) is at work" in second.err
    assert f"running now (pid {os.getpid()})" in seen.err
    assert "a fox" in seen.out


async def test_a_terminal_sees_a_table(run, run_on_terminal, prompts):
    """Before a terminal ls has a table, and --state picks rows."""
    await run("batch", prompts("a fox", "a hare [refused]"), "--out", "D")
    listed = await run_on_terminal("ls", "D", "--state", "completed", columns=120)
    none = await run_on_terminal("ls", "D", "--state", "unknown")

    assert "prompt" in listed.out
    assert "a fox" in listed.out
    assert "a hare" not in listed.out
    assert "a fox" not in none.out
