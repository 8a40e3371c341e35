"""Places that clients share.  Owns: Shares: so many at once, so many for one client.
Knows: RFC 4291 (a host's part of an IPv6 address is its last half).  Never: what a place is for."""

from __future__ import annotations

from gateway.listeners.tally import Drop
from gateway.model import Endpoint

# Octets of an IPv6 address that say whose it is: the rest one client picks as it likes.
_IPV6_NETWORK_LEN = 8


class Shares:
    """So many places at once, and no more than its share of them for one client.

    Without the share one client could take every place and shut the others out.
    """

    def __init__(self, limit: int, per_client: int, full: Drop) -> None:
        """Begin with every place free.

        Args:    full: what is said where all are taken.
        """
        self._left = limit
        self._per_client = per_client
        self._full = full
        self._taken: dict[bytes, int] = {}

    def take(self, client: Endpoint) -> Drop | None:
        """Take a place for a client; the reason if it gets none."""
        whose = _whose(client)
        taken = self._taken.get(whose, 0)
        if self._left <= 0:
            return self._full
        if taken >= self._per_client:
            return Drop.CLIENT_SHARE_FULL
        self._left -= 1
        self._taken[whose] = taken + 1
        return None

    def give(self, client: Endpoint) -> None:
        """Give a client's place back."""
        whose = _whose(client)
        self._left += 1
        self._taken[whose] -= 1
        if not self._taken[whose]:
            del self._taken[whose]


def _whose(client: Endpoint) -> bytes:
    address = client.address
    return address if len(address) == 4 else address[:_IPV6_NETWORK_LEN]
