"""
Inputs as programs have them: paths, buffers, open files; what is none is refused here.
"""

from __future__ import annotations

import array
import io
import mimetypes
from pathlib import Path

import pytest
from support.cases import check_all_at_once

from apimodels_async import InvalidRequestError
from apimodels_async._io.files.inputs import load_file

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 100


def written():
    """Return a file in memory that stands at its end."""
    file = io.BytesIO()
    file.write(PNG)
    return file


class Trickle(io.RawIOBase):
    """A stream that cannot seek, and gives a little at a time."""

    def __init__(self):
        self._left = io.BytesIO(PNG)

    def readable(self):
        return True

    def read(self, size=-1):
        return self._left.read(min(size, 7))


class Bare:
    """The least that can be read."""

    def __init__(self, *pieces):
        self._pieces = [*pieces, b""]

    def read(self, _size):
        return self._pieces.pop(0)


async def test_whatever_holds_bytes_is_a_file(tmp_path, threads):
    """Buffers and open files, where they stand, at their end or without a place."""
    (tmp_path / "fox.png").write_bytes(PNG)

    async def check(source, name="image.png"):
        file = await load_file(source, None, None, threads)
        assert (file.name, file.content_type, file.data) == (name, "image/png", PNG)

    with (tmp_path / "fox.png").open("rb") as file:
        ahead = io.BytesIO(b"junk" + PNG)
        ahead.seek(4)
        await check_all_at_once(
            [
                (bytearray(PNG),),
                (memoryview(PNG),),
                (array.array("B", PNG),),
                (io.BytesIO(PNG),),
                (written(),),
                (ahead,),
                (Trickle(),),
                (Bare(PNG),),
                (Bare(bytearray(PNG[:9]), memoryview(PNG[9:])),),
                (file, "fox.png"),
                (str(tmp_path / "fox.png"), "fox.png"),
            ],
            check,
        )


async def test_what_is_no_file_is_refused_by_name(tmp_path, threads):
    """Each mistake is InvalidRequestError about *source*, and says what to do."""

    async def coroutine(_size):
        return PNG

    class Picture:
        __array_interface__ = None

    class Tensor:
        def __array__(self):
            """Give the pixels."""

    class Asynchronous:
        read = staticmethod(coroutine)

    class Sinking:
        def read(self, _size):
            raise OSError(5, "Input/output error")

    closed = io.BytesIO(PNG)
    closed.close()

    async def check(source, why):
        with pytest.raises(InvalidRequestError, match=why) as caught:
            await load_file(source, None, None, threads)
        assert caught.value.parameter == "source"
        assert str(caught.value).isprintable()
        assert "canary" not in str(caught.value)

    await check_all_at_once(
        [
            (Picture(), "io.BytesIO"),
            (Tensor(), "io.BytesIO"),
            (Asynchronous(), "pass the bytes"),
            (Bare(None), "NoneType"),
            (io.StringIO("x"), "'rb'"),
            (Sinking(), "Input/output"),
            (closed, "closed"),
            (5, "pass a path"),
            (None, "pass a path"),
            (b"", "nothing in it"),
            (io.BytesIO(), "nothing in it"),
            (Bare(), "nothing in it"),
            ("a\0b.png", "null"),
            ("fox\n.png", "No such file"),
            ("https://x.org/a.png", "https://: .* given to the order as it is"),
            (Path("ftp://u:canary@x.org/a.png"), "at ftp://: .* fetch into a file"),
        ],
        check,
    )


async def test_the_cap_has_a_switch(tmp_path, threads):
    """Every kind of source is bounded, also one whose size nobody can tell."""
    (tmp_path / "fox.png").write_bytes(PNG)

    async def check(source):
        with pytest.raises(InvalidRequestError, match="max_bytes= sets the limit"):
            await load_file(source, None, None, threads, 100)

    await check_all_at_once(
        [
            (PNG,),
            (bytearray(PNG),),
            (io.BytesIO(PNG),),
            (tmp_path / "fox.png",),
            ("/dev/zero",),
        ],
        check,
    )
    assert (await load_file(PNG, None, None, threads, len(PNG))).data == PNG


async def test_the_hosts_tables_do_not_matter(threads):
    """A slim image knows no WebP; another may call it something else."""
    mimetypes.add_type("text/evil", ".webp")
    try:
        for suffix, kind in (("webp", "image/webp"), ("avif", "image/avif")):
            file = await load_file(b"?", f"a.{suffix}", None, threads)
            assert file.content_type == kind
    finally:
        mimetypes.init()


async def test_a_name_is_one_harmless_word(threads):
    """Of a name given there is the last part, without controls, cut if it is long."""

    async def check(given, expected):
        file = await load_file(PNG, given, None, threads)
        assert file.name == expected

    await check_all_at_once(
        [
            ("fox\r\nden.png", "fox den.png"),
            ("../../etc/fox.png", "fox.png"),
            ("C:\\pictures\\fox.png", "fox.png"),
            ("狐.png", "狐.png"),
            ("\0", "image.png"),
            ("a" * 500 + ".png", "a" * 200 + ".png"),
            ("fu\u0308chse.png", "f\u00fcchse.png"),
        ],
        check,
    )
