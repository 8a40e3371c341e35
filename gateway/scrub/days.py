"""The key of the day.  Owns: which pseudonyms a client has now.  Knows: BLAKE2b (RFC 7693).
Never: clocks (the day is handed in), files, datagrams."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.scrub.pseudonyms import Pseudonyms
from gateway.scrub.residue import Residue

KEY_LEN = 32
"""Octets of the key that all days' keys are made from."""
_ONE_DAY = datetime.timedelta(days=1)


@dataclass(slots=True, eq=False)
class Stay:
    """One client, from its first flow until its last one ends: it keeps its pseudonyms, since what
    its call was told under them it says again under them."""

    client: bytes
    day: datetime.date
    pseudonyms: Pseudonyms
    residue: Residue = field(default_factory=Residue)
    flows: int = 0


class Days:
    """Gives each client the pseudonyms of the day on which its call began."""

    def __init__(self, key: bytes, today: Callable[[], datetime.date]) -> None:
        """Begin.

        Args:    key: KEY_LEN octets; today: UTC.
        """
        self._key = key
        self._today = today
        self._by_day: dict[datetime.date, Pseudonyms] = {}
        self._stays: dict[bytes, Stay] = {}

    def __len__(self) -> int:
        """Count the clients that have a flow."""
        return len(self._stays)

    def enter(self, client: bytes) -> Stay:
        """Begin a flow of a client; `leave` ends it.

        A client that never ends all of its flows (many behind one address) has new ones under a
        new key two midnights later at the latest.
        """
        today = self._today()
        stay = self._stays.get(client)
        if stay is None or not today - _ONE_DAY <= stay.day <= today:
            stay = self._stays[client] = Stay(client, today, self._of(today))
        stay.flows += 1
        return stay

    def leave(self, stay: Stay) -> None:
        """End a flow of a client."""
        stay.flows -= 1
        if not stay.flows and self._stays.get(stay.client) is stay:
            del self._stays[stay.client]

    def _of(self, day: datetime.date) -> Pseudonyms:
        found = self._by_day.get(day)
        if found is None:
            # Flows hold on to the pseudonyms of other days themselves.
            self._by_day = {day: Pseudonyms(day_key(self._key, day))}
            found = self._by_day[day]
        return found


def day_key(key: bytes, day: datetime.date) -> bytes:
    """Give the key of a day: who has it cannot find any other's."""
    text = day.isoformat().encode()
    return hashlib.blake2b(text, key=key, person=b"scrub day", digest_size=32).digest()
