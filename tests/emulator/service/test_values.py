"""Records: how many are kept."""

from apimodels_async.emulator.service import values


def test_records_are_bounded():
    """Records beyond the limit push out the oldest tenth."""
    records = []
    for at in range(21):
        values.append_capped(records, at, limit=20)

    assert records == list(range(2, 21))
