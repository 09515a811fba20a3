"""The synchronous session takes proxy= and ssl= as the other does."""

from __future__ import annotations

import anyio.to_thread
import pytest
import trustme
from support.raw import PNG
from support.sessions import KEY
from support.tls import trusting
from support.tunnel import API, FILES, LARGE, hidden_api

from apimodels_async import ConfigurationError, sync


async def test_a_proxy_carries_everything(tmp_path):
    """Orders and files go through it, with its credentials and a private CA."""
    authority = trustme.CA()

    def use(tunnel):
        with sync.Session(
            KEY,
            base_url=tunnel.api.base_url,
            proxy=tunnel.url_for("a:canary"),
            ssl=trusting(authority),
        ) as session:
            fox = session.images.generate("a fox")
            session.upload(LARGE)
            return session.download(fox, tmp_path / "fox"), repr(session)

    async with hidden_api(authority, credentials="a:canary") as tunnel:
        path, shown = await anyio.to_thread.run_sync(use, tunnel)

        assert path.read_bytes() == PNG
        assert tunnel.targets == [f"{API}:443", f"{FILES}:443"]
        assert "canary" not in shown


def test_a_bad_proxy_is_refused_at_once():
    """When it is made, not at the first call."""
    with pytest.raises(ConfigurationError, match="aiohttp_socks") as caught:
        sync.Session(KEY, proxy="socks5://a:canary@b:1")

    assert "canary" not in str(caught.value)
