"""Input files: read, named, typed, or refused before anything is sent."""

from __future__ import annotations

import pytest

from apimodels_async import InvalidRequestError
from apimodels_async._io.files.inputs import UPLOAD_BYTES_MAX, load_file

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 100


async def test_a_path_names_itself(tmp_path, threads):
    """A file keeps its name and is typed by its content, whatever its suffix says."""
    path = tmp_path / "fox.jpeg"
    path.write_bytes(PNG)
    file = await load_file(path, None, None, threads)

    assert (file.name, file.content_type, file.data) == ("fox.jpeg", "image/png", PNG)
    assert await load_file(str(path), None, None, threads) == file


async def test_name_and_type_may_be_given(tmp_path, threads):
    """What the caller says wins."""
    path = tmp_path / "fox"
    path.write_bytes(b"?")
    file = await load_file(path, "bear.bin", "image/heic", threads)

    assert (file.name, file.content_type) == ("bear.bin", "image/heic")


@pytest.mark.parametrize(
    ("data", "name", "expected"),
    [
        (PNG, None, ("image.png", "image/png")),
        (PNG, "a.txt", ("a.txt", "image/png")),
        (b"?", "a.webp", ("a.webp", "image/webp")),
    ],
)
async def test_bytes_are_typed_by_content_then_by_name(data, name, expected, threads):
    """Bytes get a name of their type if they have none."""
    file = await load_file(data, name, None, threads)

    assert (file.name, file.content_type) == expected


async def test_an_unknown_type_is_refused(threads):
    """Bytes that nothing is known of need content_type."""
    with pytest.raises(InvalidRequestError) as caught:
        await load_file(b"?", None, None, threads)

    assert caught.value.parameter == "content_type"
    assert (await load_file(b"?", None, "image/heic", threads)).name == "image"


async def test_what_cannot_be_read_is_refused(tmp_path, threads):
    """A missing file and a directory are named, with the system's reason."""
    for path in (tmp_path / "missing.png", tmp_path):
        with pytest.raises(InvalidRequestError, match="cannot upload") as caught:
            await load_file(path, None, None, threads)

        assert caught.value.parameter == "source"
        assert str(path) in str(caught.value)


async def test_a_file_too_large_for_memory_is_refused(tmp_path, threads):
    """A sparse file above the limit is refused unread."""
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(UPLOAD_BYTES_MAX + 1)
    with pytest.raises(InvalidRequestError, match="larger than 100 MiB"):
        await load_file(path, None, None, threads)
