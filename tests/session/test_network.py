"""Proxy and certificates: what is set reaches the API's requests and files alike."""

from __future__ import annotations

import base64

import aiohttp
import pytest
import trustme
from soak.campaign import error_texts, listening
from soak.checker import leaks
from support.raw import PNG, RawServer, by_method, envelope, respond
from support.sessions import KEY
from support.tls import certificate, trusting
from support.tunnel import API, FILES, LARGE, Tunnel, hidden_api

from apimodels_async import (
    ConfigurationError,
    ConnectionFailedError,
    DownloadError,
    ImageResult,
    RetryPolicy,
    Session,
    TransportError,
)

ONCE = RetryPolicy(attempts=1)
EVERYTHING = [f"{API}:443", f"{FILES}:443"]
USER, PASSWORD = "canary-user", "canary pass/word:@é"
CREDENTIALS = f"{USER}:{PASSWORD}"
PACKED = base64.b64encode(USER.encode()).decode()[:10]
ESCAPED = "canary-user:canary%20pass%2Fword%3A%40%C3%A9"


@pytest.fixture(scope="module")
def authority():
    """Return a certificate authority that nobody trusts by himself."""
    return trustme.CA()


@pytest.fixture
def netrc(tmp_path):
    """Write credentials for every host to the place where some libraries look."""
    names = (API, FILES, "127.0.0.1", "default")
    lines = [
        f"machine {name} login netrc-canary password netrc-canary" for name in names
    ]
    (tmp_path / ".netrc").write_text("\n".join(lines))
    (tmp_path / ".netrc").chmod(0o600)


async def use(session, folder):
    """Do all that goes over a network: small calls, orders, files both ways."""
    await session.balance()
    fox = await session.images.generate("a fox")
    assert (await session.download(fox, folder / "fox")).read_bytes() == PNG
    async with session.images.batch(
        ["a moose"], model="gpt-image-2", download_to=folder
    ) as outcomes:
        async for outcome in outcomes:
            assert outcome.path.read_bytes() == PNG
    assert await session.upload(LARGE) == f"https://{FILES}/in.png"
    await session.upload(PNG)  # as a form


def check_secrets(tunnel, credentials):
    """Hold that nobody got what is another's."""
    for server in (tunnel.api, tunnel.files):
        assert server.received
        for request in server.received:
            assert b"proxy-authorization" not in request.head.lower()
            assert (KEY.encode() in request.head) is (server is tunnel.api)
            assert b"netrc-canary" not in request.head
    for head in tunnel.asked:
        assert KEY.encode() not in head
        assert (b"Proxy-Authorization: Basic " in head) is bool(credentials)


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("credentials", [None, CREDENTIALS], ids=["open", "closed"])
async def test_a_proxy_carries_everything(connect, tmp_path, authority, credentials):
    """Orders, polls, uploads and downloads go through it; nobody gets more than his."""
    async with hidden_api(authority, credentials=credentials) as tunnel:
        proxy = tunnel.url_for(ESCAPED) if credentials else tunnel.url
        session = connect(tunnel.api, proxy=proxy, ssl=trusting(authority))
        await use(session, tmp_path)
        await session.aclose()

        assert tunnel.targets == EVERYTHING
        check_secrets(tunnel, credentials)


async def test_a_proxy_may_be_reached_by_tls(connect, tmp_path, authority):
    """The way to the proxy itself may be encrypted, too."""
    guard = certificate(authority, "127.0.0.1")
    async with hidden_api(authority, ssl=guard, credentials="a:b") as tunnel:
        proxy = tunnel.url_for("a:b")
        session = connect(tunnel.api, proxy=proxy, ssl=trusting(authority))
        await use(session, tmp_path)
        await session.aclose()

        assert tunnel.targets == EVERYTHING


@pytest.mark.usefixtures("netrc")
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
async def test_the_environment_names_the_proxy(
    connect, tmp_path, authority, monkeypatch, name
):
    """Without proxy= the usual variables count, in upper and lower case."""
    async with hidden_api(authority, credentials=CREDENTIALS) as tunnel:
        monkeypatch.setenv(name, tunnel.url_for(ESCAPED))
        session = connect(tunnel.api, ssl=trusting(authority))
        await use(session, tmp_path)
        await session.aclose()

        assert tunnel.targets == EVERYTHING
        check_secrets(tunnel, CREDENTIALS)


async def test_no_proxy_and_false_lead_around_the_environment(
    connect, authority, monkeypatch
):
    """A host in NO_PROXY is asked directly, and with proxy=False every one is."""
    async with hidden_api(authority) as tunnel:
        monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
        for options, excluded in (
            ({"proxy": False}, ""),
            ({}, API),
            ({}, ".test"),
            ({}, "*"),
        ):
            monkeypatch.setenv("NO_PROXY", excluded)
            session = connect(tunnel.api, retry=ONCE, **options)
            with pytest.raises(ConnectionFailedError, match=f"{API} does not resolve"):
                await session.balance()
        assert tunnel.asked == []
        monkeypatch.setenv("NO_PROXY", "files.test,other.test")
        session = connect(tunnel.api, ssl=trusting(authority))
        await session.balance()
        with pytest.raises(DownloadError, match=f"{FILES} does not resolve"):
            await session.download(at(f"https://{FILES}/x"), "x")

        assert tunnel.targets == [f"{API}:443"]


def at(url):
    """Return a result whose file is there."""
    return ImageResult(urls=(url,))


async def test_this_machine_is_never_proxied(emulator, connect, tmp_path, monkeypatch):
    """An API on loopback is asked directly, whatever is set."""
    async with Tunnel({}) as tunnel:
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
        for options in ({"proxy": tunnel.url}, {}):
            session = connect(emulator, **options)
            fox = await session.images.generate("a fox")
            await session.download(fox, tmp_path)

        assert tunnel.asked == []


async def test_a_plain_file_goes_by_a_whole_address(connect, tmp_path):
    """A file by plain http, as a local API may have one, is asked of the proxy."""
    async with (
        RawServer(respond(PNG)) as server,
        Tunnel({FILES: server}, credentials="a:b") as tunnel,
    ):
        session = connect(server, proxy=tunnel.url_for("a:b"))
        path = await session.download(at(f"http://{FILES}/x%27?y=%2F"), tmp_path / "x")

        assert path.read_bytes() == PNG
        assert tunnel.targets == [f"http://{FILES}/x%27?y=%2F"]


# --- what goes wrong, and what is said ---------------------------------------------


CALLS = {
    "order": lambda session, _: session.images.generate("a fox"),
    "poll": lambda session, _: session.balance(),
    "form": lambda session, _: session.upload(PNG),
    "file": lambda session, folder: session.download(at(f"https://{FILES}/x"), folder),
}


async def errors_of(session, folder):
    """Return the error of each kind of request, by its name."""
    found = {}
    for name, call in CALLS.items():
        with pytest.raises((TransportError, DownloadError)) as caught:
            await call(session, folder)
        found[name] = caught.value
    return found


@pytest.mark.parametrize(("status", "tries"), [(407, 1), (403, 1), (502, 2)])
async def test_a_proxy_that_refuses_is_named(
    connect, tmp_path, authority, status, tries
):
    """Its address and what it said, never the credentials; 5xx is tried again."""
    refusal = None if status == 407 else status
    options = {"credentials": "other:one", "refusal": refusal}
    with listening() as logged:
        async with hidden_api(authority, **options) as tunnel:
            session = connect(
                tunnel.api, proxy=tunnel.url_for(ESCAPED), retry=RetryPolicy(2, 0.01)
            )
            errors = await errors_of(session, tmp_path)
            shown = [repr(session), repr(session._runtime.options)]
            await session.aclose()

            assert len(tunnel.asked) == tries * len(errors)
            assert tunnel.api.received == tunnel.files.received == []
    for error in errors.values():
        assert f"the proxy {tunnel.name} answered {status} to CONNECT" in str(error)
        assert isinstance(error, DownloadError) or error.charged is False
        shown += error_texts(error, local=True)
    assert leaks([*shown, *logged], USER, PACKED, "canary", KEY) == []


async def test_a_proxy_that_is_not_there_is_named(connect, tmp_path, authority):
    """A proxy that cannot be reached, or whose name does not resolve, is named."""
    async with hidden_api(authority) as tunnel:
        pass
    session = connect(tunnel.api, proxy=tunnel.url, retry=ONCE)
    for error in (await errors_of(session, tmp_path)).values():
        words = f"the proxy {tunnel.name} cannot be reached (Connection refused"
        assert words in str(error)
    session = connect(tunnel.api, proxy="http://nowhere.invalid:3128", retry=ONCE)
    for error in (await errors_of(session, tmp_path)).values():
        assert "the proxy's name nowhere.invalid does not resolve" in str(error)


async def test_a_certificate_nobody_trusts_is_told_in_words(
    connect, tmp_path, authority
):
    """Which host, why, and what to do about it; through a proxy as without, one try."""
    async with hidden_api(authority) as tunnel:
        session = connect(tunnel.api, proxy=tunnel.url)
        errors = await errors_of(session, tmp_path)
        await session.aclose()

        for name, error in errors.items():
            host = FILES if name == "file" else API
            assert f"the certificate of {host} is not trusted (" in str(error)
            assert "a private CA: pass ssl= or set SSL_CERT_FILE" in str(error)
        assert len(tunnel.asked) == len(errors)


# --- a lent session ----------------------------------------------------------------


async def test_a_lent_session_with_a_proxy_carries_everything(
    connect, tmp_path, authority, netrc
):
    """Its proxy and certificates serve the API and files alike, and it stays open."""
    seen = []
    trace = aiohttp.TraceConfig()

    async def note(_session, _context, params):
        seen.append((params.method, params.url.host))

    trace.on_request_start.append(note)
    async with (
        hidden_api(authority, credentials=CREDENTIALS) as tunnel,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trusting(authority)),
            proxy=tunnel.url_for(ESCAPED),
            trace_configs=[trace],
            headers={"Authorization": "Basic mine"},
        ) as http,
    ):
        session = connect(tunnel.api, http=http)
        await use(session, tmp_path)
        await session.aclose()

        assert tunnel.targets == EVERYTHING
        check_secrets(tunnel, CREDENTIALS)
        assert {("POST", API), ("GET", API), ("GET", FILES), ("PUT", FILES)} == set(
            seen
        )
        assert not http.closed
        assert not http.connector.closed


@pytest.mark.parametrize("trusts", [True, False])
async def test_a_lent_session_reads_the_environment_if_it_is_told_to(
    connect, tmp_path, authority, monkeypatch, trusts, netrc
):
    """With trust_env the variables count, .netrc still not; without they do not."""
    connector = aiohttp.TCPConnector(ssl=trusting(authority))
    async with (
        hidden_api(authority) as tunnel,
        aiohttp.ClientSession(connector=connector, trust_env=trusts) as http,
    ):
        monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
        session = connect(tunnel.api, http=http, retry=ONCE)
        if trusts:
            await use(session, tmp_path)
            check_secrets(tunnel, None)
        else:
            await errors_of(session, tmp_path)
        await session.aclose()

        assert tunnel.targets == (EVERYTHING if trusts else [])


async def test_a_lent_session_with_a_private_ca_brings_files(
    connect, tmp_path, authority
):
    """The connector's certificates count for the picture as for its order."""
    async with RawServer(ssl=certificate(authority, "localhost")) as server:
        origin = server.origin.replace("127.0.0.1", "localhost")
        answers = by_method(
            POST=respond(envelope({"url": f"{origin}/x.png", "credits": 0.01})),
            GET=respond(PNG),
        )
        server.answer, server.base_url = answers, f"{origin}/api/v1"
        connector = aiohttp.TCPConnector(ssl=trusting(authority))
        async with aiohttp.ClientSession(connector=connector) as http:
            session = connect(server, http=http)
            fox = await session.images.generate("a fox")
            path = await session.download(fox, tmp_path / "fox")
            await session.aclose()

            assert path.read_bytes() == PNG
            assert not http.connector.closed


async def test_a_small_lent_pool_is_enough(emulator, connect, tmp_path):
    """Orders, polls and files share two connections, and none of them starves."""
    connector = aiohttp.TCPConnector(limit=2)
    async with aiohttp.ClientSession(connector=connector) as http:
        session = connect(emulator, http=http)
        async with session.images.batch(
            [f"fox {n}" for n in range(12)], model="gpt-image-2", download_to=tmp_path
        ) as outcomes:
            ended = [outcome async for outcome in outcomes]
        await session.aclose()

    assert all(outcome.path for outcome in ended)
    assert emulator.peak_connections <= 2


# --- what is refused ---------------------------------------------------------------


REFUSED = {
    "socks5://user:canary@127.0.0.1:1080": "aiohttp_socks",
    "socks5h://127.0.0.1:1080": "aiohttp_socks",
    "ftp://127.0.0.1:1": "no HTTP proxy",
    "http://": "http://[user:password@]host:port",
    "": "http://[user:password@]host:port",
    "http://user:canary#1@host:1": "percent-encoded",
    "http://user:canary/1@host:1": "percent-encoded",
    "http://host:70000": "percent-encoded",
    "http://ho st:1": "percent-encoded",
    "http://host:1/path": "percent-encoded",
    "http://canary%3Ab:c@host:1": "colon",
    True: "not bool",
    5: "not int",
    b"http://canary@a:1": "not bytes",
}


@pytest.mark.parametrize("given", REFUSED)
def test_a_proxy_that_cannot_be_one_is_refused_at_once(given, monkeypatch):
    """What is wrong is said when the session is made, without the text given."""
    with pytest.raises(ConfigurationError, match="proxy") as caught:
        Session(KEY, proxy=given)

    assert REFUSED[given] in str(caught.value)
    if not isinstance(given, str):
        return
    assert leaks(error_texts(caught.value, local=True)[:1], "canary") == []
    if given:
        monkeypatch.setenv("all_proxy", given)
        with pytest.raises(ConfigurationError, match="ALL_PROXY") as caught:
            Session(KEY)
        assert leaks([str(caught.value)], "canary") == []
        Session(KEY, base_url="http://127.0.0.1:1/api/v1")  # no way is through it
        Session(KEY, proxy=False)
        monkeypatch.setenv("https_proxy", "127.0.0.1:1")  # as curl takes it
        Session(KEY)


async def test_a_lent_sessions_settings_are_its_own():
    """proxy= and ssl= are refused beside http=: they belong to what is lent."""
    async with aiohttp.ClientSession() as http:
        for options in ({"proxy": False}, {"proxy": "http://a:1"}, {"ssl": object()}):
            with pytest.raises(ConfigurationError, match="goes to the aiohttp"):
                Session(KEY, http=http, **options)
    async with aiohttp.ClientSession(proxy="socks5://a:canary@b:1") as http:
        with pytest.raises(ConfigurationError, match="aiohttp_socks") as caught:
            Session(KEY, http=http)
    assert "canary" not in str(caught.value)
