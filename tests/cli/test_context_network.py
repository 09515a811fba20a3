"""The program behind a proxy with a private CA, as a process of its own."""

from __future__ import annotations

import asyncio
import os

import pytest
import trustme
from support.raw import PNG
from support.sessions import KEY
from support.tunnel import API, FILES, hidden_api

EVERYTHING = [f"{API}:443", f"{FILES}:443"]


@pytest.fixture
def private(tmp_path):
    """Return a certificate authority, and the environment of a program behind it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority, {
        **os.environ,
        "APIMODELS_API_KEY": KEY,
        "APIMODELS_BASE_URL": f"https://{API}/api/v1",
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
    }


async def ended(process):
    """Return the exit code of a program, its stdout and its stderr."""
    out, err = await asyncio.to_thread(process.communicate, timeout=40)
    return process.returncode, out, err


async def test_the_environment_leads_through_a_proxy(program, private, folder):
    """HTTPS_PROXY and SSL_CERT_FILE are enough for orders and their pictures."""
    authority, env = private
    async with hidden_api(authority, credentials="a:canary") as tunnel:
        env["HTTPS_PROXY"] = tunnel.url_for("a:canary")
        code, _, err = await ended(
            program("generate", "a fox", "--out", "fox", env=env)
        )
        assert code == 0, err
        (folder / "rows.txt").write_text("a moose\n")
        code, _, err = await ended(
            program("batch", "rows.txt", "--out", "all", "--yes", env=env)
        )
        assert code == 0, err

        assert tunnel.targets == EVERYTHING
        assert (folder / "fox.png").read_bytes() == PNG
        assert len(list((folder / "all").rglob("*.png"))) == 1


async def test_an_option_names_the_proxy_or_none(program, private, folder):
    """--proxy goes before the environment, and "none" leads around it."""
    authority, env = private
    async with hidden_api(authority) as tunnel:
        env["HTTPS_PROXY"] = "http://127.0.0.1:1"
        done = await ended(program("balance", "--proxy", tunnel.url, env=env))
        assert done[0] == 0, done
        assert tunnel.targets == [f"{API}:443"]
        code, _, err = await ended(program("balance", "--proxy", "none", env=env))
        assert code == 1
        assert f"{API} does not resolve" in err
        code, _, err = await ended(
            program("balance", "--proxy", "socks5://a:canary@b:1", env=env)
        )
        assert code == 2
        assert "aiohttp_socks" in err
        assert "canary" not in err

        assert len(tunnel.asked) == 1
