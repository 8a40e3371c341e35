"""Round trips that refute where an address is said to be.  Owns: how soon each address answered,
and which claims that refutes.  Knows: the speed of light.
Never: measuring, clocks; the time is handed in.

Light in vacuum goes 149.9 km and back in a millisecond, and nothing is faster: who answered sooner
than a country can be reached is not in it.  That proves where an address is not, never where it is.
So a refuted claim is no evidence, and can only block: see `Epoch.judge`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from types import MappingProxyType

from gateway.geo.extents import Extents, Position, distance_km
from gateway.model import Axis, Place

MAX_ADDRESSES = 4_096
"""Addresses that are remembered: those that answered last."""
# An address may move to another place.
_EXPIRY_S = 86_400.0
# So many round trips have to be that short, and none within this time of another: a clock that is
# set makes those wrong that are under way.
_SAMPLES, _APART_S = 3, 1.0
_KM_PER_S = 299_792.458 / 2
_MAX_PLACES = 1_024

HERE = "gateway"
"""What the gateway itself is called among those that measure."""


@dataclass(frozen=True, slots=True)
class Disc:
    """Nobody who answered is farther from here."""

    name: str
    """Of the exit that measured, or HERE."""
    position: Position
    rtt_s: float
    """Between it and the address, and back, at most."""

    @property
    def radius_km(self) -> float:
        """How far light comes."""
        return self.rtt_s * _KM_PER_S


@dataclass(slots=True)
class _Trips:
    """The shortest round trips of one address from one position, the shortest first."""

    rtts_s: tuple[float, ...]
    last_s: float

    def with_trip(self, rtt_s: float, now_s: float) -> _Trips:
        if now_s - self.last_s < _APART_S:
            return self
        return _Trips(tuple(sorted((*self.rtts_s, rtt_s))[:_SAMPLES]), now_s)

    @property
    def counted_s(self) -> float | None:
        return self.rtts_s[_SAMPLES - 1] if len(self.rtts_s) >= _SAMPLES else None


class Discs:
    """What round trips say of where addresses are."""

    def __init__(
        self, positions: Mapping[str, Position], extents: Extents, seconds: Callable[[], float]
    ) -> None:
        """Begin without round trips.

        Args:    positions: of exits by name, and of HERE, as the operator claims; seconds: a clock.
        """
        self.positions = positions
        self._extents = extents
        self._seconds = seconds
        self._trips: OrderedDict[bytes, dict[str, _Trips]] = OrderedDict()
        self._places: dict[tuple[Place, tuple[str, ...]], Place] = {}

    def __len__(self) -> int:
        """Count the addresses."""
        return len(self._trips)

    def __contains__(self, address: object) -> bool:
        """Say whether anything is known of an address."""
        return address in self._trips

    def between_s(self, exit_: str) -> float:
        """Give what a round trip to an exit takes at least, by the positions; 0: not known."""
        here, there = self.positions.get(HERE), self.positions.get(exit_)
        if here is None or there is None:
            return 0.0
        # A sphere's distances are up to 0.6 % too long.
        return distance_km(here, there) * 0.994 / _KM_PER_S

    def answered(self, name: str, address: bytes, rtt_s: float) -> bool:
        """Take note of a round trip.

        Args:    name: who measured; one without a position is not heard; rtt_s: at most so long.
        Returns: whether claims about the address should be looked at again.
        """
        if name not in self.positions or rtt_s <= 0:
            return False
        now_s = self._seconds()
        trips = self._trips.setdefault(address, {})
        self._trips.move_to_end(address)
        if len(self._trips) > MAX_ADDRESSES:
            self._trips.popitem(last=False)
        before = trips.get(name)
        if before is None or now_s - before.last_s > _EXPIRY_S:
            before = _Trips((), float("-inf"))
        after = trips[name] = before.with_trip(rtt_s, now_s)
        return after.counted_s is not None and after.counted_s != before.counted_s

    def tell(self, name: str, address: bytes, rtt_s: float) -> None:
        """Take a round trip on a person's word: it counts at once."""
        trips = _Trips((rtt_s,) * _SAMPLES, self._seconds())
        self._trips.setdefault(address, {})[name] = trips

    def around(self, address: bytes) -> tuple[Disc, ...]:
        """Give the discs in which an address must be."""
        now_s = self._seconds()
        return tuple(
            Disc(name, self.positions[name], trips.counted_s)
            for name, trips in self._trips.get(address, {}).items()
            if trips.counted_s is not None and now_s - trips.last_s <= _EXPIRY_S
        )

    def refuted(self, address: bytes, place: Place) -> tuple[str, ...]:
        """Give the countries that an address is said to stand in, and cannot."""
        found = (self.refuted_by(disc, place) for disc in self.around(address))
        return tuple(dict.fromkeys(chain.from_iterable(found)))

    def refuted_by(self, disc: Disc, place: Place) -> tuple[str, ...]:
        """Give those of them that one disc excludes."""
        claimed = place.values.get(Axis.LOCATION, ())
        return tuple(one for one in claimed if self._excludes(disc, one))

    def doubted(self, address: bytes, place: Place) -> Place | None:
        """Give an address's place without a location, if a word on it is refuted; None: none is.

        The same object for the same evidence, as policies want it.
        """
        refuted = self.refuted(address, place)
        if not refuted:
            return None
        found = self._places.get((place, refuted))
        if found is None:
            if len(self._places) >= _MAX_PLACES:
                self._places.clear()
            found = self._places[place, refuted] = _without_location(place, refuted)
        return found

    def _excludes(self, disc: Disc, country: str) -> bool:
        least_km = self._extents.least_km(country, disc.position)
        return least_km is not None and least_km > disc.radius_km


def _without_location(place: Place, refuted: tuple[str, ...]) -> Place:
    values = dict(place.values)
    del values[Axis.LOCATION]
    doubt = f"it answers sooner than light comes back from {', '.join(refuted)}: location refuted"
    return replace(place, values=MappingProxyType(values), doubts=(*place.doubts, doubt))
