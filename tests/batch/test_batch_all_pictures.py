"""
A batch saves every picture of an item, also those that an older release left out.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from apimodels_async import PollPolicy, Session
from apimodels_async.cli.batch.journal import read_cards
from apimodels_async.emulator import Emulator

ORDER = {"prompt": "ein Fuchs", "model": "gpt-image-2-all", "n": 3}


@pytest.fixture
async def emulator():
    """Serve the API, quickly."""
    async with Emulator(speed=50, service_times={"*": 2}) as emulator:
        yield emulator


async def run(emulator, folder, *orders):
    """Run a batch with a journal; return its outcomes by index."""
    polling = PollPolicy.unchecked(interval=0.05)
    async with (
        Session(
            emulator.api_key, base_url=emulator.base_url, polling=polling
        ) as session,
        session.images.batch(
            orders, journal=folder / "j.sqlite", download_to=folder / "out"
        ) as outcomes,
    ):
        return {outcome.index: outcome async for outcome in outcomes}


def write_file(folder, file):
    """Write down where pictures are, as another release would."""
    with closing(sqlite3.connect(folder / "j.sqlite")) as journal:
        journal.execute("UPDATE orders SET files = ?", (json.dumps([file]),))
        journal.commit()


async def test_every_picture_is_saved_and_found_again(emulator, tmp_path):
    """Outcome, folder and journal have all three; a second run orders nothing."""
    outcome = (await run(emulator, tmp_path, ORDER))[0]
    names = [path.name.partition(".")[0] for path in outcome.paths]
    again = (await run(emulator, tmp_path, ORDER))[0]
    [entry] = await read_cards(tmp_path / "j.sqlite", tmp_path / "out", running=False)

    assert names == ["00000-ein-fuchs", "00000-ein-fuchs-2", "00000-ein-fuchs-3"]
    assert sorted(outcome.paths) == sorted((tmp_path / "out").iterdir())
    assert again.paths == outcome.paths == entry.files
    assert entry.files[0] == outcome.path
    assert len([one for one in emulator.requests if one.method == "POST"]) == 1


async def test_what_an_older_release_left_out_is_fetched(emulator, tmp_path):
    """Its journal has the first picture alone; so has one that lost a file."""
    first = (await run(emulator, tmp_path, ORDER))[0]
    for path in first.paths[1:]:
        path.unlink()
    write_file(tmp_path, str(first.path))
    again = (await run(emulator, tmp_path, ORDER))[0]
    again.paths[1].unlink()
    third = (await run(emulator, tmp_path, ORDER))[0]

    assert first.paths == again.paths == third.paths
    assert all(path.is_file() for path in third.paths)


async def test_a_picture_that_cannot_be_had_leaves_the_others(emulator, tmp_path):
    """The outcome has result, error, and the paths there are; later all of them."""
    emulator.fault("file", "forbidden", times=1)
    outcome = (await run(emulator, tmp_path, ORDER))[0]
    assert outcome.result is not None
    assert outcome.error is not None
    assert len(outcome.paths) == 2
    assert len((await run(emulator, tmp_path, ORDER))[0].paths) == 3
