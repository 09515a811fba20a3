"""
How requests leave: by which proxy, and whom they trust. For the API and for files.

Said once, when a session is made; no part of it asks the environment later. Read by a
session that has not opened yet, so nothing here imports aiohttp.

Credentials of a proxy are in one place, ``Proxy.authorization``, and go to the
proxy alone: no text, repr or frame that raises has them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote, urlsplit

from attrs import define, field

from apimodels_async._secret import Secret
from apimodels_async._text import Value, is_loopback
from apimodels_async.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ssl import SSLContext

    from yarl import URL

VARIABLES: Final = frozenset({"https_proxy", "http_proxy", "all_proxy"})
"""In upper case, too."""
PORTS: Final = {"http": 80, "https": 443}
NEEDED: Final = "it must be http://[user:password@]host:port, percent-encoded"
SOCKS: Final = (
    "SOCKS takes a connector of its own: pip install aiohttp-socks, and "
    "http=aiohttp.ClientSession(connector=aiohttp_socks.ProxyConnector.from_url(...))"
)
LENT: Final = "goes to the aiohttp.ClientSession itself, where http= is given"


@define(frozen=True, eq=False, repr=False)
class Proxy(Value):
    """One HTTP proxy."""

    url: str
    """Without credentials."""
    name: str
    """For people: host:port."""
    authorization: Secret | None = None
    """Value of ``Proxy-Authorization``."""

    @property
    def headers(self) -> dict[str, str] | None:
        """What it is told of who asks; None: nothing."""
        if self.authorization is None:
            return None
        return {"Proxy-Authorization": self.authorization.reveal()}


@define(frozen=True, eq=False, repr=False)
class Network(Value):
    """The settings of one session."""

    ssl: SSLContext | None = None
    """None: what aiohttp trusts by itself, the system's and ``SSL_CERT_FILE``."""
    proxies: Mapping[str, Proxy | str] = field(factory=dict[str, "Proxy | str"])
    """Scheme of a request -> what carries it, or why that cannot be used."""
    direct: str | None = None
    """Hosts that are asked without one, as ``NO_PROXY`` names them."""

    def route(self, url: URL) -> Proxy | None:
        """
        Return the proxy on the way to *url*; None: there is none.

        Raises:
            ConfigurationError: The environment's, and it cannot be used.
        """
        found = self.proxies.get(url.scheme)
        host = url.raw_host or ""
        if found is None or is_loopback(host.lower()):
            return None
        if self.direct and _is_direct(host, url.port, self.direct):
            return None
        return _usable(found)


def _usable(found: Proxy | str) -> Proxy:
    if isinstance(found, str):
        raise ConfigurationError(found)
    return found


def _is_direct(host: str, port: int | None, direct: str) -> bool:
    import urllib.request

    # No system's settings, which proxy_bypass() asks for; typeshed does not list it.
    bypasses = vars(urllib.request)["proxy_bypass_environment"]
    without = {"no": direct}
    return any(bypasses(each, without) for each in (host, f"{host}:{port}"))


def resolve_network(proxy: object, ssl: object, http: Any, base_url: str) -> Network:
    """
    Return the settings: those given, those of the lent session, or the environment's.

    Args:
        proxy: As ``Session`` takes it, its text hidden.
        ssl: The same.
        http: The lent ``aiohttp.ClientSession``, if any: its own count, and only they.
        base_url: Of the API; its files come by the same scheme.

    Raises:
        ConfigurationError: One of them is nothing that can be used.
    """
    for name, given in (("proxy", proxy), ("ssl", ssl)):
        if http is not None and given is not None:
            msg = f"{name}= {LENT}"
            raise ConfigurationError(msg)
    if ssl is not None:
        _check_ssl(ssl)
    if http is not None:
        _check_lent_ssl(http)
    network = Network(cast("SSLContext | None", ssl), *_proxies(proxy, http))
    parts = urlsplit(base_url)
    # For the environment's, too: its picture would be paid for and not to be had.
    if parts.scheme in network.proxies and not is_loopback(parts.hostname or ""):
        _usable(network.proxies[parts.scheme])
    return network


def _proxies(proxy: object, http: Any) -> tuple[dict[str, Proxy | str], str | None]:
    if http is not None:
        return _lent(http)
    if proxy is None:
        return _environment()
    if proxy is False:
        return {}, None
    if not isinstance(proxy, Secret):
        msg = f"proxy= takes a URL as text, False or None, not {type(proxy).__name__}"
        raise ConfigurationError(msg)
    return dict.fromkeys(PORTS, _usable(read_proxy(proxy, "proxy="))), None


def _check_ssl(given: object) -> None:
    from ssl import SSLContext

    if not isinstance(given, SSLContext):
        msg = f"ssl= takes an ssl.SSLContext, not {type(given).__name__}"
        raise ConfigurationError(msg)
    if not _verifies(given):
        msg = (
            "ssl= must verify certificates and names, or the key goes to whoever "
            "answers: ssl.create_default_context(cafile=...)"
        )
        raise ConfigurationError(msg)


def _check_lent_ssl(http: Any) -> None:
    from ssl import SSLContext

    # aiohttp has no public name for it. True: its own context, which verifies; a
    # Fingerprint names the one certificate that is taken.
    given: object = getattr(http.connector, "_ssl", True)
    if given is False or (isinstance(given, SSLContext) and not _verifies(given)):
        msg = (
            "the connector of http= must verify certificates and names, or the key "
            "goes to whoever answers: aiohttp.TCPConnector(ssl=ssl."
            "create_default_context(cafile=...))"
        )
        raise ConfigurationError(msg)


def _verifies(context: SSLContext) -> bool:
    """Return whether *context* looks at certificates and names."""
    from ssl import CERT_REQUIRED

    return context.verify_mode is CERT_REQUIRED and context.check_hostname


def _lent(http: Any) -> tuple[dict[str, Proxy | str], str | None]:
    # aiohttp has no public name for either.
    given = getattr(http, "_default_proxy", None)
    auth = getattr(http, "_default_proxy_auth", None)
    if given is None:
        return _environment() if getattr(http, "trust_env", False) else ({}, None)
    hidden, given = Secret(str(given)), None
    found = _usable(read_proxy(hidden, "the proxy of the session given as http="))
    if auth is not None:
        found = Proxy(found.url, found.name, Secret(auth.encode()))
    return dict.fromkeys(PORTS, found), None


def _environment() -> tuple[dict[str, Proxy | str], str | None]:
    if not any(
        value and name.lower() in VARIABLES for name, value in os.environ.items()
    ):
        return {}, None
    # Not before: it brings half of the standard library along.
    from urllib.request import getproxies_environment

    known = {name: Secret(text) for name, text in getproxies_environment().items()}
    proxies: dict[str, Proxy | str] = {}
    for scheme in PORTS:
        name = scheme if scheme in known else "all"
        if name in known:
            proxies[scheme] = read_proxy(known[name], f"{name.upper()}_PROXY")
    direct = known["no"].reveal().strip() if "no" in known else None
    return ({}, None) if direct == "*" else (proxies, direct)


def read_proxy(hidden: Secret, where: str) -> Proxy | str:
    """
    Return the proxy that *hidden* text names, or why it cannot be used.

    Args:
        where: What the text was given as.
    """
    found = _read(hidden.reveal().strip())
    if isinstance(found, Proxy):
        return found
    return f"{where} cannot be used: {found} (proxy=False, or NO_PROXY=*, for none)"


def _read(text: str) -> Proxy | str:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:  # its own words quote the password
        return NEEDED
    if parts.scheme.startswith("socks"):
        return SOCKS
    if parts.scheme not in PORTS:
        return f"it is no HTTP proxy; {NEEDED}"
    plain = text.isascii() and text.isprintable() and " " not in text
    if not host or not plain or parts.path.strip("/") or parts.query or parts.fragment:
        return NEEDED
    user, secret = unquote(parts.username or ""), unquote(parts.password or "")
    if ":" in user:
        return "its user name has a colon in it, which HTTP cannot carry"
    name = f"[{host}]" if ":" in host else host
    name += f":{port or PORTS[parts.scheme]}"
    authorization = None
    if parts.username is not None:
        from base64 import b64encode

        packed = b64encode(f"{user}:{secret}".encode()).decode()
        authorization = Secret(f"Basic {packed}")
    return Proxy(f"{parts.scheme}://{name}", name, authorization)
