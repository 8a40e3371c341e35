"""IPv6 addresses that spell IPv4 addresses.  Owns: finding every address inside an address.
Knows: RFC 4291 (mapped, compatible), 2765 (translated), 6052 (NAT64), 3056 (6to4), 4380 (Teredo),
5214 (ISATAP).
Never: what the addresses found are worth; text of addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import NamedTuple

from gateway.errors import DataError

# The interface identifier of a private and of a global IPv4 address (RFC 5214 section 6.1).
_ISATAP = frozenset((b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe"))
_6TO4 = b"\x20\x02"
_TEREDO = b"\x20\x01\x00\x00"
_IN_LAST_32_BITS = {
    bytes(12): "IPv4-compatible",
    bytes(10) + b"\xff\xff": "IPv4-mapped",
    bytes(8) + b"\xff\xff\x00\x00": "IPv4-translated",
}
_NOT_COMPATIBLE = frozenset((bytes(16), bytes(15) + b"\x01"))  # "::" and "::1"

# RFC 6052 section 2.2: where the IPv4 address is, by prefix length.  Octet 8 is skipped.
_NAT64_OCTETS = {
    32: (4, 5, 6, 7),
    40: (5, 6, 7, 9),
    48: (6, 7, 9, 10),
    56: (7, 9, 10, 11),
    64: (9, 10, 11, 12),
    96: (12, 13, 14, 15),
}
_WELL_KNOWN = "64:ff9b::/96"


class Embedded(NamedTuple):
    """An IPv4 address inside an IPv6 address."""

    address: bytes
    """4 octets."""
    spelling: str
    """What the form is called: "6to4", "Teredo client"."""


class Form(NamedTuple):
    """A part of IPv6 in which every address spells IPv4 addresses."""

    network: ipaddress.IPv6Network
    at: int | None
    """Where the octets of the one address that it spells begin, if they are four in a row; else
    None (Teredo, and NAT64 prefixes of 40 to 64 bits)."""
    spelling: str


class _Translation(NamedTuple):
    prefix: bytes
    octets: tuple[int, ...]


class Spellings:
    """The forms that are known here: the standard ones, and the configured NAT64 prefixes."""

    def __init__(self, nat64_prefixes: Iterable[ipaddress.IPv6Network] = ()) -> None:
        networks = (ipaddress.IPv6Network(_WELL_KNOWN), *nat64_prefixes)
        self._nat64 = tuple(
            _Translation(network.network_address.packed[: network.prefixlen // 8], octets)
            for network in dict.fromkeys(networks)
            for octets in (_NAT64_OCTETS[network.prefixlen],)
        )
        # Every form but 6to4 and ISATAP shows in the first 32 bits.
        self._heads = frozenset((bytes(4), _TEREDO, *(form.prefix[:4] for form in self._nat64)))

    def forms(self) -> tuple[Form, ...]:
        """Give every form that shows in an address's first octets, IPv4-mapped aside: those are
        IPv4 addresses."""
        nat64 = [
            Form(_network(form.prefix), None if 9 in form.octets else form.octets[0], "NAT64")
            for form in self._nat64
        ]
        standard = [
            Form(_network(prefix), 12, name)
            for prefix, name in _IN_LAST_32_BITS.items()
            if name != "IPv4-mapped"
        ]
        others = (Form(_network(_6TO4), 2, "6to4"), Form(_network(_TEREDO), None, "Teredo"))
        return (*nat64, *standard, *others)

    def is_plain(self, address: bytes) -> bool:
        """Tell quickly that an address of 16 octets holds no other; False: look closer."""
        return not (address[:4] in self._heads or address[8:12] in _ISATAP or address[:2] == _6TO4)

    def embedded(self, address: bytes) -> tuple[Embedded, ...]:
        """Find every IPv4 address in an address; none in one of 4 octets."""
        if len(address) != 16 or self.is_plain(address):
            return ()
        found = [
            Embedded(bytes(address[octet] for octet in form.octets), "NAT64")
            for form in self._nat64
            if address.startswith(form.prefix)
        ]
        found += _standard(address)
        return tuple(dict.fromkeys(found))


def _network(prefix: bytes) -> ipaddress.IPv6Network:
    return ipaddress.IPv6Network((prefix.ljust(16, b"\0"), 8 * len(prefix)))


def _standard(address: bytes) -> list[Embedded]:
    found: list[Embedded] = []
    if address[:12] in _IN_LAST_32_BITS and address not in _NOT_COMPATIBLE:
        found.append(Embedded(address[12:], _IN_LAST_32_BITS[address[:12]]))
    if address.startswith(_6TO4):
        found.append(Embedded(address[2:6], "6to4"))
    if address.startswith(_TEREDO):
        client = bytes(octet ^ 0xFF for octet in address[12:])  # RFC 4380 section 4: obfuscated
        found += [Embedded(address[4:8], "Teredo server"), Embedded(client, "Teredo client")]
    if address[8:12] in _ISATAP:
        found.append(Embedded(address[12:], "ISATAP"))
    return found


def nat64_prefix(text: str) -> ipaddress.IPv6Network:
    """Read one NAT64 prefix.

    Raises:  DataError: not IPv6, or not of a length that RFC 6052 section 2.2 allows.
    """
    try:
        network = ipaddress.IPv6Network(text)
    except ValueError as exc:
        raise DataError(f"NAT64 prefix {text}", str(exc), "an IPv6 prefix") from exc
    if network.prefixlen not in _NAT64_OCTETS:
        lengths = ", ".join(map(str, _NAT64_OCTETS))
        raise DataError(f"NAT64 prefix {text}", "its length is wrong", f"one of {lengths}")
    return network
