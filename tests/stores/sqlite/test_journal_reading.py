"""Reading the journal of a batch while somebody works with it."""

from __future__ import annotations

from support.orders import an_order

from apimodels_async._core.money.orders import BATCH_SCOPE
from apimodels_async.stores.sqlite.journal import Journal


async def test_who_only_reads_needs_no_lock_and_takes_none(tmp_path):
    """A journal is read beside the one process that has it, and before it comes."""
    holder = Journal(tmp_path / "j.sqlite")
    await holder.open()
    await holder.begin(an_order("first", scope=BATCH_SCOPE), ())
    during = holder.reader()
    await during.open()
    found = await during.find(BATCH_SCOPE, "first")
    await holder.aclose()
    await holder.open()
    await holder.begin(an_order("second", scope=BATCH_SCOPE), ())
    later = await during.find(BATCH_SCOPE, "second")
    await holder.aclose()
    await during.aclose()

    assert found is not None
    assert later is not None
