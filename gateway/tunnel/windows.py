"""How much a peer may send on a stream.  Owns: windows that follow what was read.
Knows: RFC 9000 section 4 (flow control), aioquic 1.7.  Never: what is in a stream, HTTP."""

from __future__ import annotations

from aioquic.quic.connection import MAX_STREAM_DATA_FRAME_CAPACITY, QuicConnection
from aioquic.quic.packet import QuicFrameType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream

# Octets of one stream that a peer may send before we have read them.  Times round trips a second
# it is a stream's speed: 2.5 MB/s at 100 ms.  Times the flows of a connection it is its memory.
STREAM_WINDOW = 256 * 1024


class ReadDriven(QuicConnection):
    """Raises a stream's limit by what was read of it.

    aioquic doubles the limit by what arrived: a reader who stops reading would stop nobody.
    """

    _held: dict[int, int]
    """Octets by stream that came in order and that nobody has read yet."""

    @property
    def held(self) -> int:
        """Octets of all streams that came in order and that nobody has read yet."""
        return sum(self._held.values())

    def hold(self, stream_id: int, octets: int) -> bool:
        """Say how much of a stream came in order and was not read.

        Returns: whether the peer may send more now than before, and should be told.
        """
        if octets:
            self._held[stream_id] = octets
            return False
        return bool(self._held.pop(stream_id, 0))

    def _write_stream_limits(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        """Raise MAX_STREAM_DATA (RFC 9000 section 4.2), half a window at a time."""
        stream_id = stream.stream_id
        if stream_id is None or not self._is_window_due(stream):
            return
        if self._has_read_much(stream):
            stream.max_stream_data_local = self._read_of(stream) + STREAM_WINDOW
        frame = builder.start_frame(
            QuicFrameType.MAX_STREAM_DATA,
            capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
            handler=self._on_max_stream_data_delivery,
            handler_args=(stream,),
        )
        frame.push_uint_var(stream_id)
        frame.push_uint_var(stream.max_stream_data_local)
        stream.max_stream_data_local_sent = stream.max_stream_data_local

    def _is_window_due(self, stream: QuicStream) -> bool:
        """Say whether the peer is to be told of a new limit."""
        if not stream.max_stream_data_local or stream.receiver.is_finished:
            return False
        is_told = stream.max_stream_data_local_sent == stream.max_stream_data_local
        return not is_told or self._has_read_much(stream)

    def _has_read_much(self, stream: QuicStream) -> bool:
        limit = self._read_of(stream) + STREAM_WINDOW
        return limit - stream.max_stream_data_local >= STREAM_WINDOW // 2

    def _read_of(self, stream: QuicStream) -> int:
        held = 0 if stream.stream_id is None else self._held.get(stream.stream_id, 0)
        return stream.receiver.starting_offset() - held
