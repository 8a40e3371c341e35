"""Ranges of addresses.  Owns: their one form, their text in nft.  Knows: IPv4 and IPv6 text.
Never: whose they are."""

from __future__ import annotations

import socket
from collections.abc import Iterable

from gateway.errors import DataError

Ranges = tuple[tuple[int, int], ...]
"""(first, last) addresses as integers, both in the range; ascending, apart, not adjacent."""

BITS = {4: 32, 16: 128}
"""Bits of an address by its octets."""


def merge(ranges: Iterable[tuple[int, int]], octets: int) -> Ranges:
    """Bring ranges into their one form.

    Args:    ranges: in any order, may overlap; octets: 4 or 16.
    Raises:  DataError: a range that ends before it begins or lies outside the address space.
    """
    highest = (1 << BITS[octets]) - 1
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if not 0 <= first <= last <= highest:
            expected = f"0 <= first <= last <= {highest:#x}"
            raise DataError("denied ranges", f"({first:#x}, {last:#x})", expected)
        if merged and first <= merged[-1][1] + 1:
            if last > merged[-1][1]:
                merged[-1] = (merged[-1][0], last)
        else:
            merged.append((first, last))
    return tuple(merged)


def spell(first: int, last: int, octets: int) -> str:
    """Write a range as nft reads it: "192.0.2.0-192.0.2.255", or one address."""
    family = socket.AF_INET if octets == 4 else socket.AF_INET6
    text = socket.inet_ntop(family, first.to_bytes(octets, "big"))
    if first == last:
        return text
    return f"{text}-{socket.inet_ntop(family, last.to_bytes(octets, 'big'))}"
