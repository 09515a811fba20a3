"""A picture that is kept in memory alone."""

from __future__ import annotations

import io

import anyio
import pytest
from PIL import Image

from apimodels_async import DownloadError
from apimodels_async._core.files.keeping import Keeping
from apimodels_async._io.files.memory import MemorySink
from apimodels_async._ports import CutError


async def test_a_picture_is_whole_and_not_too_large():
    """What is cut may come again; what is no picture, or too large, is refused."""
    packed = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(packed, "PNG")
    whole = packed.getvalue()
    sink = MemorySink(anyio.CapacityLimiter(1), Keeping(stem="", max_bytes=len(whole)))

    await sink.add(whole[:-20])
    with pytest.raises(CutError):
        await sink.finish()
    await sink.restart()
    await sink.add(whole)
    await sink.finish()
    await sink.discard()

    assert sink.data == whole
    with pytest.raises(DownloadError, match="larger"):
        await sink.add(b"x")
    await sink.restart()
    await sink.add(b"<html>")
    with pytest.raises(DownloadError, match="not a picture"):
        await sink.finish()
