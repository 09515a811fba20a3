"""Hosts that the API names: judged by where they lead, whoever resolves them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver
from support.raw import PNG, RawServer, message, raw, respond
from support.tls import certificate
from support.tunnel import FILES, Tunnel
from yarl import URL

from apimodels_async._io.http.hosts import ForbiddenAddressError, Hosts, trouble_of
from apimodels_async._io.http.network import resolve_network
from apimodels_async._secret import hidden

API = "https://api.example/api/v1"


class Resolver(AbstractResolver):
    """Leads every name to one address."""

    def __init__(self, address="127.0.0.1"):
        self.address = address

    async def resolve(self, host, port=0, family=socket.AF_INET):
        """Return the address."""
        return [
            {
                "hostname": host,
                "host": self.address,
                "port": port,
                "family": socket.AF_INET,
                "proto": 0,
                "flags": 0,
            }
        ]

    async def close(self):
        """Hold nothing."""


class Elsewhere(aiohttp.TCPConnector):
    """Connects in a way of its own, as that of aiohttp_socks does."""

    async def _wrap_create_connection(self, *args, **options):
        return await super()._wrap_create_connection(*args, **options)


@contextlib.asynccontextmanager
async def hosts(lent=None, *, loopback=False, proxy=None):
    """Yield the way of a session to hosts."""
    network = resolve_network(hidden(proxy), None, lent, API)
    made = Hosts(network, loopback=loopback, lent=lent)
    yield made
    await made.aclose()


async def get(way, url):
    """Return the body of an answer."""
    async with way.ask("GET", URL(url), {}, connect=5, read=5) as response:
        return await response.read()


def lending(connector=None):
    """Return a session to lend, whose names all lead to this machine."""
    connector = connector or aiohttp.TCPConnector(resolver=Resolver())
    return aiohttp.ClientSession(connector=connector)


async def test_what_nobody_asked_for_is_no_file():
    """Bytes behind a file, or its end, are not the beginning of the next one."""
    peers = []

    async def answer(_request, peer):
        peers.append(peer)
        await peer.say(message(b"file %d" % len(peers)))

    async with RawServer(answer) as server, hosts(loopback=True) as way:
        assert await get(way, server.origin) == b"file 1"
        # Nobody has heard of it when the next request is written.
        peers[0].writer.write(message(b"stray"))
        assert await get(way, server.origin) == b"file 2"
        assert server.connections == 2


async def test_junk_behind_a_large_file_is_no_trouble_at_the_end(authority):
    """aiohttp closes such a connection twice, and then cannot close the pool."""
    large = PNG + bytes(1 << 19)
    files = RawServer(raw(message(large) + b"junk"), ssl=certificate(authority, FILES))
    async with files, Tunnel({FILES: files}) as tunnel:
        trusted = ssl.create_default_context()
        authority.configure_trust(trusted)
        network = resolve_network(hidden(tunnel.url), trusted, None, API)
        way = Hosts(network, loopback=False, lent=None)
        assert await get(way, f"https://{FILES}/a.png") == large
        await way.aclose()


async def test_a_lent_connection_to_this_machine_gets_no_byte():
    """Where a lent connector leads is looked at before anything is sent there."""
    async with RawServer(respond(PNG)) as server, lending() as http:
        url = f"http://{FILES}:{server.origin.rpartition(':')[2]}/x"
        async with hosts(http) as way:
            with pytest.raises(OSError) as got:  # noqa: PT011  aiohttp's own
                await get(way, url)
            with pytest.raises(OSError) as put:  # noqa: PT011
                async with way.ask("PUT", URL(url), {}, connect=5, data=PNG):
                    pass
            for caught in (got, put):
                words, passing = trouble_of(caught.value, None)
                assert "private or reserved (127.0.0.1)" in words
                assert not passing
        async with hosts(http, loopback=True) as way:
            assert await get(way, url) == PNG

        assert [request.method for request in server.received] == ["GET"]
        assert not http.closed


async def test_a_connector_that_connects_elsewhere_is_trusted_with_names():
    """Behind SOCKS the other end is the proxy: names are its, addresses are judged."""
    connector = Elsewhere(resolver=Resolver())
    async with RawServer(respond(PNG)) as server, lending(connector) as http:
        port = server.origin.rpartition(":")[2]
        async with hosts(http) as way:
            assert await get(way, f"http://{FILES}:{port}/x") == PNG
            for host in ("127.0.0.1", "localhost", "10.0.0.1", "0x7f.1", "[::1]"):
                with pytest.raises(ForbiddenAddressError):
                    await get(way, f"http://{host}:{port}/x")

        assert len(server.received) == 1


async def test_through_a_proxy_addresses_are_judged_before():
    """What stands in the URL is judged before the proxy hears of it."""
    async with Tunnel({}) as tunnel, hosts(proxy=tunnel.url) as way:
        for host in ("10.0.0.1", "169.254.169.254", "2130706433", "[fd00::1]"):
            with pytest.raises(ForbiddenAddressError):
                await get(way, f"https://{host}/x")
        with pytest.raises(ForbiddenAddressError):
            await get(way, "https://localhost/x")  # not proxied, and not reached

        assert tunnel.asked == []


async def test_what_is_refused_says_what_to_do():
    """The address is named, and the way around for whom it is a mistake."""
    async with hosts() as way:
        with pytest.raises(ForbiddenAddressError) as caught:
            await get(way, "https://10.0.0.1/x")
    words, passing = trouble_of(caught.value, None)

    assert "private or reserved (10.0.0.1)" in words
    assert "proxy=" in words
    assert not passing


async def test_a_host_that_does_not_resolve_is_named():
    """Its name is told, and another try can help."""
    async with hosts() as way:
        with pytest.raises(aiohttp.ClientConnectorDNSError) as caught:
            await get(way, "https://nowhere.invalid/x")

    assert trouble_of(caught.value, None) == ("nowhere.invalid does not resolve", True)


async def test_files_of_a_lent_unix_socket_come_from_there(tmp_path):
    """A connector that leads to one place on this machine is its lender's decision."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(message(PNG))
        await writer.drain()
        writer.close()

    place = str(tmp_path / "s")
    server = await asyncio.start_unix_server(serve, place)
    async with lending(aiohttp.UnixConnector(place)) as http, hosts(http) as way:
        assert await get(way, f"http://{FILES}/x") == PNG
    server.close()
    await server.wait_closed()


async def test_an_address_that_aiohttp_refuses_cannot_be_used():
    """One that it cannot read is told as such, and is not tried again."""
    error = aiohttp.InvalidURL("https://canary")

    assert trouble_of(error, None) == ("its URL cannot be used", False)
