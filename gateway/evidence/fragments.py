"""Fragments of IP packets.  Owns: putting them together, within bounds.
Knows: RFC 791 section 3.2, 8200 section 4.5, 5722 (overlaps are refused).
Never: frames, files, what is in the packet."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from gateway.evidence.frame import IpPacket

# RFC 8200 section 4.5: 60 s; by the capture's clock.
_WAIT_S = 60.0
# Packets that wait for fragments; Linux holds some 4 MiB of them (net.ipv4.ipfrag_high_thresh).
_MAX_PACKETS = 1_024
_MAX_FRAGMENTS = 64
_MAX_BODY_LEN = 65_535


@dataclass(slots=True)
class _Waiting:
    """A packet of which fragments are missing."""

    since_s: float
    protocol: int = 0
    """As the first fragment says."""
    parts: dict[int, bytes] = field(default_factory=dict)
    size: int | None = None
    """Known once the last fragment is there."""
    is_refused: bool = False
    """Fragments overlap, or are too many: the rest of it is refused too."""


class Fragments:
    """Packets of which fragments are missing, oldest first."""

    def __init__(self) -> None:
        self.refused = 0
        """Packets of which fragments overlap, lie beyond 64 KiB or are more than 64."""
        self.abandoned = 0
        """Packets that were given up: a minute old, or the oldest of too many."""
        self._waiting: OrderedDict[tuple[bytes, bytes, int, int], _Waiting] = OrderedDict()

    @property
    def missing(self) -> int:
        """How many packets wait for fragments still."""
        return sum(not one.is_refused for one in self._waiting.values())

    def add(self, ip: IpPacket, now_s: float) -> IpPacket | None:
        """Take a fragment; gives the whole packet with its last one, else None."""
        assert ip.fragment is not None
        self._expire(now_s)
        # IPv6 has no protocol in its key: only the first fragment's says what it is.
        protocol = ip.protocol if len(ip.source) == 4 else 0
        key = (ip.source, ip.destination, protocol, ip.fragment.identification)
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(now_s)
        if waiting.is_refused:
            return None
        if not _place(waiting, ip):
            self.refused += 1
            waiting.is_refused, waiting.parts = True, {}
            return None
        if waiting.size is None or sum(map(len, waiting.parts.values())) < waiting.size:
            return None
        del self._waiting[key]
        body = b"".join(octets for _, octets in sorted(waiting.parts.items()))
        return IpPacket(ip.source, ip.destination, waiting.protocol, body)

    def _expire(self, now_s: float) -> None:
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            if len(self._waiting) <= _MAX_PACKETS and now_s - oldest.since_s < _WAIT_S:
                return
            self.abandoned += not oldest.is_refused
            self._waiting.popitem(last=False)


def _place(waiting: _Waiting, ip: IpPacket) -> bool:
    """Put a fragment where it belongs; False: it cannot be there."""
    assert ip.fragment is not None
    start, end = ip.fragment.start, ip.fragment.start + len(ip.body)
    if waiting.parts.get(start) == ip.body:
        return True  # the same once more, as captures on two interfaces have it
    if end > _MAX_BODY_LEN or len(waiting.parts) == _MAX_FRAGMENTS or start == end:
        return False
    if ip.fragment.has_more and len(ip.body) % 8:
        return False
    if any(start < at + len(part) and at < end for at, part in waiting.parts.items()):
        return False
    if waiting.size is not None and (end > waiting.size or not ip.fragment.has_more):
        return False
    if not ip.fragment.has_more:
        waiting.size = end
        if any(at + len(part) > end for at, part in waiting.parts.items()):
            return False
    if not start:
        waiting.protocol = ip.protocol
    waiting.parts[start] = ip.body
    return True
