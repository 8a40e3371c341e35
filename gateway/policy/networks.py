"""Sets of addresses.  Owns: networks and ranges in text → sorted ranges, and membership.
Knows: netaddr, RFC 4632 (CIDR).  Never: countries, YAML."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from netaddr import IPAddress, IPNetwork, IPRange

from gateway.errors import AddressError
from gateway.model import pack, unpack


class AddressRange(NamedTuple):
    """Neighbouring addresses of one family."""

    size: int
    """Octets of an address: 4 or 16."""
    first: int
    last: int


def address_range(text: str) -> AddressRange:
    """Read "198.51.100.0/24", "2001:db8::/32", "192.0.2.7" or "192.0.2.1-192.0.2.9".

    Raises:  AddressError: not one of these, host bits set, or a range that runs backwards.
    """
    host, slash, prefix_len = text.strip().partition("/")
    first, dash, last = text.partition("-")
    if dash:
        return _between(text, pack(first.strip()), pack(last.strip()))
    size = len(pack(host))
    if not slash:
        return _between(text, pack(host), pack(host))
    if not (prefix_len.isascii() and prefix_len.isdigit() and int(prefix_len) <= size * 8):
        raise AddressError(text, f"a network: its prefix length must be 0..{size * 8}")
    network = IPNetwork(f"{unpack(pack(host))}/{prefix_len}")
    if network.ip != network.network:
        raise AddressError(text, f'a network: host bits are set; did you mean "{network.cidr}"?')
    return AddressRange(size, int(network.first), int(network.last))


def _between(text: str, first: bytes, last: bytes) -> AddressRange:
    if len(first) != len(last) or first > last:
        raise AddressError(text, "a range: both ends of one family, the lower first")
    run = IPRange(IPAddress(unpack(first)), IPAddress(unpack(last)))
    return AddressRange(len(first), int(run.first), int(run.last))


class AddressSet:
    """An immutable set of addresses; a look-up is one bisection."""

    __slots__ = ("_bounds", "_text")

    def __init__(self, texts: Iterable[str]) -> None:
        """Make the union of networks and ranges.

        Raises:  AddressError: as address_range.
        """
        self._text = tuple(texts)
        ranges = sorted(address_range(text) for text in self._text)
        # One flat list a family: first, end, first, end, … so that an odd position is inside.
        self._bounds: dict[int, list[int]] = {4: [], 16: []}
        for size, first, last in ranges:
            bounds = self._bounds[size]
            if bounds and first <= bounds[-1]:
                bounds[-1] = max(bounds[-1], last + 1)
            else:
                bounds += (first, last + 1)

    def __contains__(self, address: bytes) -> bool:
        bounds = self._bounds[len(address)]
        return bool(bisect_right(bounds, int.from_bytes(address, "big")) & 1)

    def edges(self, octets: int) -> tuple[int, ...]:
        """Give, ascending, where addresses of a length begin to be in the set, or cease to."""
        return tuple(self._bounds[octets])

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return ", ".join(self._text)
