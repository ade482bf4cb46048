"""Where requests may go: what is not known to be harmless is refused."""

import pytest

from workers_tools.addresses import address_of, is_allowed

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "52.94.236.248",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a05:d014::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]
PRIVATE = [
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "2002:a00:1::1",
]
NEVER = [
    "0.0.0.0",  # noqa: S104 - asked, not listened on
    "0.1.2.3",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::2",
    "::127.0.0.1",
    "::169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "::ffff:169.254.169.254",
    "::ffff:0.0.0.0",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "2002:a9fe:a9fe::1",
    "2001:0:a9fe:a9fe::1",
    "2001:db8::1",
    "2001:20::1",
    "3fff::1",
    "100::1",
    "4000::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_asked(address: str) -> None:
    assert is_allowed(address_of(address), "public")
    assert is_allowed(address_of(address), "private")


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_may_be_asked_where_the_stack_says_so(address: str) -> None:
    assert not is_allowed(address_of(address), "public")
    assert is_allowed(address_of(address), "private")


@pytest.mark.parametrize("address", NEVER)
def test_metadata_and_whatever_is_nobodys_is_never_asked(address: str) -> None:
    assert not is_allowed(address_of(address), "public")
    assert not is_allowed(address_of(address), "private")
