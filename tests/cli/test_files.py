"""Files that are written whole, whatever lies in the way."""

from __future__ import annotations

import pytest

from apimodels_async.cli.files import replace_file


def test_a_link_gives_way_to_the_file(folder):
    """What the link led to stays as it is, and nothing else is left behind."""
    diary, page = folder / "diary", folder / "page"
    diary.write_text("dear diary")
    page.symlink_to(diary)
    replace_file(page, [b"new", b" page"])

    assert (diary.read_text(), page.read_text()) == ("dear diary", "new page")
    assert not page.is_symlink()
    assert sorted(folder.iterdir()) == [diary, page]


def test_what_cannot_be_written_changes_nothing(folder):
    """An error in the middle leaves the old file, and no part."""

    def pieces():
        yield b"half"
        msg = "no more"
        raise OSError(msg)

    page = folder / "page"
    page.write_text("old")
    with pytest.raises(OSError, match="no more"):
        replace_file(page, pieces())

    assert page.read_text() == "old"
    assert [*folder.iterdir()] == [page]
