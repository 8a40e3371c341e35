"""What aioquic's connection lacks for us.  Owns: bounds, certificates, keys, and telling what its
private parts know; quick, windows and padding have what it does otherwise.
Knows: aioquic 1.7, RFC 9000, RFC 9221 (datagrams).
Never: HTTP, sockets, clocks, policy."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnectionState
from cryptography.x509 import Certificate

from gateway.tunnel.quick import Quick

# Octets of a 1-RTT packet that are not UDP payload, at their longest: first octet 1, destination
# connection id 20, packet number 2, AEAD tag 16 (RFC 9000 section 17.3.1), DATAGRAM frame type 1
# and length 2 (RFC 9221 section 4), quarter stream id 8 and context id 1 (RFC 9297 section 2.1).
DATAGRAM_OVERHEAD = 1 + 20 + 2 + 16 + 1 + 2 + 8 + 1

# Packets of ours under one key; the peer sends about as many.
_KEY_PACKETS = 1 << 20

# The library says on stderr, once per connection, what we say better, once per change.
_SILENT = logging.Logger("gateway.tunnel.quic", logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one connection may hold."""

    max_flows: int = 1024
    """Streams that the peer may have open at once."""
    datagram_queue: int = 256
    """Datagrams that wait for the congestion window; the oldest is dropped for a newer one."""


class Connection(Quick):
    """A QUIC connection with bounded queues, client certificates and read-driven flow control."""

    def __init__(
        self,
        configuration: QuicConfiguration,
        bounds: Bounds,
        original_destination_connection_id: bytes | None = None,
        retry_source_connection_id: bytes | None = None,
    ) -> None:
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
        )
        self._keys_from = 0
        self._logger.logger = _SILENT
        # aioquic's queue has no bound; a deque of bounded length drops its oldest by itself.
        self._datagrams_pending = deque(maxlen=bounds.datagram_queue)
        self._local_max_streams_bidi.value = bounds.max_flows
        self._local_max_streams_bidi.sent = bounds.max_flows
        self._held = {}
        self._begin_quick()
        self.is_closed_by_us = False
        """Did we find the fault that closed it, or was it the peer?"""

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        # aioquic asks for, and checks possession of, a certificate, but not its chain; see
        # gateway.tunnel.credentials.  We give no session tickets, so every handshake is full.
        self.tls._request_client_certificate = not self._is_client

    def _close_begin(self, is_initiator: bool, now: float) -> None:
        self.is_closed_by_us = is_initiator
        super()._close_begin(is_initiator, now)

    def refresh_keys(self) -> bool:
        """Take new keys before the old ones have protected too much (RFC 9001 section 6.6: 2^23
        packets at most), which the library leaves to us.

        Returns: whether it was time.
        """
        if self._handshake_confirmed and self._packet_number - self._keys_from >= _KEY_PACKETS:
            self._keys_from = self._packet_number
            self.request_key_update()
            return True
        return False

    @property
    def is_started(self) -> bool:
        """Has one packet of the peer been authentic?"""
        return self._state is not QuicConnectionState.FIRSTFLIGHT

    @property
    def rtt_s(self) -> float | None:
        """The smoothed round-trip time (RFC 9002 section 5.3); None: not measured yet."""
        return self._loss._rtt_smoothed if self._loss._rtt_initialized else None

    @property
    def least_rtt_s(self) -> float:
        """What the shortest round trip took at least; 0: not measured yet.

        An acknowledgement may wait for as long as the peer announced, and a round trip of less than
        a millisecond is counted as one.
        """
        waited_s = max(self._loss.max_ack_delay, 0.001)
        return max(0.0, self._loss._rtt_min - waited_s) if self._loss._rtt_initialized else 0.0

    @property
    def awaits_answer(self) -> bool:
        """Is something under way that the peer has to acknowledge?"""
        return any(space.ack_eliciting_in_flight for space in self._loss.spaces)

    @property
    def is_confirmed(self) -> bool:
        """Has the server accepted our side of the handshake (RFC 9001 section 4.1.2)?"""
        return self._handshake_confirmed

    @property
    def peer_address(self) -> tuple[str, int]:
        """Where the peer's packets come from; it may change (RFC 9000 section 9)."""
        host, port = self._network_paths[0].addr
        return host, port

    @property
    def is_datagram_queue_full(self) -> bool:
        """Would one more datagram push out the oldest?"""
        return len(self._datagrams_pending) == self._datagrams_pending.maxlen

    @property
    def datagrams_waiting(self) -> int:
        """Datagrams that wait for the congestion window."""
        return len(self._datagrams_pending)

    @property
    def can_open_stream(self) -> bool:
        """Does the peer's MAX_STREAMS let us open one more (RFC 9000 section 4.6)?"""
        return self._local_next_stream_id_bidi // 4 < self._remote_max_streams_bidi

    @property
    def max_payload(self) -> int:
        """Octets of UDP payload that certainly fit into one packet.

        One datagram that does not fit stays at the head of aioquic's queue for ever.
        """
        fits = self._max_datagram_size - DATAGRAM_OVERHEAD
        accepted = self._remote_max_datagram_frame_size or 0
        return max(0, min(fits, accepted - 12))  # 12: the DATAGRAM frame's own part of the overhead

    @property
    def peer_certificates(self) -> tuple[Certificate, ...]:
        """The peer's certificate and what it sent with it; () if it sent none."""
        leaf = self.tls._peer_certificate
        return () if leaf is None else (leaf, *self.tls._peer_certificate_chain)

    def unacknowledged(self, stream_id: int) -> int:
        """Octets written to a stream that the peer has not acknowledged: sent or not."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return 0
        sender = stream.sender
        return 0 if sender._reset_error_code is not None else len(sender._buffer)

    def can_write(self, stream_id: int) -> bool:
        """Is our side of a stream open: not ended, not reset, not stopped by the peer?"""
        stream = self._streams.get(stream_id)
        if stream is None:
            return False
        return stream.sender._reset_error_code is None and stream.sender._buffer_fin is None

    def cancel(self, stream_id: int, error_code: int) -> None:
        """End a stream both ways at once (RFC 9000 section 3.5); nothing if it is over."""
        self.reset_stream(stream_id, error_code)
        self.stop(stream_id, error_code)

    def stop(self, stream_id: int, error_code: int) -> None:
        """Ask the peer to send no more on a stream; nothing if it has ended."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.receiver.is_finished:
            self.stop_stream(stream_id, error_code)
