"""Who is where.  Owns: the server's addresses by what may be sent there; the denied ranges.
Knows: documentation networks (RFC 5737, 3849).  Never: how a peer is told."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Places:
    """The server's addresses, of one family."""

    family: int
    allowed: str
    newly_denied: str
    """Allowed until the reload."""
    denied: str

    @classmethod
    def of(cls, family: int) -> Places:
        """Give those of a family, 4 or 6."""
        if family == 6:
            return cls(6, "2001:db8:a::1", "2001:db8:a::5", "2001:db8:c::7")
        return cls(4, "192.0.2.1", "192.0.2.5", "198.51.100.7")


# Where made-up ranges begin, how far they are apart, and their prefix length: with a gap after
# each, so that no set can put two of them together.
_RANGES = {4: (11 << 24, 1 << 9, 24), 6: (0x2400 << 112, 1 << 81, 48)}
_ADDRESS = {4: ipaddress.IPv4Address, 6: ipaddress.IPv6Address}


def denied_networks(family: int, count: int, *, is_after: bool = False) -> Iterator[str]:
    """Give what is denied: so many made-up ranges, and where the floods go.

    Args:    is_after: as after the reload, with `newly_denied`.
    """
    places = Places.of(family)
    yield "198.51.100.0/24" if family == 4 else "2001:db8:c::/64"
    if is_after:
        yield f"{places.newly_denied}/{32 if family == 4 else 128}"
    begin, step, prefix_len = _RANGES[family]
    for number in range(count):
        yield f"{_ADDRESS[family](begin + number * step)}/{prefix_len}"
