"""Few sizes for what is sent.  Owns: the sizes, and padding aioquic's packets to them.
Knows: RFC 9000 (17.3.1 short header packets, 19.1 PADDING), aioquic 1.7's packet builder.
Never: what is in a packet."""

from __future__ import annotations

from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder

SIZES = (64, 256, 640, 1200)
"""Octets that datagrams with 1-RTT packets have, whatever is in them: who watches the wire learns
little of what was wrapped from how long it is.  Acknowledgements fit into the first; the vendor's
pings and voice, of up to some 200 octets, into the second."""


def padded(octets: int) -> int:
    """Give the size of a datagram of so many octets."""
    return next((size for size in SIZES if size >= octets), octets)


class PaddedBuilder(QuicPacketBuilder):
    """Pads 1-RTT packets by PADDING frames."""

    def _end_packet(self) -> None:
        assert self._packet is not None, "one is being built"
        is_empty = self._buffer.tell() - self._packet_start <= self._header_size
        if self._packet_type is QuicPacketType.ONE_RTT and not is_empty:
            tag_len = self._packet_crypto.aead_tag_size if self._packet_crypto else 0
            octets = self._buffer.tell() + tag_len
            padding = min(padded(octets) - octets, self.remaining_buffer_space)
            if padding > 0:
                self._buffer.push_bytes(bytes(padding))
                # A padded acknowledgement is not acknowledged: to count it as in flight, as RFC
                # 9002 section 2 has it, would use up the window of a side that only listens.
                self._packet.in_flight |= self._packet.is_ack_eliciting
        super()._end_packet()
