"""
Loads input images from a URL, a data URI or base64.

A URL on the emulator's own origin is read from its store. Every other private or
loopback address is refused as the service does, also behind a name or a redirect
(no server-side request forgery). What cannot be loaded is drawn as a labelled
placeholder, unless the emulator is strict.
"""

import asyncio
import base64
import binascii
import ipaddress
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from attrs import define, field
from yarl import URL

from apimodels_async.emulator.pictures.studio import Studio
from apimodels_async.emulator.service.store import Store
from apimodels_async.emulator.service.values import Input, RefusalError

FETCH_S = 5.0  # seconds for one input, name look-up and redirects included
FETCH_BYTES = 20 * 1024 * 1024
CACHED_URLS = 256  # one batch often edits one picture many times
_REDIRECTS = 3

PRIVATE = "private/reserved IP addresses not allowed"
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+=*")


class PrivateAddressError(OSError):
    """A name leads to an address that is not public."""


def is_private(host: str) -> bool:
    """Return whether *host*, a name or a literal address, is known not to be public."""
    bare = host.rstrip(".").lower()
    if bare == "localhost" or bare.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(bare.strip("[]"))
    except ValueError:
        # 127.1 and 2130706433 are loopback too, though no ip_address.
        with suppress(OSError):
            return not ipaddress.ip_address(socket.inet_aton(bare)).is_global
        return False
    return not address.is_global


def is_web_url(value: str) -> bool:
    """Return whether *value* is an http or https URL."""
    return value.lower().startswith(("http://", "https://"))


class PublicResolver(AbstractResolver):
    """Looks names up and refuses those that lead to a private address."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,
    ) -> list[ResolveResult]:
        """Return the addresses of *host*."""
        found = await self._inner.resolve(host, port, family)
        if any(is_private(entry["host"]) for entry in found):
            raise PrivateAddressError(PRIVATE)
        return found

    async def close(self) -> None:
        """Release the resolver inside."""
        await self._inner.close()


@define(eq=False)
class Inputs:
    """Loads the input images of one emulator."""

    store: Store
    studio: Studio
    origin: Callable[[], str]
    strict: bool = False
    resolver: AbstractResolver | None = None
    """Looks up names; by default one that refuses private addresses."""

    fetch_s: float = FETCH_S
    fetch_bytes: int = FETCH_BYTES
    cached_urls: int = CACHED_URLS
    _session: aiohttp.ClientSession | None = None
    _cached: dict[str, Input] = field(factory=dict)

    async def load_all(self, values: Sequence[str]) -> tuple[Input, ...]:
        """
        Return one input for each value, in order.

        Raises:
            RefusalError: 400, a private address, an unreadable value, or with
                `strict` anything that could not be loaded.
        """
        return tuple(await asyncio.gather(*map(self.load, values)))

    async def load(self, value: str) -> Input:
        """Return the input that *value* names or contains."""
        if not is_web_url(value):
            return await self.from_bytes(_decode_inline(value), "inline image")
        if value.startswith(f"{self.origin()}/files/"):
            path = URL(value).raw_path.removeprefix("/files/")
            return await self.from_bytes(await self.store.read(path), path[-40:])
        if value not in self._cached:
            found = await self.from_bytes(await self._fetch(value), value[:60])
            if len(self._cached) >= self.cached_urls:
                del self._cached[next(iter(self._cached))]
            self._cached[value] = found
        return self._cached[value]

    async def from_bytes(self, data: bytes | None, label: str) -> Input:
        """Return an input made of *data*, a placeholder when that is no image."""
        prepared = None if data is None else await self.studio.prepare(data)
        if prepared is None and self.strict:
            reason = "could not be fetched" if data is None else "is not an image"
            raise RefusalError(400, f"input image {label} {reason}")
        return Input(label) if prepared is None else Input(label, *prepared)

    async def aclose(self) -> None:
        """Close the connections to hosts of input images."""
        if self._session is not None:
            await self._session.close()
        self._session = None

    async def _fetch(self, value: str) -> bytes | None:
        try:
            async with asyncio.timeout(self.fetch_s):
                return await self._follow(URL(value))
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            if isinstance(getattr(error, "os_error", None), PrivateAddressError):
                raise RefusalError(400, PRIVATE) from error
            return None

    async def _follow(self, url: URL) -> bytes | None:
        for _ in range(_REDIRECTS + 1):
            if url.host is None or is_private(url.host):
                raise RefusalError(400, PRIVATE)
            async with self._client().get(url, allow_redirects=False) as reply:
                if reply.status == HTTPStatus.OK:
                    return await self._read(reply.content)
                if "Location" not in reply.headers:
                    return None
                url = url.join(URL(reply.headers["Location"]))
        return None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = self.resolver or PublicResolver()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=resolver, limit=16),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def _read(self, stream: aiohttp.StreamReader) -> bytes | None:
        data = bytearray()
        async for chunk in stream.iter_any():
            data += chunk
            if len(data) > self.fetch_bytes:
                return None
        return bytes(data)


def _decode_inline(value: str) -> bytes:
    """Return the bytes of a data URI or of bare base64."""
    text = value
    if value.lower().startswith("data:"):
        head, comma, text = value.partition(",")
        if comma and not head.lower().endswith(";base64"):
            return unquote_to_bytes(text)
    compact = "".join(text.split())
    if not _BASE64.fullmatch(compact):
        msg = f"not an image URL, data URI or base64 string: {value[:40]!r}"
        raise RefusalError(400, msg)
    compact = compact.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(compact + "=" * (-len(compact) % 4))
    except binascii.Error as error:
        raise RefusalError(400, f"input image is not base64: {error}") from error
