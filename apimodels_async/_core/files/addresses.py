"""
From which hosts and addresses a file may come.

The blocks are listed here: what ``ipaddress`` calls global differs between releases of
Python.

Source: IANA IPv4 and IPv6 Special-Purpose Address Registries, IPv6 Global Unicast
Address Assignments, read 2026-11-27. Anycast services among them (192.0.0.9, AS112)
serve no files and are refused with their block.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from apimodels_async._text import is_loopback

_LOOPBACK: Final = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)
_SPECIAL: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by a provider's customers
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, a cloud's metadata among them
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # relays of 6to4, deprecated
        "192.168.0.0/16",
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking, and VPN clients: see FAKE
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
        "2001::/23",  # IETF protocol assignments: Teredo, ORCHID, benchmarking, ...
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4 leads to any IPv4 address
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # 6bone, given back
        "3fff::/20",  # documentation
    )
)
_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All that IPv6 has given out so far. Outside: private, link-local, ..."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
"""Around every IPv4 address, for networks that have IPv6 alone (RFC 6052)."""
_FAKE: Final = ipaddress.ip_network("198.18.0.0/15")
"""VPN clients answer any name with an address in here, and carry what goes there to
the name. No network of anybody's is there."""
_NUMBER: Final = re.compile(r"(?:.*\.)?(?:\d+|0[xX][0-9a-fA-F]*)\.?")
"""A host that ends so is an address, not a name (WHATWG URL, "ends in a number")."""


def may_connect(address: str, *, loopback: bool, named: bool = False) -> bool:
    """
    Return whether a file may be fetched from the IP *address*.

    Public unicast only, and loopback where *loopback* says so (the emulator).

    Args:
        named: A resolver gave it for a name; false: it stood in the URL itself.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64:  # the gateway's own network is not ours
            ip, loopback, named = ipaddress.IPv4Address(ip.packed[-4:]), False, False
        elif ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
    if any(ip in network for network in _LOOPBACK):
        return loopback
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _UNICAST:
        return False
    if named and ip in _FAKE:
        return True
    return not any(ip in network for network in _SPECIAL)


def may_ask(host: str, *, loopback: bool) -> bool:
    """
    Return whether a file may be fetched from *host* of a URL, as far as that shows.

    A name is judged by where it leads: by the address, where it is resolved here.
    """
    if is_loopback(host.lower().removesuffix(".")):
        return loopback
    try:
        return may_connect(host, loopback=loopback)
    except ValueError:
        # Some resolvers, a proxy's perhaps, read 0x7f.1 as an address.
        return _NUMBER.fullmatch(host) is None
