"""What of aioquic's connection costs too much for us.  Owns: which streams a packet is asked about,
when packets are acknowledged, and writing packets that carry datagrams only.
Knows: aioquic 1.7's connection and builder, RFC 9000 (12, 13, 17.3.1), RFC 9221.
Never: HTTP, sockets, clocks, policy.

Everything here may be left out and the connection works as before, only slower: what is not the
common case goes to aioquic.  tests/tunnel/test_quick.py holds both ways against each other.
"""

from __future__ import annotations

from aioquic._buffer import Buffer
from aioquic.quic.connection import (
    END_STATES,
    NetworkAddress,
    QuicNetworkPath,
    QuicReceiveContext,
)
from aioquic.quic.events import DatagramFrameReceived
from aioquic.quic.packet import QuicFrameType, QuicPacketType, push_ack_frame
from aioquic.quic.packet_builder import (
    QuicDeliveryHandler,
    QuicDeliveryState,
    QuicPacketBuilder,
    QuicSentPacket,
)
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream
from aioquic.tls import Epoch

from gateway.tunnel.padding import PaddedBuilder, padded
from gateway.tunnel.windows import ReadDriven

# A packet is acknowledged by the next that goes the other way, once it is a millisecond old or some
# have gathered; by a packet of its own after 5 ms (we announce 25), or when many have gathered.
# aioquic sends one each millisecond.
_RIDE_S, _RIDE_AT, _ALONE_S, _ALONE_AT = 0.001, 4, 0.005, 16

# What the quick way does not look at (new connection ids, limits of the connection) is seen to
# after this time at the latest.
_FULL_EVERY_S = 0.02

# RFC 9000 section 17.3.1: short header, packet number of two octets.  Section 19: frame types.
_SHORT_HEADER, _NUMBER_LEN, _TAG_LEN = 0x41, 2, 16
_DATAGRAM = 0x31
_FRAME_HEAD_LEN = 3  # type, and a length of two octets
_ACK_LEN = 64
"""Octets that an acknowledgement may take beside datagrams; older ranges are left out."""

_Handlers = list[tuple[QuicDeliveryHandler, tuple[object, ...]]]
_Sent = list[tuple[bytes, NetworkAddress]]


class Quick(ReadDriven):
    """A connection that spends little on a datagram, however many flows are open."""

    def _begin_quick(self) -> None:
        self._ack_delay = _ALONE_S
        self._unacknowledged = 0
        """Packets that wait for our acknowledgement."""
        self._full_s = 0.0
        """When aioquic itself last wrote what there was."""
        self._quiet: set[int] = set()
        """Streams that have nothing to send, nothing unacknowledged and no window to raise, and so
        are not in the library's queue: it goes through all of that, several times a packet."""

    @property
    def has_to_send(self) -> bool:
        """Is there anything that should not wait for the timer?

        What is not looked at here (connection ids, limits) comes with packets that have to be
        acknowledged, and goes with the acknowledgement.
        """
        return bool(
            self._datagrams_pending
            or self._streams_queue
            or self._unacknowledged >= _ALONE_AT
            or not self._handshake_confirmed
            or self._close_pending
            or self._ping_pending
            or self._probe_pending
        )

    # --- packets that come

    def receive_datagram(self, data: bytes, addr: NetworkAddress, now: float) -> None:
        """Count what is to be acknowledged."""
        super().receive_datagram(data, addr, now)
        self._unacknowledged += self._spaces[Epoch.ONE_RTT].ack_at is not None

    def _payload_received(
        self, context: QuicReceiveContext, plain: bytes, crypto_frame_required: bool = False
    ) -> tuple[bool, bool]:
        """Read DATAGRAM frames at the beginning of a packet, and leave the rest to aioquic."""
        at = 0
        if context.epoch is Epoch.ONE_RTT and self._configuration.max_datagram_frame_size:
            at = self._read_datagrams(plain)
        if at == len(plain) > 0:
            return True, False
        is_eliciting, is_probing = super()._payload_received(
            context, plain[at:] if at else plain, crypto_frame_required
        )
        return is_eliciting or at > 0, is_probing and not at

    def _read_datagrams(self, plain: bytes) -> int:
        """Take DATAGRAM frames whose length is written in one or two octets, and padding behind.

        Returns: where something else begins.
        """
        at, end = 0, len(plain)
        while end - at > _FRAME_HEAD_LEN and plain[at] == _DATAGRAM:
            length, head = plain[at + 1], 2
            if length >= 0x40:
                if length >= 0x80:
                    return at
                length, head = (length & 0x3F) << 8 | plain[at + 2], 3
            stop = at + head + length
            if stop > end:
                return at
            self._events.append(DatagramFrameReceived(data=plain[at + head : stop]))
            at = stop
        if at and not plain[at:].strip(b"\0"):
            return end
        return at

    def _handle_padding_frame(
        self, context: QuicReceiveContext, frame_type: int, buf: Buffer
    ) -> None:
        """Skip what is padded; aioquic would look at each octet."""
        end = buf.capacity
        buf.seek(end - len(buf.data_slice(buf.tell(), end).lstrip(b"\0")))

    # --- packets that carry datagrams only

    def datagrams_to_send(self, now: float) -> _Sent:
        """Write what the congestion window allows: datagrams the quick way, then all else."""
        sent: _Sent = []
        self._pacing_at = None
        while self._datagrams_pending and self._may_write_plain(now):
            sent.append(self._write_plain(self._spaces[Epoch.ONE_RTT], now))
        if not sent or self._datagrams_pending or self._has_more(now):
            self._full_s = now
            sent += super().datagrams_to_send(now)
        return sent

    def _may_write_plain(self, now: float) -> bool:
        """Say whether a packet may be written just now that has nothing but datagrams."""
        recovery = self._loss
        return bool(
            self._handshake_confirmed
            and self._network_paths[0].is_validated
            and self._state not in END_STATES
            and not self._close_pending
            and self._quic_logger is None
            and len(self._datagrams_pending[0]) + _FRAME_HEAD_LEN <= self._room
            and recovery.congestion_window - recovery.bytes_in_flight >= self._max_datagram_size
            and recovery._pacer.next_send_time(now=now) is None
        )

    @property
    def _room(self) -> int:
        """Octets for frames in one packet."""
        overhead = 1 + len(self._peer_cid.cid) + _NUMBER_LEN + _TAG_LEN
        return self._max_datagram_size - overhead

    def _has_more(self, now: float) -> bool:
        """Say whether something else than datagrams is to be sent, or may be: it is not looked at
        with each packet."""
        return bool(
            now - self._full_s >= _FULL_EVERY_S
            or self._streams_queue
            or self._ping_pending
            or self._probe_pending
        )

    def _write_plain(self, space: QuicPacketSpace, now: float) -> tuple[bytes, NetworkAddress]:
        """Write one packet with as many datagrams as fit, the oldest first."""
        crypto, path = self._cryptos[Epoch.ONE_RTT], self._network_paths[0]
        number = self._packet_number
        first = _SHORT_HEADER | self._spin_bit << 5 | crypto.key_phase << 2
        header = bytes((first,)) + self._peer_cid.cid + (number & 0xFFFF).to_bytes(2, "big")
        room = self._room
        handlers: _Handlers = []
        frames = self._datagram_frames(room)
        taken = sum(map(len, frames))
        if self._does_ack_ride(space, now) and room - taken >= _ACK_LEN:
            frames.append(self._ack_frame(space, now, handlers))
            taken += len(frames[-1])
        octets = len(header) + taken + _TAG_LEN
        frames.append(bytes(min(padded(octets), self._max_datagram_size) - octets))
        data = crypto.encrypt_packet(header, b"".join(frames), number)
        packet = QuicSentPacket(
            epoch=Epoch.ONE_RTT,
            in_flight=True,
            is_ack_eliciting=True,
            is_crypto_packet=False,
            packet_number=number,
            packet_type=QuicPacketType.ONE_RTT,
            sent_time=now,
            sent_bytes=len(data),
            delivery_handlers=handlers,
        )
        self._loss.on_packet_sent(packet=packet, space=space)
        self._loss._pacer.update_after_send(now=now)
        if not self._ack_eliciting_sent_since_receipt:  # RFC 9000 section 10.1
            self._close_at = now + self._idle_timeout()
            self._ack_eliciting_sent_since_receipt = True
        self._packet_number = number + 1
        path.bytes_sent += len(data)
        return data, path.addr

    def _datagram_frames(self, room: int) -> list[bytes]:
        """Take datagrams off the queue, as many as fit."""
        frames: list[bytes] = []
        pending = self._datagrams_pending
        while pending and (length := len(pending[0])) + _FRAME_HEAD_LEN <= room:
            head = _DATAGRAM << 16 | 0x4000 | length
            frames += (head.to_bytes(3, "big"), pending.popleft())
            room -= length + _FRAME_HEAD_LEN
        return frames

    def _ack_frame(self, space: QuicPacketSpace, now: float, handlers: _Handlers) -> bytes:
        """Acknowledge what came (RFC 9000 section 19.3)."""
        assert space.largest_received_time is not None, "something came"
        delay = int((now - space.largest_received_time) * 1e6) >> self._local_ack_delay_exponent
        buffer = Buffer(capacity=_ACK_LEN)
        buffer.push_uint_var(QuicFrameType.ACK)
        push_ack_frame(buffer, space.ack_queue, delay, _ACK_LEN - 1)
        handlers.append((self._on_ack_delivery, (space, space.largest_received_packet)))
        space.ack_at = None
        self._unacknowledged = 0
        return buffer.data

    def _does_ack_ride(self, space: QuicPacketSpace, now: float) -> bool:
        """Say whether what is sent now should carry an acknowledgement."""
        if space.ack_at is None:
            return False
        is_old = space.ack_at - now <= _ALONE_S - _RIDE_S
        return is_old or self._unacknowledged >= _RIDE_AT

    # --- packets that aioquic writes

    def _write_application(
        self, builder: QuicPacketBuilder, network_path: QuicNetworkPath, now: float
    ) -> None:
        """Have aioquic ask the streams in its queue; it would go through all that are open."""
        builder.__class__ = PaddedBuilder  # aioquic makes builders by name: there is no other door
        self._let_ack_ride(now)
        every, asked = self._streams, self._asked()
        self._streams = left = dict(asked)
        try:
            super()._write_application(builder, network_path, now)
        finally:
            self._streams = every
            for finished in asked.keys() - left.keys():
                del every[finished]
            self._quieten()

    def _flush_builder(
        self,
        builder: QuicPacketBuilder,
        network_path: QuicNetworkPath,
        peer_cid: bytes,
        now: float,
    ) -> _Sent:
        builder.__class__ = PaddedBuilder  # of a goodbye nothing was ended yet
        return super()._flush_builder(builder, network_path, peer_cid, now)

    def _write_ack_frame(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, now: float
    ) -> None:
        super()._write_ack_frame(builder, space, now)
        self._unacknowledged = 0

    def _let_ack_ride(self, now: float) -> None:
        space = self._spaces[Epoch.ONE_RTT]
        goes = self._datagrams_pending and self._does_ack_ride(space, now)
        if space.ack_at is not None and (goes or self._unacknowledged >= _ALONE_AT):
            space.ack_at = min(space.ack_at, now)

    # --- streams with nothing to do

    def hold(self, stream_id: int, octets: int) -> bool:
        """ReadDriven API."""
        is_news = super().hold(stream_id, octets)
        if is_news:
            self._wake(stream_id)
        return is_news

    def stop_stream(self, stream_id: int, error_code: int) -> None:
        """QuicConnection API."""
        self._wake(stream_id)
        super().stop_stream(stream_id, error_code)

    def _get_or_create_stream(self, frame_type: int, stream_id: int) -> QuicStream:
        stream = super()._get_or_create_stream(frame_type, stream_id)
        self._wake(stream_id)
        return stream

    def _get_or_create_stream_for_send(self, stream_id: int) -> QuicStream:
        stream = super()._get_or_create_stream_for_send(stream_id)
        self._wake(stream_id)
        return stream

    def _on_max_stream_data_delivery(self, delivery: QuicDeliveryState, stream: QuicStream) -> None:
        super()._on_max_stream_data_delivery(delivery, stream)
        if stream.stream_id is not None:
            self._wake(stream.stream_id)

    def _wake(self, stream_id: int) -> None:
        """Have a stream looked at with the next packet: something happened to it."""
        if stream_id in self._quiet:
            self._quiet.remove(stream_id)
            self._streams_queue.append(self._streams[stream_id])

    def _asked(self) -> dict[int, QuicStream]:
        queue = self._streams_queue
        return {one.stream_id: one for one in queue if one.stream_id is not None}

    def _quieten(self) -> None:
        quiet = {name for name, one in self._asked().items() if self._is_quiet(one)}
        self._quiet |= quiet
        self._streams_queue = [one for one in self._streams_queue if one.stream_id not in quiet]

    def _is_quiet(self, stream: QuicStream) -> bool:
        """Say whether nothing can be to do for a stream before `_wake` is called for it."""
        sender, receiver = stream.sender, stream.receiver
        if stream.is_finished:  # aioquic is to discard it
            return False
        is_sending = not sender.is_finished and (
            sender._buffer or sender._buffer_fin is not None or sender._reset_error_code is not None
        )
        is_stopping = not receiver.is_finished and receiver._stop_error_code is not None
        return not (is_sending or is_stopping or self._is_window_due(stream))
