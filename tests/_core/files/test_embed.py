"""Where metadata goes in a picture, without touching its pixels."""

from __future__ import annotations

import struct
from io import BytesIO

from PIL import Image, PngImagePlugin
from support.cases import check_all

from apimodels_async._core.files.embed import (
    EXIF_BYTES_MAX,
    Place,
    exif_segment,
    find_place,
    png_chunk,
)


def picture(kind, **options):
    """Return a small picture in some format."""
    out = BytesIO()
    Image.effect_noise((32, 24), 80).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def test_a_png_takes_it_behind_its_header():
    """The place is right after IHDR."""
    place = find_place(picture("PNG"))

    assert place == Place(".png", 33, 33)


def test_a_jpeg_takes_it_behind_its_first_segment():
    """The place is after JFIF, before everything else."""
    data = picture("JPEG")
    place = find_place(data)

    assert place.suffix == ".jpg"
    assert data[2:4] == b"\xff\xe0"
    assert place.start == place.stop == 4 + struct.unpack(">H", data[4:6])[0]


def test_further_segments_are_passed_over():
    """A comment or a second JFIF segment does not move the place."""
    data = picture("JPEG", comment=b"hello")
    start = find_place(data).start
    extension = b"\xff\xe0\x00\x07JFXX\0"
    first = data[:start] + b"\xff\xe2\x00\x04ab" + extension + data[start:]

    assert find_place(first) == Place(".jpg", start, start)


def test_the_exif_of_a_jpeg_is_replaced():
    """Where there is EXIF, the place is that of it, and its content is told."""
    exif = Image.Exif()
    exif[0x010E] = "as it came"
    data = picture("JPEG", exif=exif)
    place = find_place(data)

    assert data[place.start : place.start + 2] == b"\xff\xe1"
    assert place.suffix == ".jpg"
    assert place.exif.startswith(b"Exif\0\0")
    assert data[place.stop] == 0xFF
    assert find_place(data[: place.stop]) == place
    assert find_place(data[: place.stop - 1]) is None


def test_exif_is_found_behind_other_segments():
    """XMP, which shares its marker, and the last kind of segment are passed over."""
    exif = Image.Exif()
    exif[0x010E] = "as it came"
    data = picture("JPEG", exif=exif)
    at = find_place(data).start
    more = b"\xff\xe1\x00\x0ahttp://n" + b"\xff\xef\x00\x04ab"

    place = find_place(data[:at] + more + data[at:])
    assert place.start == at + len(more)
    assert place.exif == find_place(data).exif


def test_no_more_than_the_head_of_a_segment_is_needed():
    """The place is known as soon as the segment behind it shows its kind."""
    data = picture("JPEG")
    place = find_place(data)

    assert find_place(data[: place.stop + 4]) == place
    assert find_place(data[: place.stop + 3]) is None


def test_nothing_else_has_a_place():
    """Other formats, cut and damaged files take no metadata."""
    cases = [
        picture("WEBP"),
        picture("GIF"),
        b"<svg/>",
        b"",
        picture("PNG")[:20],
        picture("PNG")[:33],
        b"II" + picture("JPEG")[2:],
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        picture("JPEG")[:20],
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xe0\x00\x04ab not a marker",
    ]

    def check(head):
        assert find_place(head) is None

    check_all(cases, check)


def test_what_was_spliced_in_is_read_by_others():
    """Pillow finds a chunk and a segment made here, and the same pixels."""
    png, jpeg = picture("PNG"), picture("JPEG")
    chunk = png_chunk(b"tEXt", b"Comment\0a fox")
    exif = Image.Exif()
    exif[0x010E] = "a fox"
    at = find_place(jpeg).start
    segment = exif_segment(b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0"))

    noted = Image.open(BytesIO(png[:33] + chunk + png[33:]))
    assert isinstance(noted, PngImagePlugin.PngImageFile)
    assert noted.text == {"Comment": "a fox"}
    assert noted.tobytes() == Image.open(BytesIO(png)).tobytes()
    noted = Image.open(BytesIO(jpeg[:at] + segment + jpeg[at:]))
    assert noted.getexif()[0x010E] == "a fox"
    assert noted.tobytes() == Image.open(BytesIO(jpeg)).tobytes()


def test_too_much_for_a_segment_is_left_out():
    """A block beyond 64 kB makes no segment."""
    assert exif_segment(bytes(EXIF_BYTES_MAX + 1)) == b""
    assert len(exif_segment(bytes(EXIF_BYTES_MAX))) == EXIF_BYTES_MAX + 4
