"""Which addresses a tool's server may have."""

from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import Final

from workers_tools.servers import ToolNetwork

type Address = IPv4Address | IPv6Address

_NEVER_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host, unspecified
            "169.254.0.0/16",  # link-local: instance metadata, credentials of containers
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)
_PRIVATE_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "10.0.0.0/8",
            "100.64.0.0/10",  # shared by a provider's customers
            "127.0.0.0/8",
            "172.16.0.0/12",
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",
            "203.0.113.0/24",
        ),
    )
)
_METADATA_V6: Final = IPv6Address("fd00:ec2::254")
_CREDENTIALS_V6: Final = IPv6Address("fd00:ec2::23")
_LOOPBACK_V6: Final = IPv6Address("::1")
_UNIQUE_LOCAL_V6: Final = IPv6Network("fc00::/7")
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_NOT_GLOBAL_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "3fff::/20",
        ),
    )
)
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")


def address_of(text: str) -> Address:
    """An address as a resolver spells it, a zone included.

    Raises:
        ValueError: it is none.
    """
    return ip_address(text.partition("%")[0])


def is_allowed(address: Address, network: ToolNetwork) -> bool:
    """Whether a request may go there. What is not known to be harmless is refused.

    An IPv4 address inside an IPv6 one (mapped, NAT64, 6to4) is judged as the IPv4 address that it
    leads to.
    """
    if isinstance(address, IPv4Address):
        return _is_allowed_v4(address, network)
    inner = _inner(address)
    if inner is not None:
        return _is_allowed_v4(inner, network)
    if any(address in each for each in _NOT_GLOBAL_V6):
        return False
    if address in _GLOBAL_V6:
        return True
    is_private = address == _LOOPBACK_V6 or (
        address in _UNIQUE_LOCAL_V6 and address not in (_METADATA_V6, _CREDENTIALS_V6)
    )
    return network == "private" and is_private


def _is_allowed_v4(address: IPv4Address, network: ToolNetwork) -> bool:
    if any(address in each for each in _NEVER_V4):
        return False
    return network == "private" or not any(address in each for each in _PRIVATE_V4)


def _inner(address: IPv6Address) -> IPv4Address | None:
    number = int(address)
    if address in _MAPPED or address in _NAT64:
        return IPv4Address(number & 0xFFFF_FFFF)
    if address in _6TO4:
        return IPv4Address(number >> 80 & 0xFFFF_FFFF)
    return None
