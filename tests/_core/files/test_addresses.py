"""Where a picture may come from."""

from __future__ import annotations

from support.cases import check_all

from apimodels_async._core.files.addresses import may_ask, may_connect

PUBLIC = [
    "1.1.1.1",
    "104.16.0.1",
    "8.8.8.8",
    "2606:4700::1111",
    "2a00:1450:4001::1",
    "::ffff:1.1.1.1",
    "2606:4700::1111%eth0",
    "64:ff9b::6812:27e4",  # 104.18.39.228, for a network of IPv6 alone
]
LOOPBACK = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]
INNER = [
    "0.0.0.0",  # noqa: S104  an address to refuse
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fe80::1%",
    "fd00::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2001:0:4136:e378::1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::c612:7",
    "64:ff9b:1::7f00:1",
    "::7f00:1",
    "::ffff:0:7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
]


def test_a_public_address_may_be_connected_to():
    """Public unicast addresses are allowed."""

    def check(address):
        assert may_connect(address, loopback=False)
        assert may_connect(address, loopback=True)

    check_all(PUBLIC, check)


def test_this_machine_may_be_connected_to_if_allowed():
    """Loopback addresses are allowed for an emulator alone."""

    def check(address):
        assert not may_connect(address, loopback=False)
        assert may_connect(address, loopback=True)

    check_all(LOOPBACK, check)


def test_no_inner_address_is_ever_connected_to():
    """Private, link-local, multicast, reserved and tunnelled addresses are refused."""

    def check(address):
        assert not may_connect(address, loopback=False)
        assert not may_connect(address, loopback=True)

    check_all(INNER, check)


def test_a_name_may_lead_to_a_vpn_clients_own_block():
    """198.18.0.0/15 is refused as an address, and allowed as what a name leads to."""
    for address in ("198.18.0.7", "198.19.255.255", "::ffff:198.18.0.7"):
        assert not may_connect(address, loopback=True)
        assert may_connect(address, loopback=False, named=True)
    for address in (*INNER, *LOOPBACK):
        if not address.startswith("198.18."):
            assert not may_connect(address, loopback=False, named=True)


def test_a_host_is_judged_as_far_as_it_shows():
    """Addresses in any spelling are judged, names are not, but for this machine's."""
    for host in ("files.example", "a-1.b2", "1.files.example", "1.1.1.1", "2a00::1"):
        assert may_ask(host, loopback=False)
    for host in ("localhost", "LOCALHOST", "localhost.", "127.0.0.1", "::1"):
        assert not may_ask(host, loopback=False)
        assert may_ask(host, loopback=True)
    for host in ("10.0.0.1", "fe80::1", "198.18.0.7", "2130706433", "0x7f.1", "127.1"):
        assert not may_ask(host, loopback=True)
