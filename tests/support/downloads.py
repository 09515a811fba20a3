"""Downloads that fail, and what they leave in a folder."""

from __future__ import annotations

import pytest

from apimodels_async import DownloadError, ImageResult


def names(folder):
    """Return the names of all that is in a folder."""
    return sorted(path.name for path in folder.iterdir())


def at(url, **more):
    """Return a result whose file is at *url*."""
    return ImageResult(urls=(url,), task_id="clx1", **more)


async def error_of(session, result, target, **options):
    """Download something that cannot be had; return why. Nothing may be left."""
    with pytest.raises(DownloadError) as caught:
        await session.download(result, target / "x", **options)
    assert names(target) == []
    assert caught.value.charged is True
    assert caught.value.task_id == result.task_id
    return caught.value
