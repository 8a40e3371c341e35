"""How much of the address space something is.  Owns: ranges of both families, joined and counted.
Knows: RFC 4632, RFC 4291 (CIDR).  Never: evidence, verdicts."""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from math import log2

_NETWORK_48 = 80
"""Bits of an address below a /48."""

Ranges = tuple[tuple[int, int], ...]
"""(first, last) addresses as numbers, both included; ascending, apart, not adjacent."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Parts of the address space."""

    v4: Ranges = ()
    v6: Ranges = ()

    @property
    def v4_addresses(self) -> int:
        """How many IPv4 addresses."""
        return sum(last - first + 1 for first, last in self.v4)

    @property
    def v6_addresses(self) -> int:
        """How many IPv6 addresses, exactly."""
        return sum(last - first + 1 for first, last in self.v6)

    @property
    def v6_networks(self) -> int:
        """How many /48s of IPv6, each counted that is touched: a /64 counts as one."""
        count, reached = 0, -1
        for first, last in self.v6:
            begin, end = max(first >> _NETWORK_48, reached + 1), last >> _NETWORK_48
            count += end - begin + 1
            reached = end
        return count

    def holds(self, address: bytes) -> bool:
        """Say whether an address of 4 or 16 octets is in it."""
        ranges, number = (self.v4 if len(address) == 4 else self.v6), int.from_bytes(address)
        at = bisect_right(ranges, number, key=lambda one: one[0]) - 1
        return at >= 0 and number <= ranges[at][1]

    def __bool__(self) -> bool:
        return bool(self.v4 or self.v6)

    def __str__(self) -> str:
        said = [f"{count(self.v4_addresses, 'IPv4 address', 'es')}"] if self.v4 else []
        said += [f"{count(self.v6_networks, 'IPv6 /48')}"] if self.v6 else []
        return ", ".join(said) or "no address"

    def texts(self, most: int | None = None) -> list[str]:
        """Give the ranges as CIDR where they are one, else as "first-last"; IPv4 first."""
        v4, v6 = self.v4[:most], self.v6[: None if most is None else max(0, most - len(self.v4))]
        return [*(_text(one, 32) for one in v4), *(_text(one, 128) for one in v6)]

    @property
    def range_count(self) -> int:
        """How many ranges."""
        return len(self.v4) + len(self.v6)


def extent(v4: Iterable[tuple[int, int]], v6: Iterable[tuple[int, int]]) -> Extent:
    """Join ranges in any order."""
    return Extent(_joined(v4), _joined(v6))


def count(number: int, noun: str, plural: str = "s") -> str:
    """Write how many: "1 IPv4 address", "12,288 IPv4 addresses", "2^45.0 IPv6 /48s"."""
    if number >= 1 << 32:
        return f"2^{log2(number):.1f} {noun}{plural}"
    return f"{number:,} {noun}{plural if number != 1 else ''}"


def _joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return tuple(joined)


def _text(one: tuple[int, int], bits: int) -> str:
    first, last = one
    kind = ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address
    if first == last:
        return str(kind(first))
    size = last - first + 1
    if size & (size - 1) == 0 and first % size == 0:
        return f"{kind(first)}/{bits - size.bit_length() + 1}"
    return f"{kind(first)}-{kind(last)}"
