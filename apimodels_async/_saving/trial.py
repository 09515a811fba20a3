"""
Whether pictures can be kept in a place, for those who have no session yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import anyio
from attrs import evolve

from apimodels_async._core.files.keeping import Keeping
from apimodels_async._io.files.disk import LocalDisk
from apimodels_async._io.files.storage import FileSink

if TYPE_CHECKING:
    from apimodels_async._core.files.object_urls import ObjectURL

FOLDER: Final = Keeping(stem="picture", folder=True)
"""How a picture would be kept, should anything be in its way."""


async def check_place(place: Path | ObjectURL, seconds: float, *, folder: bool) -> None:
    """
    Find out whether pictures can be kept in *place*; leaves nothing behind.

    Args:
        seconds: How long a bucket may take to say so.

        folder: A path is that of a directory, whether there is one yet or not.

    Raises:
        ConfigurationError: They cannot. Nothing was ordered.
    """
    if isinstance(place, Path):
        keeping, thread = evolve(FOLDER, folder=folder), anyio.CapacityLimiter(1)
        await FileSink(thread, keeping, place, LocalDisk()).check()
        return
    from apimodels_async._io.files.buckets import open_bucket

    await open_bucket(place, seconds).check(place.prefix, seconds)
