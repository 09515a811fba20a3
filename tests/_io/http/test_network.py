"""Which proxy leads where, decided from what is set."""

from __future__ import annotations

import subprocess
import sys

import aiohttp
import pytest
from yarl import URL

from apimodels_async import ConfigurationError
from apimodels_async._io.http.network import Network, resolve_network
from apimodels_async._secret import hidden

API = "https://api.example/api/v1"


def settle(proxy=None, http=None, base_url=API):
    """Return what is settled for a session."""
    return resolve_network(hidden(proxy), None, http, base_url)


def route(network, url):
    """Return the address of the proxy on the way to *url*, or None."""
    found = network.route(URL(url))
    return found and found.url


@pytest.mark.parametrize(
    ("given", "url", "name"),
    [
        ("http://127.0.0.1:3128", "http://127.0.0.1:3128", "127.0.0.1:3128"),
        ("HTTP://Proxy.Example:3128/", "http://proxy.example:3128", None),
        ("http://proxy.example", "http://proxy.example:80", "proxy.example:80"),
        ("https://proxy.example", "https://proxy.example:443", "proxy.example:443"),
        ("proxy.example:3128", "http://proxy.example:3128", "proxy.example:3128"),
        ("http://[2a00::1]:3128", "http://[2a00::1]:3128", "[2a00::1]:3128"),
        (" http://a:b@proxy.example:1 ", "http://proxy.example:1", "proxy.example:1"),
    ],
)
def test_a_proxy_is_read_as_it_is_written_elsewhere(given, url, name):
    """With and without scheme and port; what is shown has no credentials."""
    found = settle(given).route(URL(API))

    assert found.url == url
    assert found.name == (name or "proxy.example:3128")
    assert "a:b" not in repr(found)


@pytest.mark.parametrize(
    ("credentials", "header"),
    [
        ("user:pass", "Basic dXNlcjpwYXNz"),
        ("user", "Basic dXNlcjo="),
        ("u%3Fs%40r:p%2Fa%3Ass", "Basic dT9zQHI6cC9hOnNz"),
        ("%C3%BCser:p", "Basic w7xzZXI6cA=="),
    ],
)
def test_credentials_are_decoded(credentials, header):
    """Percent-escapes stand for bytes of UTF-8."""
    found = settle(f"http://{credentials}@proxy.example:1").route(URL(API))

    assert found.headers == {"Proxy-Authorization": header}
    assert settle("http://proxy.example:1").route(URL(API)).headers is None


def test_the_environment_names_a_proxy_for_each_scheme(monkeypatch):
    """A scheme's own goes before ALL_PROXY, lower case before upper."""
    assert settle() == Network()
    monkeypatch.setenv("ALL_PROXY", "http://all.example:1")
    assert route(settle(), API) == "http://all.example:1"
    monkeypatch.setenv("HTTPS_PROXY", "http://upper.example:1")
    assert route(settle(), API) == "http://upper.example:1"
    monkeypatch.setenv("https_proxy", "http://lower.example:1")
    assert route(settle(), API) == "http://lower.example:1"
    assert route(settle(), "http://files.example/") == "http://all.example:1"
    assert route(settle("http://given.example:1"), API) == "http://given.example:1"
    assert settle(proxy=False) == Network()


def test_a_proxy_that_is_not_needed_is_no_trouble(monkeypatch):
    """ALL_PROXY may be SOCKS where the scheme has its own; used, it is told."""
    monkeypatch.setenv("ALL_PROXY", "socks5://a.example:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://b.example:1")
    network = settle()

    assert route(network, API) == "http://b.example:1"
    with pytest.raises(ConfigurationError, match="aiohttp_socks"):
        network.route(URL("http://files.example/"))
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv("NO_PROXY", "*")
    assert route(settle(), API) is None


def test_no_proxy_names_hosts_by_their_end(monkeypatch):
    """Names, domains, addresses and ports, as the standard library reads them."""
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:1")
    monkeypatch.setenv("NO_PROXY", ".inner.example, 1.1.1.1,one.example:8443")
    network = settle()
    direct = ("a.inner.example", "1.1.1.1", "one.example:8443", "localhost", "[::1]")
    for host in (*direct, "127.0.0.1:1", "LOCALHOST"):
        assert route(network, f"https://{host}/x") is None, host
    for host in ("inner.example.org", "1.1.1.2", "one.example", "api.example"):
        assert route(network, f"https://{host}/x") is not None, host


async def test_a_lent_sessions_proxy_may_have_its_credentials_apart():
    """What aiohttp takes as proxy_auth= is told to the proxy, too."""
    with pytest.warns(DeprecationWarning, match="BasicAuth"):
        auth = aiohttp.BasicAuth("user", "pass")
    with pytest.warns(DeprecationWarning, match="proxy_auth"):
        http = aiohttp.ClientSession(proxy=URL("http://p.example:1"), proxy_auth=auth)
    async with http:
        found = settle(http=http).route(URL(API))

    assert found.url == "http://p.example:1"
    assert found.headers == {"Proxy-Authorization": "Basic dXNlcjpwYXNz"}


def test_without_a_proxy_nothing_is_imported_for_one():
    """A session loads neither aiohttp nor urllib.request before it opens."""
    heavy = "aiohttp", "yarl", "urllib.request"
    code = (
        "import sys; from apimodels_async import Session; "
        "Session('sk_x', proxy='http://a:b@c.example:1'); "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
