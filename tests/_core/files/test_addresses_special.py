"""
Where files may come from does not depend on the Python that runs.
"""

from __future__ import annotations

import ipaddress

from apimodels_async._core.files.addresses import _SPECIAL, may_connect
from apimodels_async._core.files.media import suffix_for, suffix_in, type_of


def test_no_special_block_is_connected_to():
    """The first and the last address of every block are refused, mapped ones too."""
    for network in _SPECIAL:
        for at in (network[0], network[-1]):
            assert not may_connect(str(at), loopback=False)
            if at.version == 4 and not at.is_loopback:
                assert not may_connect(f"::ffff:{at}", loopback=True)


def test_what_python_calls_global_by_turns_is_refused():
    """These are special for IANA, and global for one Python or another."""
    for address in (
        *("192.0.0.8", "192.0.0.9", "192.0.0.170", "192.88.99.1", "192.31.196.1"),
        *("2001:1::1", "2001:20::1", "3fff::1", "5f00::1", "100::1", "64:ff9b:1::1"),
        *("2620:4f:8000::1", "4000::1", "f000::1"),
    ):
        assert not may_connect(address, loopback=True), address


def test_neighbours_of_special_blocks_are_public():
    """Not a whole provider is refused for one block of its."""
    for network in _SPECIAL:
        for at in (int(network[0]) - 1, int(network[-1]) + 1):
            near = ipaddress.ip_address(max(0, at))
            if near.is_global and not near.is_multicast and near.version == 4:
                assert may_connect(str(near), loopback=False), near
    for address in ("2001:200::1", "2003::1", "2a00:1450::1", "3ffd::1"):
        assert may_connect(address, loopback=False)


def test_types_and_suffixes_are_ours():
    """Both ways, whatever tables the host has."""
    for suffix, kind in (
        *((".png", "image/png"), (".jpg", "image/jpeg"), (".webp", "image/webp")),
        *((".gif", "image/gif"), (".avif", "image/avif")),
    ):
        assert type_of(f"a.b{suffix.upper()}") == kind
        assert suffix_for(kind) == suffix
        assert suffix_for(f"{kind.upper()}; q=1; v=b") == suffix
        assert suffix_in(f"v1.5 fox{suffix}") == suffix
    assert type_of("a.jpeg") == type_of("a.JFIF") == "image/jpeg"
    assert type_of("a.heic") == "image/heic"
    assert type_of("png") is None
    assert suffix_for("text/html") is None
    for name in ("v1.5", "fox.", ".png", "png", "fox.tiff", ""):
        assert suffix_in(name) == ""
