"""Pillow is asked for where it is needed, before anything is sent."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_PILLOW = """
import asyncio, sys
sys.modules["PIL"] = None  # as if it were not installed
from apimodels_async import ConfigurationError, ImageResult, Session

async def main():
    result = ImageResult(urls=("https://a.b/c.png",))
    async with Session("sk_x", base_url="http://127.0.0.1:9/v1") as session:
        try:
            await session.download(result, "x", embed=True)
        except ConfigurationError as error:
            print(error)
        try:
            session.images.batch(["a fox"], download_to=".", embed=True)
        except ConfigurationError as error:
            print(error)

asyncio.run(main())
"""


def test_embedding_needs_pillow(tmp_path):
    """Without it the error says what to install, and nothing is sent or written."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", WITHOUT_PILLOW],
        check=True,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    told = done.stdout.splitlines()

    assert len(told) == 2
    assert all("apimodels-async[metadata]" in line for line in told)
    assert all("sidecar=True" in line for line in told)
    assert list(tmp_path.iterdir()) == []
