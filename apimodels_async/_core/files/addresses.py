"""
From which addresses a file may come.
"""

from __future__ import annotations

import ipaddress
from typing import Final

_BLOCKED: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "224.0.0.0/4",  # multicast counts as global
        "::/8",  # NAT64 (64:ff9b::) and its kin lead to any IPv4 address
        "fec0::/10",  # site-local, the old private range, counts as global
        "2002::/16",  # 6to4, the same
        "2001::/32",  # Teredo, the same
        "ff00::/8",
    )
)


def may_connect(address: str, *, loopback: bool) -> bool:
    """
    Return whether a file may be fetched from the IP *address*.

    Public unicast only, and loopback where *loopback* says so (the emulator).
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(ip, "ipv4_mapped", None)
    if mapped is not None:
        ip = mapped
    if ip.is_loopback:
        return loopback
    return ip.is_global and not any(ip in network for network in _BLOCKED)
