"""Pictures in Google's and Azure's object storage, as far as both are on loopback."""

from __future__ import annotations

import pytest
from support.clouds import SECRET, serve_cloud
from support.downloads import at
from support.raw import PNG, RawServer, in_turn, respond

from apimodels_async import ConfigurationError, DownloadError

pytestmark = pytest.mark.usefixtures("object_storage")
OTHER = PNG + b"other"


@pytest.fixture
def cloud(monkeypatch):
    """Serve both, and let the environment lead there."""
    with serve_cloud() as cloud:
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        yield cloud


@pytest.mark.parametrize("scheme", ["gs", "az"])
async def test_a_picture_goes_there(cloud, connect, scheme):
    """It has its type, equal again is the same, another one is numbered or refused."""
    target, answers = f"{scheme}://pics/東京/ein Fuchs", (PNG, PNG, OTHER, PNG)
    async with RawServer(in_turn(*map(respond, answers))) as server:
        session, file = connect(server), at(f"{server.origin}/x")
        urls = [await session.download(file, target) for _ in range(3)]
        cloud.closed = True
        with pytest.raises(DownloadError, match="access is denied") as caught:
            await session.download(file, target)

    assert urls == [f"{target}.png", f"{target}.png", f"{target}-2.png"]
    assert cloud.inside("pics") == {
        "東京/ein Fuchs.png": (PNG, "image/png"),
        "東京/ein Fuchs-2.png": (OTHER, "image/png"),
    }
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize("scheme", ["gs", "az"])
async def test_a_batch_fills_it_and_finds_it_again(
    cloud, emulator, connect, scheme, tmp_path
):
    """It is tried before anything is ordered, and nothing but pictures is left."""

    async def run():
        session = connect(emulator)
        async with session.images.batch(
            ["a red fox", "a moose"],
            journal=tmp_path / "j.sqlite",
            download_to=f"{scheme}://pics/deck",
        ) as outcomes:
            return sorted([outcome.path async for outcome in outcomes])

    cloud.closed = True
    with pytest.raises(ConfigurationError, match="access is denied"):
        await run()
    cloud.closed = False
    assert not emulator.requests
    first, again = await run(), await run()

    assert first == again
    assert len(emulator.generations) == 2
    names = [path.removeprefix(f"{scheme}://pics/") for path in first]
    assert sorted(cloud.inside("pics")) == names
