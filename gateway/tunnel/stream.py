"""An HTTP/3 stream as a Twisted transport.  Owns: half-close and back-pressure both ways.
Knows: ITransport, IConsumer, IPushProducer, IHalfCloseableProtocol; RFC 9114 section 4.4.
Never: requests, policy, which end it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IPushProducer,
    ITransport,
)
from twisted.python.failure import Failure

# zope ships no types; its marker is what makes a producer or a transport of a class.
from zope.interface import implementer

from gateway.model import Endpoint
from gateway.tunnel.http3 import Session
from gateway.tunnel.masque import Headers
from gateway.tunnel.reactor import ByteProtocol, Clock, HalfCloseable, Producer

# A writer that does not stop when it is told to is cut off here, not when memory ends.
_MAX_UNACKNOWLEDGED = 16 * 1024 * 1024


@implementer(ITransport, IConsumer, IPushProducer)
class StreamTransport:
    """Both halves of one stream; a Stream to the session, a transport to its protocol."""

    disconnecting = False

    def __init__(self, clock: Clock, session: Session, stream_id: int, peer: Endpoint) -> None:
        self._clock = clock
        self._session = session
        self._stream_id = stream_id
        self._peer = peer
        self._protocol: ByteProtocol | None = None
        self._producer: Producer | None = None
        self._unread = bytearray()
        self._is_paused = False
        self._is_ended_by_peer = False  # FIN came, perhaps behind what is unread
        self._is_read_over = False  # nothing more is delivered
        self._is_write_over = False  # FIN went out, or the peer wants no more
        self._is_over = False
        self.on_activity: Callable[[], None] = lambda: None

    def attach(self, protocol: ByteProtocol) -> None:
        """Give the protocol its transport; what came before is delivered to it."""
        self._protocol = protocol
        protocol.makeConnection(self)
        self._deliver()

    # --- what the session tells (http3.Stream)

    def headers_received(self, headers: Headers) -> None:
        """Ignore trailers: a tunnel has none."""

    def datagram_received(self, payload: bytes) -> None:
        """Count a datagram that nobody can want: a TCP flow has none."""
        self._session.counters["datagrams_to_streams"] += 1

    def data_received(self, data: bytes, ended: bool) -> None:
        """Deliver, or hold while the reader pauses: the peer's window shrinks by what is held."""
        self.on_activity()
        self._is_ended_by_peer = self._is_ended_by_peer or ended
        if self._is_read_over:
            return
        self._unread += data
        self._deliver()

    def stop_requested(self) -> None:
        """End our half: the peer does not read any more."""
        self._is_write_over = True
        if self._producer is not None:
            # Not stopProducing: that would close a socket whose other direction may go on.
            self._producer.pauseProducing()
        self._finish_if_over()

    def drained(self) -> None:
        """Let the producer go on."""
        self.on_activity()
        if self._producer is not None:
            self._producer.resumeProducing()

    def closed(self, reason: str) -> None:
        """End both halves: reset, or the tunnel went down."""
        self._lose(_failure(ConnectionLost(reason)))

    # --- what the protocol asks (ITransport, IConsumer)

    def write(self, data: bytes) -> None:
        """ITransport API."""
        if self._is_write_over or not data:
            return
        self.on_activity()
        has_room = self._session.send_data(self._stream_id, data)
        if has_room:
            return
        if self._session.connection.unacknowledged(self._stream_id) > _MAX_UNACKNOWLEDGED:
            self.abortConnection()
        elif self._producer is not None:
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """ITransport API."""
        self.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        """ITCPTransport API: send FIN; the other half goes on."""
        if self._is_write_over:
            return
        self._is_write_over = True
        self._session.send_data(self._stream_id, b"", end=True)
        self._clock.callLater(0, self._write_lost)

    def loseConnection(self) -> None:
        """ITransport API: send what was written, then FIN; read no more."""
        if self._is_over or self.disconnecting:
            return
        self.disconnecting = self._is_read_over = True
        self._unread.clear()
        self._session.hold(self._stream_id, 0)
        if self._producer is None:
            self._lose_gently()

    def abortConnection(self) -> None:
        """ITCPTransport API: reset the stream; what was written may be lost."""
        if not self._is_over:
            self._is_read_over = self._is_write_over = True
            self._session.cancel(self._stream_id)
            self._clock.callLater(0, self._lose, _failure(ConnectionAborted()))

    def forgo(self) -> None:
        """Be over: the request was refused, and its refusal ends our half."""
        self._session.stop(self._stream_id)
        self._lose(_failure(ConnectionAborted()))

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """IConsumer API, for push producers."""
        if self._producer is not None or not streaming:
            raise RuntimeError("one producer at a time, and only one that can be paused")
        pausable = cast(Producer, producer)
        if self._is_write_over or self._is_over:
            pausable.stopProducing()
            return
        self._producer = pausable

    def unregisterProducer(self) -> None:
        """IConsumer API."""
        self._producer = None
        if self.disconnecting:
            self._lose_gently()

    def getPeer(self) -> IPv4Address | IPv6Address:
        """Give the far end of the flow, as it was asked for."""
        return address_of(self._peer)

    def getHost(self) -> IPv4Address | IPv6Address:
        """Give the same: a stream has no address of its own."""
        return address_of(self._peer)

    # --- reading (IPushProducer)

    def pauseProducing(self) -> None:
        """IPushProducer API."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """IPushProducer API."""
        if self._is_paused:
            self._is_paused = False
            self._clock.callLater(0, self._deliver)

    def stopProducing(self) -> None:
        """IPushProducer API."""
        self.loseConnection()

    def _deliver(self) -> None:
        if self._protocol is None or self._is_paused or self._is_read_over:
            self._session.hold(self._stream_id, 0 if self._is_read_over else len(self._unread))
            return
        data, self._unread = bytes(self._unread), bytearray()
        self._session.hold(self._stream_id, 0)
        if data:
            self._protocol.dataReceived(data)
        if self._is_ended_by_peer and not self._unread and not self._is_read_over:
            self._read_lost()

    def _read_lost(self) -> None:
        self._is_read_over = True
        half_closeable = self._half_closeable()
        if half_closeable is None:
            self.loseConnection()
        else:
            half_closeable.readConnectionLost()
            self._finish_if_over()

    def _write_lost(self) -> None:
        if self._is_over:
            return
        half_closeable = self._half_closeable()
        if half_closeable is not None:
            half_closeable.writeConnectionLost()
        self._finish_if_over()

    def _half_closeable(self) -> HalfCloseable | None:
        is_one = IHalfCloseableProtocol.providedBy(self._protocol)
        return cast(HalfCloseable, self._protocol) if is_one else None

    def _finish_if_over(self) -> None:
        if self._is_read_over and self._is_write_over:
            self._lose(_failure(ConnectionDone()))

    def _lose_gently(self) -> None:
        if not self._is_write_over:
            self._is_write_over = True
            self._session.send_data(self._stream_id, b"", end=True)
        if not self._is_ended_by_peer:
            self._session.stop(self._stream_id)
        # In the next turn: a protocol does not expect its end inside its own call.
        self._clock.callLater(0, self._lose, _failure(ConnectionDone()))

    def _lose(self, reason: Failure) -> None:
        if self._is_over:
            return
        self._is_over = self._is_read_over = self._is_write_over = True
        self._unread.clear()
        self._session.forget(self._stream_id)
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connectionLost(reason)


def address_of(endpoint: Endpoint) -> IPv4Address | IPv6Address:
    """Give an endpoint of TCP as Twisted names it."""
    kind = IPv6Address if len(endpoint.address) == 16 else IPv4Address
    return kind("TCP", endpoint.host, endpoint.port)


def _failure(error: Exception) -> Failure:
    return Failure(error)  # type: ignore[no-untyped-call]  # Twisted has not typed it
