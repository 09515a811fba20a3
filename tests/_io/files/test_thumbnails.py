"""Small copies of pictures, as what browsers show."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image
from support.cases import check_all

from apimodels_async import DownloadError
from apimodels_async._io.files.thumbnails import make_thumbnail


def packed(kind, image, **options):
    """Return *image* as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def unpacked(small):
    """Return the picture in a thumbnail's address."""
    head, _, text = small.url.partition(",")
    assert head == "data:image/webp;base64"
    return Image.open(io.BytesIO(base64.b64decode(text)))


def test_every_format_becomes_a_small_webp():
    """The longest side is as asked, what is clear stays so, nothing is made larger."""
    wide = Image.new("RGB", (900, 300), "teal")
    cases = [
        (packed("PNG", wide), (90, 30), "RGB"),
        (packed("JPEG", wide), (90, 30), "RGB"),
        (packed("WEBP", wide), (90, 30), "RGB"),
        (packed("AVIF", wide), (90, 30), "RGB"),
        (packed("GIF", wide), (90, 30), "RGB"),
        (packed("PNG", wide.convert("I;16")), (90, 30), "RGB"),
        (packed("PNG", Image.new("RGBA", (900, 300), (0, 0, 0, 0))), (90, 30), "RGBA"),
        (packed("PNG", Image.new("LA", (900, 300), (9, 0))), (90, 30), "RGBA"),
        (packed("PNG", Image.new("RGB", (9, 3))), (9, 3), "RGB"),
    ]

    def check(data, size, mode):
        small = make_thumbnail(data, 90)
        picture = unpacked(small)

        assert (small.width, small.height) == picture.size == size
        assert picture.mode == mode

    check_all(cases, check)


def test_a_photograph_stands_upright():
    """The camera's note of how it was held is followed, for nobody reads it later."""
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    data = packed("JPEG", Image.new("RGB", (900, 300)), exif=exif)

    assert unpacked(make_thumbnail(data, 90)).size == (30, 90)


def test_what_cannot_be_decoded_is_said(tmp_path):
    """A broken picture, another kind of file and none at all are one kind of error."""
    whole = packed("PNG", Image.new("RGB", (90, 90)))
    for source in (whole[:60], b"<svg></svg>", tmp_path / "gone.png"):
        with pytest.raises(DownloadError, match="cannot be shown"):
            make_thumbnail(source, 90)
