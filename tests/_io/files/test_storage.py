"""FileSink on real files: whole under its final name, or nothing at all."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal

import pytest
from support.downloads import names

from apimodels_async import ConfigurationError, DownloadError
from apimodels_async._core.files.keeping import BUFFER_BYTES, Keeping
from apimodels_async._core.files.names import file_stem
from apimodels_async._io.files.disk import LocalDisk
from apimodels_async._io.files.storage import FileSink

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
STEM = Keeping(stem="s")
HEADS = {
    ".png": PNG,
    ".jpg": b"\xff\xd8\xff\xe0" + b"x" * 64,
    ".webp": b"RIFF\x10\x00\x00\x00WEBPVP8 " + b"x" * 64,
    ".gif": b"GIF89a" + b"x" * 64,
    ".avif": b"\x00\x00\x00\x1cftypavif" + b"x" * 64,
}


async def store(sink, *chunks):
    """Fill a sink as a download does."""
    try:
        for chunk in chunks:
            await sink.add(chunk)
        return await sink.finish()
    finally:
        await sink.discard()


@pytest.mark.parametrize(("suffix", "content"), HEADS.items())
async def test_a_bare_name_gets_the_suffix_of_the_content(
    suffix, content, tmp_path, threads
):
    """Without a suffix of its own, a file is named after what it is."""
    path = await store(
        FileSink(threads, Keeping(stem="stem"), tmp_path / "fox", LocalDisk()), content
    )

    assert path == tmp_path / f"fox{suffix}"
    assert path.read_bytes() == content
    assert names(tmp_path) == [path.name]


async def test_a_place_can_be_tried(tmp_path, threads):
    """What cannot be written is said beforehand, and a trial leaves nothing behind."""
    (tmp_path / "file").write_bytes(PNG)
    long, most = "x" * 300, "x" * 255
    before, folder = names(tmp_path), Keeping(stem="s", folder=True)
    for target, keeping in (
        (tmp_path, STEM),
        (tmp_path / "file", STEM),
        (tmp_path / most, STEM),
        (tmp_path / "a" / "fox.png", STEM),
        (tmp_path / "a" / "b", folder),
    ):
        await FileSink(threads, keeping, target, LocalDisk()).check()
        assert names(tmp_path) == before, target
    for target, keeping in (
        (tmp_path / "file", folder),
        (tmp_path / "file" / "fox", STEM),
        (tmp_path / "a" / long / "fox", STEM),
        (tmp_path / long, STEM),
        (tmp_path / f"{long}.png", STEM),
        (tmp_path / "a\0b", STEM),
    ):
        sink = FileSink(threads, keeping, target, LocalDisk())
        with pytest.raises(ConfigurationError, match=r"cannot write .*; nothing was"):
            await sink.check()
        assert names(tmp_path) == before, target


async def test_a_suffix_given_is_kept(tmp_path, threads):
    """The caller's own name is not corrected."""
    path = await store(
        FileSink(threads, Keeping(stem="stem"), tmp_path / "fox.JPEG", LocalDisk()), PNG
    )

    assert path == tmp_path / "fox.JPEG"


async def test_a_directory_gets_a_file_named_after_the_task(tmp_path, threads):
    """In an existing directory the stem is the name."""
    path = await store(
        FileSink(threads, Keeping(stem=file_stem("clx1", "")), tmp_path, LocalDisk()),
        PNG,
    )

    assert path == tmp_path / "clx1.png"


async def test_missing_directories_are_made(tmp_path, threads):
    """The way to the file is made."""
    path = await store(
        FileSink(threads, STEM, tmp_path / "a" / "b" / "c.png", LocalDisk()), PNG
    )

    assert path.read_bytes() == PNG


async def test_an_existing_file_is_replaced_if_asked(tmp_path, threads):
    """A finished file takes the place of an old one, in one step."""
    target = tmp_path / "fox.png"
    target.write_bytes(b"old")
    sink = FileSink(threads, Keeping(stem="s", overwrite=True), target, LocalDisk())
    await sink.add(PNG)
    assert target.read_bytes() == b"old"

    await sink.finish()
    await sink.discard()

    assert target.read_bytes() == PNG
    assert names(tmp_path) == ["fox.png"]


async def test_a_large_file_goes_out_in_pieces(tmp_path, threads):
    """More than the buffer is on disk before the end, in order, and all of it."""
    chunks = [PNG, *(bytes([n]) * (BUFFER_BYTES // 3) for n in range(7))]
    sink = FileSink(threads, STEM, tmp_path / "large", LocalDisk())
    for chunk in chunks:
        await sink.add(chunk)
    [part] = tmp_path.iterdir()
    on_the_way = part.stat().st_size

    path = await sink.finish()
    await sink.discard()

    assert part.name.startswith(".large.")
    assert part.name.endswith(".part")
    assert on_the_way >= BUFFER_BYTES
    assert path.name == "large.png"
    assert path.read_bytes() == b"".join(chunks)
    assert names(tmp_path) == ["large.png"]


async def test_a_file_that_trickles_in_is_stored_whole(tmp_path, threads):
    """A picture that comes byte by byte, its head too, is the same picture."""
    sink = FileSink(threads, STEM, tmp_path / "fox", LocalDisk())

    path = await store(sink, *(PNG[at : at + 1] for at in range(len(PNG))))

    assert path.suffix == ".png"
    assert path.read_bytes() == PNG


@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"<svg/>", b"MZ\x90"])
async def test_what_is_no_picture_is_refused(content, tmp_path, threads):
    """HTML, SVG, a program and nothing at all are no pictures; no file is left."""
    with pytest.raises(DownloadError, match="not a picture"):
        await store(FileSink(threads, STEM, tmp_path / "x.png", LocalDisk()), content)

    assert names(tmp_path) == []


async def test_a_refused_large_file_leaves_nothing(tmp_path, threads):
    """Bytes already on disk are removed when their type is refused."""
    with pytest.raises(DownloadError, match="not a picture"):
        await store(
            FileSink(threads, STEM, tmp_path / "x", LocalDisk()), b"x" * BUFFER_BYTES
        )

    assert names(tmp_path) == []


async def test_a_file_beyond_the_limit_is_refused(tmp_path, threads):
    """One byte above the limit is refused, and nothing is left."""
    most = Keeping(stem="s", max_bytes=BUFFER_BYTES + len(PNG) - 1)
    sink = FileSink(threads, most, tmp_path / "x", LocalDisk())
    with pytest.raises(DownloadError, match="larger than"):
        await store(sink, PNG, bytes(BUFFER_BYTES))

    assert names(tmp_path) == []


def tree_with_a_file(tmp_path):
    """Put a file where a directory should be."""
    (tmp_path / "file").write_bytes(b"")
    return tmp_path / "file" / "x.png"


def dangling_loop(tmp_path):
    """Make a directory that leads to itself."""
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path / "loop" / "x.png"


def long_name(tmp_path):
    """Name a file as no file system can."""
    return tmp_path / ("x" * 300)


def name_with_nul(tmp_path):
    """Name a file as no system call can."""
    return tmp_path / "a\0b.png"


@pytest.mark.parametrize(
    "place", [tree_with_a_file, dangling_loop, long_name, name_with_nul]
)
async def test_a_place_that_cannot_be_written_is_named(place, tmp_path, threads):
    """The disk's refusal is our error, with the path and the system's reason."""
    target = place(tmp_path)
    with pytest.raises(DownloadError, match="cannot write") as caught:
        await store(FileSink(threads, STEM, target, LocalDisk()), PNG)

    assert str(target) in str(caught.value)
    assert caught.value.charged is True
    assert caught.value.__cause__ is None


async def test_a_directory_is_not_overwritten(tmp_path, threads):
    """If the final name turns into a directory meanwhile, nothing is left of ours."""
    keeping = Keeping(stem="s", overwrite=True)
    sink = FileSink(threads, keeping, tmp_path / "fox", LocalDisk())
    (tmp_path / "fox.png").mkdir()
    (tmp_path / "fox.png" / "kept").write_bytes(b"")
    with pytest.raises(DownloadError, match="cannot write"):
        await store(sink, PNG)

    assert names(tmp_path) == ["fox.png"]
    assert names(tmp_path / "fox.png") == ["kept"]


async def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path, threads):
    """A symbolic link under the final name is replaced if asked, never written to."""
    victim, target = tmp_path / "victim", tmp_path / "fox.png"
    victim.write_bytes(b"mine")
    target.symlink_to(victim)
    kept = await store(FileSink(threads, STEM, target, LocalDisk()), PNG)
    assert kept == tmp_path / "fox-2.png"
    assert target.is_symlink()
    keeping = Keeping(stem="s", overwrite=True)
    await store(FileSink(threads, keeping, target, LocalDisk()), PNG)

    assert victim.read_bytes() == b"mine"
    assert target.read_bytes() == PNG
    assert not target.is_symlink()


async def test_a_full_disk_leaves_nothing(tmp_path, threads):
    """When writing fails half way, the part is removed and the reason told."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BUFFER_BYTES // 2, hard))
    try:
        with pytest.raises(DownloadError, match="File too large"):
            await store(
                FileSink(threads, STEM, tmp_path / "x", LocalDisk()), PNG * 5000
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old)

    assert names(tmp_path) == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
async def test_a_directory_that_cannot_be_synced_keeps_the_picture(
    number, tmp_path, threads
):
    """What was paid for is not deleted because its name may not outlive a crash."""

    class Failing(LocalDisk):
        def sync_folder(self, folder):
            raise OSError(number, os.strerror(number))

    sink = FileSink(
        threads, Keeping(stem="s", sidecar=b"{}"), tmp_path / "x", Failing()
    )
    path = await store(sink, PNG)

    assert path.read_bytes() == PNG
    assert names(tmp_path) == ["x.png", "x.png.json"]


async def test_a_sink_can_start_over(tmp_path, threads):
    """Nothing of the bytes before a restart is in the file, written already or not."""
    sink = FileSink(threads, STEM, tmp_path / "x", LocalDisk())
    await sink.add(b"old")
    await sink.restart()
    await sink.add(bytes(BUFFER_BYTES) + b"old")
    await sink.add(b"older")
    await sink.restart()
    assert sink.size == 0
    path = await store(sink, PNG)

    assert path.read_bytes() == PNG
    assert names(tmp_path) == ["x.png"]


async def test_a_directory_that_cannot_be_listed_is_no_trouble(tmp_path, threads):
    """Looking for stale parts is a courtesy: strange neighbours stop nothing."""
    neighbour = tmp_path / ".a.01234567.part"
    neighbour.mkdir()
    os.utime(neighbour, (0, 0))
    path = await store(FileSink(threads, STEM, tmp_path / "x", LocalDisk()), PNG)

    assert names(tmp_path) == [neighbour.name, path.name]


async def test_discarding_an_unused_sink_is_fine(tmp_path, threads):
    """A sink that got nothing leaves nothing, twice."""
    sink = FileSink(threads, STEM, tmp_path / "x", LocalDisk())
    await sink.discard()
    await sink.discard()

    assert names(tmp_path) == []


async def test_a_discarded_sink_writes_no_more(tmp_path, threads):
    """A write that was under way when its caller was cancelled comes too late."""
    sink = FileSink(threads, STEM, tmp_path / "x", LocalDisk())
    await sink.discard()
    await sink.add(PNG + bytes(BUFFER_BYTES))
    await sink.finish()

    assert names(tmp_path) == []


@pytest.mark.parametrize("turns", range(14))
async def test_cancelled_at_any_turn_it_is_all_or_nothing(turns, tmp_path, threads):
    """Cancelling between any two turns leaves the whole file or none, and no part."""
    content = PNG + bytes(BUFFER_BYTES)
    task = asyncio.create_task(
        store(FileSink(threads, STEM, tmp_path / "x", LocalDisk()), content, content)
    )
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert names(tmp_path) in ([], ["x.png"])
    assert all(path.read_bytes() == content * 2 for path in tmp_path.iterdir())


async def test_a_file_is_as_private_as_the_umask_says(tmp_path, threads):
    """Permissions are those any new file of the user gets."""
    old = os.umask(0o027)
    try:
        path = await store(FileSink(threads, STEM, tmp_path / "x", LocalDisk()), PNG)
    finally:
        os.umask(old)

    assert path.stat().st_mode & 0o777 == 0o640
