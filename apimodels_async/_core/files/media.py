"""
What a file is, by its first bytes; where a picture may come from, by its address.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

HEAD_BYTES: Final = 32
"""As many as :func:`suffix_of` looks at."""

SLUG_CHARS: Final = 48
_AVIF_BRANDS: Final = {b"avif", b"avis"}
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
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]+")


def suffix_of(head: bytes) -> str | None:
    """
    Return ".png", ".jpg", ".webp", ".gif" or ".avif" for the first bytes of a file.

    None: not one of them. HTML and SVG are not pictures here: they can carry scripts.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ".webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF_BRANDS:
        return ".avif"
    return None


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


def item_stem(index: int, task_id: str | None, prompt: str | None) -> str:
    """
    Return a file name, without suffix, for an item of a batch: "00041-a-red-fox".
    """
    slug = _UNSAFE.sub("-", prompt or "").strip("-_").lower()[:SLUG_CHARS].strip("-_")
    return f"{index:05}-{slug or task_id or 'image'}"


def file_stem(task_id: str | None, url: str) -> str:
    """
    Return a file name, without suffix, for a result: ours, never the server's.
    """
    if task_id:
        return _UNSAFE.sub("-", task_id)[:100]
    tail = url.partition("?")[0].rpartition("/")[2].partition(".")[0]
    return _UNSAFE.sub("-", tail)[:60].strip("-") or "image"
