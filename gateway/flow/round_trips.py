"""Round trips that a client's own pings show.  Owns: which answer is whose, how long it took.
Knows: the vendor's PPing1 and PPong1 (same room, user and number), STUN's Binding (RFC 8489: same
transaction).  Never: sending anything, clocks; the time is handed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

# A client pings an edge about once a second; what is not answered by then is forgotten.
_MAX_OPEN = 16
_PING, _PONG = b"\x01\x00\x92\x00", b"\x01\x00\x93\x00"
_COOKIE = b"\x21\x12\xa4\x42"
_BINDING, _BOUND = b"\x00\x01", b"\x01\x01"


class RoundTrips:
    """The round trips of one flow."""

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, float] = OrderedDict()

    @property
    def unanswered(self) -> int:
        """Count the pings that wait, at most 16."""
        return len(self._open)

    def sent(self, payload: bytes, now_s: float) -> None:
        """Take note of a datagram that leaves; a repeated one starts anew."""
        name = _name(payload, _PING, _BINDING)
        if name is not None:
            self._open.pop(name, None)
            self._open[name] = now_s
            if len(self._open) > _MAX_OPEN:
                self._open.popitem(last=False)

    def got(self, payload: bytes, now_s: float) -> float | None:
        """Give the seconds since the ping that a datagram answers, once; None: it answers none."""
        name = _name(payload, _PONG, _BOUND)
        since_s = None if name is None else self._open.pop(name, None)
        return None if since_s is None else now_s - since_s


class Timing:
    """Tells how long the pings of one flow take."""

    def __init__(self, seconds: Callable[[], float], tell: Callable[[float], None]) -> None:
        """Begin.

        Args:    seconds: a clock; tell: gets each round trip, s.
        """
        self._seconds = seconds
        self._tell = tell
        self._trips = RoundTrips()

    @property
    def unanswered(self) -> int:
        """Count the pings that wait for an answer."""
        return self._trips.unanswered

    def sent(self, payload: bytes) -> None:
        """Take note of what leaves now."""
        if _name(payload, _PING, _BINDING) is not None:  # else the time is of no interest
            self._trips.sent(payload, self._seconds())

    def got(self, payload: bytes) -> bool:
        """Take note of an answer; say whether it was a ping's."""
        if not self._trips.unanswered:
            return False
        took_s = self._trips.got(payload, self._seconds())
        if took_s is not None:
            self._tell(took_s)
        return took_s is not None


def _name(payload: bytes, frame: bytes, method: bytes) -> bytes | None:
    if payload[2:6] == frame:
        return payload[6:16]  # u32 room, u32 user, u16 number
    if payload[4:8] == _COOKIE and payload[:2] == method:
        return payload[8:20]
    return None
