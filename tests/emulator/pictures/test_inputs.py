"""Input images: kept small, and hostile ones not decoded."""

import struct
import zlib
from io import BytesIO

from PIL import Image

from apimodels_async.emulator.pictures.inputs import shrink


def test_hostile_images_are_no_images(png):
    """Broken, huge and lying files are not decoded."""
    sound = png((50, 50))
    header = b"IHDR" + struct.pack(">II", 9_000, 9_000) + sound[24:29]
    huge = sound[:12] + header + zlib.crc32(header).to_bytes(4) + sound[33:]

    assert Image.open(BytesIO(huge)).size == (9_000, 9_000)
    assert shrink(b"") is None
    assert shrink(b"<svg/>") is None
    assert shrink(sound[:60]) is None
    assert shrink(huge) is None


def test_large_inputs_are_kept_small(png):
    """An input is kept at most 1024 pixels long; its own sides are remembered."""
    data, sides = shrink(png((2000, 1000)))

    assert sides == (2000, 1000)
    assert Image.open(BytesIO(data)).size == (1024, 512)
