"""What a failed connection is told as: which host, and what failed."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl

import aiohttp
import pytest
import trustme
from support.cases import check_all_at_once
from support.downloads import at
from support.raw import RawServer
from support.tls import certificate, trusting

from apimodels_async import (
    ConnectionFailedError,
    DownloadError,
    RetryPolicy,
    TransportError,
)
from apimodels_async._io.http.failures import is_passing, reason_of
from apimodels_async._io.http.network import Proxy

PAST = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
AHEAD = dt.datetime.now(dt.UTC) + dt.timedelta(days=30)
BAD = {
    "untrusted": "the certificate of localhost is not trusted (unable to get local "
    "issuer certificate); a private CA: pass ssl= or set SSL_CERT_FILE",
    "other name": "the certificate of localhost is for other names (Hostname mismatch",
    "expired": "the certificate of localhost has expired",
    "not yet": "the certificate of localhost is not valid yet, by this machine's clock",
}


CALLS = (
    lambda session, _result, _folder: session.balance(),
    lambda session, result, folder: session.download(result, folder),
)


def served(authority, what):
    """Return the TLS settings of a server whose certificate is bad in this way."""
    if what == "untrusted":
        return certificate(trustme.CA())
    if what == "other name":
        return certificate(authority, "elsewhere.example")
    dates = {"not_after": PAST} if what == "expired" else {"not_before": AHEAD}
    return certificate(authority, **dates)


async def test_a_bad_certificate_is_told_in_words(connect, tmp_path, authority):
    """What is wrong with whose, for the API and for files alike; once, no number."""

    async def check(what):
        async with RawServer(ssl=served(authority, what)) as server:
            url = server.base_url.replace("127.0.0.1", "localhost")
            session = connect(server, base_url=url, ssl=trusting(authority))
            with pytest.raises(ConnectionFailedError) as order:
                await session.images.generate("a fox")
            with pytest.raises(DownloadError) as file:
                await session.download(at(f"{url}/x"), tmp_path)
            for error in (order.value, file.value):
                assert BAD[what] in str(error)
                assert "tries" not in str(error)
            await session.aclose()

    await check_all_at_once(BAD, check)


async def test_a_file_of_certificates_that_is_missing_is_told(
    connect, monkeypatch, tmp_path
):
    """Nothing else says so: OpenSSL goes on without it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    async with RawServer(ssl=certificate(trustme.CA(), "127.0.0.1")) as server:
        session = connect(server)
        with pytest.raises(ConnectionFailedError, match="SSL_CERT_FILE names no file"):
            await session.balance()


async def test_other_faults_of_tls_are_no_faults_of_the_system(
    connect, tmp_path, authority
):
    """OpenSSL's reason is told, not the system's word for its number."""
    picky = certificate(authority)
    picky.verify_mode = ssl.CERT_REQUIRED
    picky.maximum_version = ssl.TLSVersion.TLSv1_2  # 1.3 tells after the handshake

    def quiet(_loop, _context):
        """The server's own complaints."""

    asyncio.get_running_loop().set_exception_handler(quiet)

    async def mumble(peer):
        await peer.say(b"HTTP/1.1 400 no TLS here\r\n\r\n")
        return True

    once = RetryPolicy(attempts=1)
    async with RawServer(greet=mumble) as plain, RawServer(ssl=picky) as strict:
        for server, words in (
            (plain, "TLS with localhost failed (wrong version number)"),
            (strict, "localhost"),  # its last words may not arrive
        ):
            url = server.base_url.replace("127.0.0.1", "localhost")
            url = url.replace("http:", "https:")
            session = connect(server, base_url=url, ssl=trusting(authority), retry=once)
            for call in CALLS:
                with pytest.raises((TransportError, DownloadError)) as caught:
                    await call(session, at(url), tmp_path)
                assert "Operation not permitted" not in str(caught.value)
                assert words in str(caught.value)
            await session.aclose()


def test_a_fault_of_tls_in_mid_connection_is_one():
    """What OpenSSL says once a connection stands is not the system's number 1."""
    error = aiohttp.ClientOSError(1, "[SSL] what aiohttp raises for it")
    error.__cause__ = ssl.SSLError(1, "what it was")

    assert reason_of(error) == "TLS failed (no reason given)"


def test_a_fingerprint_that_differs_is_told():
    """A lent connector may expect one certificate; another is not tried again."""
    error = aiohttp.ServerFingerprintMismatch(b"a", b"b", "files.example", 443)

    words = "the certificate of files.example is not the one expected"
    assert reason_of(error) == words
    assert not is_passing(error)


async def test_a_host_that_does_not_resolve_is_named(connect, tmp_path):
    """API and files alike."""
    async with RawServer() as server:
        url = "https://nowhere.invalid/api/v1"
        session = connect(server, base_url=url, retry=RetryPolicy(attempts=1))
        for call in CALLS:
            with pytest.raises((TransportError, DownloadError)) as caught:
                await call(session, at(url), tmp_path)
            assert "nowhere.invalid does not resolve" in str(caught.value)


def test_a_connection_that_broke_names_the_proxy_on_its_way():
    """It may have been the proxy's doing."""
    proxy = Proxy("http://127.0.0.1:3128", "127.0.0.1:3128")
    words = reason_of(aiohttp.ServerDisconnectedError(), proxy)

    assert words == "ServerDisconnectedError, through the proxy 127.0.0.1:3128"
