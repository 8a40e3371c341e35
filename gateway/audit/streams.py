"""First octets of captured streams.  Owns: which streams are gathered, and when they are told.
Knows: RFC 9293.  Never: what the octets are."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gateway.audit.flows import Side
from gateway.kernel.first_octets import Gathering
from gateway.wire import MAX_FIRST_BYTES_LEN, wants_more

_SYN, _FIN_OR_RST = 2, 5
# Directions of streams that are gathered at once, and segments of each: at most 16 KiB each wait.
_MAX_STREAMS, _MAX_SEGMENTS = 1_024, 32


@dataclass(slots=True)
class _Stream:
    gathering: Gathering
    segments: int = 0


class Streams:
    """Directions of streams whose first octets are not told yet, oldest first."""

    def __init__(self) -> None:
        self._open: OrderedDict[int, tuple[Side, _Stream]] = OrderedDict()
        self.conflicts = 0
        """Segments that say other octets than were there: the two ends may have seen others."""

    def __len__(self) -> int:
        return len(self._open)

    def add(
        self, side: Side, flags: int, sequence: int, payload: bytes
    ) -> list[tuple[Side, bytes]]:
        """Take a segment of a direction that is not told yet.

        Returns: directions with their first octets that are told now: this one when they are
                 clear, the oldest of too many, or none.
        """
        known = self._open.get(id(side))
        if known is None:
            first = sequence + bool(flags & _SYN)
            known = side, _Stream(Gathering(side.flow.key, first % (1 << 32), 0.0))
            self._open[id(side)] = known
        stream = known[1]
        if payload:
            stream.segments += 1
            head = stream.gathering.head
            at = (sequence + bool(flags & _SYN) - stream.gathering.first) % (1 << 32)
            if at < MAX_FIRST_BYTES_LEN:
                added = stream.gathering.add(
                    sequence + bool(flags & _SYN), payload[: MAX_FIRST_BYTES_LEN - at]
                )
                self.conflicts += added.name == "CONFLICT"
            is_over = stream.segments >= _MAX_SEGMENTS
            if is_over or (head and not wants_more(bytes(head))):
                return [self._end(side)]
        if flags & _FIN_OR_RST and stream.gathering.head:
            return [self._end(side)]
        if len(self._open) > _MAX_STREAMS:
            return [self._end(next(iter(self._open.values()))[0])]
        return []

    def end(self, side: Side) -> bytes | None:
        """Give up a direction; returns what is there of it, None if it is not gathered."""
        known = self._open.pop(id(side), None)
        return None if known is None else bytes(known[1].gathering.head)

    def _end(self, side: Side) -> tuple[Side, bytes]:
        return side, self.end(side) or b""
