"""
What is there is kept: a new picture gets a number, an equal one is the same file.
"""

from __future__ import annotations

import asyncio
import errno
import os
from functools import partial

import anyio
import pytest

from apimodels_async import DownloadError
from apimodels_async._core.files.keeping import BUFFER_BYTES, Keeping
from apimodels_async._io.files.disk import LocalDisk
from apimodels_async._io.files.storage import FileSink
from apimodels_async._ports import CutError

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
OTHER = PNG + b"other"


@pytest.fixture
def threads():
    """Return a limiter for four threads."""
    return anyio.CapacityLimiter(4)


@pytest.fixture
def sink(tmp_path, threads):
    """Return a maker of sinks in one directory."""

    def make(name="fox", sidecar=None, *, disk=None, **keeping):
        options = Keeping(stem="stem", sidecar=sidecar, **keeping)
        return FileSink(threads, options, tmp_path / name, disk or LocalDisk())

    return make


def names(folder):
    """Return the names of all that is in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def store(sink, content=PNG):
    """Fill a sink as a download does."""
    try:
        await sink.add(content)
        return await sink.finish()
    finally:
        await sink.discard()


async def test_another_picture_gets_a_number(sink, tmp_path):
    """Nothing is overwritten, and the same pictures again make no new files."""
    for _ in range(2):
        for number, content in enumerate((PNG, OTHER, PNG + b"3"), 1):
            path = await store(sink(), content)
            assert path.name == ("fox.png" if number == 1 else f"fox-{number}.png")
            assert path.read_bytes() == content

    assert len(names(tmp_path)) == 3


async def test_numbers_go_on_from_where_they_begin(sink, tmp_path):
    """The second picture of a result is number 2, and never another one's file."""
    first = await store(sink())
    path = await store(sink(number=2, taken=frozenset({first})))
    same = await store(sink(number=2, taken=frozenset({first, path})))

    assert names(tmp_path) == ["fox-2.png", "fox-3.png", "fox.png"]
    assert (path.name, same.name) == ("fox-2.png", "fox-3.png")


async def test_only_the_suffix_of_a_picture_is_one(sink):
    """A version number at the end of a name is no suffix."""
    assert (await store(sink("fox v1.5"))).name == "fox v1.5.png"
    assert (await store(sink("fox.webp"))).name == "fox.webp"


async def test_a_directory_to_be_is_made(sink, tmp_path):
    """A target that is to be a directory becomes one; the file is named in it."""
    path = await store(sink("a/b", folder=True))

    assert path == tmp_path / "a" / "b" / "stem.png"


async def test_a_sidecar_goes_with_its_number(sink, tmp_path):
    """Neither a picture nor what lies beside it is overwritten; a pair stays one."""
    (tmp_path / "fox.png.json").write_bytes(b"mine")
    path = await store(sink(sidecar=b"{}"))
    again = await store(sink(sidecar=b"{}"))
    (tmp_path / "fox-2.png.json").unlink()
    await store(sink(sidecar=b"{}"))

    assert path == again == tmp_path / "fox-2.png"
    assert (tmp_path / "fox.png.json").read_bytes() == b"mine"
    assert names(tmp_path) == ["fox-2.png", "fox-2.png.json", "fox.png.json"]
    over = await store(sink(sidecar=b"new", overwrite=True), OTHER)
    assert over == tmp_path / "fox.png"
    assert (tmp_path / "fox.png.json").read_bytes() == b"new"


async def test_a_sidecar_that_is_there_already_is_not_taken_away(sink, tmp_path):
    """If the picture cannot be placed, an equal sidecar of another run stays."""
    (tmp_path / "fox.png.json").write_bytes(b"{}")
    path = await store(sink(sidecar=b"{}"))

    assert path.name == "fox.png"
    assert names(tmp_path) == ["fox.png", "fox.png.json"]


async def test_many_at_once_keep_every_picture(sink, tmp_path):
    """No race replaces a file: 40 writers of one name leave all that differ."""
    contents = [PNG + bytes([number % 20]) for number in range(40)]
    paths = await asyncio.gather(*(store(sink(), each) for each in contents))

    assert all(
        path.read_bytes() == content
        for path, content in zip(paths, contents, strict=True)
    )
    assert {path.read_bytes() for path in tmp_path.iterdir()} == set(contents)


class Odd(LocalDisk):
    """A disk that can do less than this one."""

    def __init__(self, **unable):
        super().__init__()
        self._unable = unable

    def _refuse(self, what, *paths):
        error = self._unable.get(what)
        if error is not None:
            error = error(*paths) if callable(error) else error
        if error is not None:
            raise OSError(error, os.strerror(error))

    def link(self, part, path):
        self._refuse("link", path)
        super().link(part, path)

    def replace(self, part, path):
        self._refuse("replace", path)
        super().replace(part, path)

    def flush(self, descriptor):
        self._refuse("flush")
        super().flush(descriptor)


async def test_where_there_are_no_links_a_name_is_reserved(sink, tmp_path):
    """On FAT and some shares the result is the same, errors included."""
    unlinked = partial(sink, disk=Odd(link=errno.EPERM))
    await test_many_at_once_keep_every_picture(unlinked, tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    await test_a_sidecar_goes_with_its_number(unlinked, tmp_path)
    unable = Odd(link=errno.EPERM, replace=errno.EPERM)
    with pytest.raises(DownloadError, match="not permitted"):
        await store(sink("hare", sidecar=b"{}", disk=unable))
    assert not [name for name in names(tmp_path) if "hare" in name]


async def test_a_faster_writer_is_not_overwritten(sink, tmp_path):
    """Between the look and the name somebody else may write: theirs stays."""
    others = [tmp_path / "fox.png"]

    def later(path):
        if path in others:
            others.remove(path)
            path.write_bytes(b"theirs")

    path = await store(sink(sidecar=b"{}", disk=Odd(link=later)))

    assert path.name == "fox-2.png"
    assert (tmp_path / "fox.png").read_bytes() == b"theirs"
    assert names(tmp_path) == ["fox-2.png", "fox-2.png.json", "fox.png"]


async def test_no_room_for_the_picture_takes_the_sidecar_back(sink, tmp_path):
    """Both are there, or neither."""

    def full(path):
        return errno.ENOSPC if path.suffix == ".png" else None

    with pytest.raises(DownloadError, match="No space"):
        await store(sink(sidecar=b"{}", disk=Odd(link=full, replace=errno.ENOSPC)))

    assert names(tmp_path) == []


async def test_numbers_end(sink, tmp_path):
    """Where every name is said to be taken, that is told."""
    with pytest.raises(DownloadError, match="File exists"):
        await store(sink(disk=Odd(link=errno.EEXIST)))
    assert names(tmp_path) == []


async def test_what_is_no_plain_file_is_never_the_picture(sink, tmp_path):
    """A pipe under the name is not opened; a dangling link is left alone."""
    os.mkfifo(tmp_path / "fox.png")
    (tmp_path / "fox-2.png").symlink_to("nowhere")
    path = await store(sink())

    assert path.name == "fox-3.png"


async def test_a_cut_file_can_begin_anew(sink, tmp_path):
    """A sink that says its file is cut takes another try."""
    head = b"\0\0\0\x0dIHDR" + bytes(17)
    cut = b"\x89PNG\r\n\x1a\n" + head + b"\0\0\0\x09IDAT123"
    whole = cut + b"456789" + bytes(4) + bytes(4) + b"IEND" + bytes(4)
    to = sink()
    await to.add(cut)
    with pytest.raises(CutError):
        await to.finish()
    await to.restart()

    assert (await store(to, whole)).read_bytes() == whole
    assert names(tmp_path) == ["fox.png"]


async def test_after_an_error_no_directory_is_left(sink, tmp_path):
    """Directories made for a file that did not come are removed, others' are not."""
    for name in ("a/b/c", "d/e"):
        to = sink(name)
        await to.add(PNG + bytes(BUFFER_BYTES))
        assert names(tmp_path)
        if name == "d/e":
            (tmp_path / "d" / "mine").write_bytes(b"")
        await to.discard()

    assert names(tmp_path) == ["d"]
    assert names(tmp_path / "d") == ["mine"]


async def test_a_directory_removed_meanwhile_is_made_again(sink, threads, tmp_path):
    """One sink that cleans up does not fail another in the same directory."""

    class Hasty(LocalDisk):
        def enter(self, folder):
            made = super().enter(folder)
            if not self.gone:
                self.gone = True
                folder.rmdir()
            return made

        gone = False

    to = FileSink(threads, Keeping(stem="s"), tmp_path / "a" / "fox", Hasty())
    assert (await store(to)).read_bytes() == PNG


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO])
async def test_a_file_is_synced_where_it_can_be(sink, tmp_path, number):
    """A file system without fsync keeps pictures; a broken disk is told."""
    to = sink(sidecar=b"{}", disk=Odd(flush=number))
    if number == errno.EINVAL:
        await store(to)
    else:
        with pytest.raises(DownloadError, match="Input/output"):
            await store(to)
        assert names(tmp_path) == []


@pytest.mark.parametrize("turns", range(0, 60, 3))
async def test_cancelled_while_it_gets_its_name_nothing_is_left(sink, tmp_path, turns):
    """Also when a thread has just named it: the caller does not know where."""
    (tmp_path / "fox.png").write_bytes(OTHER)
    task = asyncio.create_task(store(sink(sidecar=b"{}")))
    for _ in range(turns):
        await asyncio.sleep(0.0002)
    task.cancel()
    await asyncio.wait([task])

    kept = [] if task.cancelled() else ["fox-2.png", "fox-2.png.json"]
    assert names(tmp_path) == [*kept, "fox.png"]
