"""What a store that breaks down means to a command that has its picture."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from apimodels_async import JournalError, OutcomeUnknownError
from apimodels_async.cli.commands.recover import Recovery
from apimodels_async.cli.context import CommandContext
from apimodels_async.cli.errors import ExitCode
from apimodels_async.cli.output import Output
from apimodels_async.cli.store import StoredOrder, record_files
from apimodels_async.stores import MemoryStore


class BrokenStore(MemoryStore):
    """Takes orders, and no word about what became of them."""

    async def saved(self, attempt, files):
        """Refuse."""
        msg = "the disk is full"
        raise JournalError(msg)

    async def handed_over(self, *attempts):
        """Refuse."""
        msg = "the disk is full"
        raise JournalError(msg)


async def test_a_picture_that_cannot_be_recorded_is_there(
    emulator, connect, tmp_path, capsys
):
    """What the store does not take is said, and no error: the picture is paid for."""
    store = BrokenStore()
    session = connect(emulator, store=store)
    result = await session.images.generate("a fox", idempotency_key="fox")
    order = StoredOrder(store, "fox")

    context = CommandContext(session, Output())
    await order.delivered(context, [tmp_path / "fox.jpg"], whole=True)

    assert result.credits == Decimal("0.01")
    assert "not in the history: the disk is full" in capsys.readouterr().err


async def test_nothing_is_recorded_where_there_is_nothing():
    """Without files the store is not asked; without a store nobody is."""
    await record_files(BrokenStore(), 1, [])
    await StoredOrder(None, None).delivered(None, [], whole=True)

    with pytest.raises(JournalError):
        await record_files(BrokenStore(), 1, [Path("fox.jpg")])


async def test_a_forgotten_order_has_no_files(emulator, connect, tmp_path):
    """A key that was forgotten meanwhile names nothing to write to."""
    store = BrokenStore()
    session = connect(emulator, store=store)
    order = StoredOrder(store, "fox")

    context = CommandContext(session, Output())
    await order.delivered(context, [tmp_path / "fox.jpg"], whole=True)


async def test_what_cannot_be_dropped_is_said(emulator, connect, capsys):
    """An order that the store does not let go is told with the reason."""
    store = BrokenStore()
    emulator.fault("create", "drop", after=True)
    first = connect(emulator, store=store)
    with pytest.raises(OutcomeUnknownError):
        await first.images.submit("a moose", model="gpt-image-2")
    await first.aclose()
    context = CommandContext(connect(emulator, store=store), Output())
    recovery = Recovery(context, store, "rec/", drop_lost=True)

    await recovery.run(lambda words: None)

    assert recovery.worst is ExitCode.UNKNOWN
    assert "the disk is full" in capsys.readouterr().err
