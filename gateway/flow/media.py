"""RTP by two datagrams.  Owns: which sources of RTP a flow seems to have, and when that is sure.
Knows: RFC 3550 section 5.1 (SSRC).  Never: verdicts, recognising."""

from __future__ import annotations

from gateway.wire.rtp import HEADER_LEN, source

# Audio, video and their retransmissions, from a few speakers, before one of them speaks twice.
_MAX_SOURCES = 8


class Media:
    """What of a flow looked like RTP.

    A header of RTP proves little: one datagram of noise in 300 has one.  Two that name the same
    source, of 2^32, are no chance.
    """

    __slots__ = ("_sources", "is_sure")

    def __init__(self) -> None:
        self.is_sure = False
        """Whether two datagrams named the same source."""
        self._sources: tuple[bytes, ...] = ()

    def hear(self, payload: bytes) -> bool:
        """Take note of a datagram that looks like RTP; tell whether the flow surely speaks it."""
        if not self.is_sure:
            named = source(payload)
            self.is_sure = named in self._sources
            self._sources = (*self._sources, named)[-_MAX_SOURCES:]
        return self.is_sure


def refutes(payload: bytes) -> bool:
    """Tell whether a datagram that nobody knows speaks against RTP: those that keep a way open have
    a few octets."""
    return len(payload) > HEADER_LEN
