"""
From which addresses a file may come.

The blocks are listed here: what ``ipaddress`` calls global differs between releases of
Python.

Source: IANA IPv4 and IPv6 Special-Purpose Address Registries, IPv6 Global Unicast
Address Assignments, read 2026-11-27. Anycast services among them (192.0.0.9, AS112)
serve no files and are refused with their block.
"""

from __future__ import annotations

import ipaddress
from typing import Final

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
        "198.18.0.0/15",  # benchmarking
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
"""All that IPv6 has given out so far. Outside: NAT64, private, link-local, ..."""


def may_connect(address: str, *, loopback: bool) -> bool:
    """
    Return whether a file may be fetched from the IP *address*.

    Public unicast only, and loopback where *loopback* says so (the emulator).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if any(ip in network for network in _LOOPBACK):
        return loopback
    if isinstance(ip, ipaddress.IPv6Address) and ip not in _UNICAST:
        return False
    return not any(ip in network for network in _SPECIAL)
