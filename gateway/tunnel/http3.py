"""One HTTP/3 connection, either role.  Owns: from QUIC events to streams and datagrams, and back.
Knows: RFC 9114, RFC 9297 (HTTP datagrams), aioquic.h3.
Never: sockets, which role it plays, policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

from aioquic.h3.connection import ErrorCode, H3Connection, Setting
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.events import (
    ConnectionIdIssued,
    ConnectionIdRetired,
    ConnectionTerminated,
    DatagramFrameReceived,
    HandshakeCompleted,
    QuicEvent,
    StopSendingReceived,
    StreamReset,
)
from twisted.logger import Logger

from gateway.tunnel.datagrams import heading, read
from gateway.tunnel.driver import Driver
from gateway.tunnel.masque import Headers
from gateway.tunnel.quic import Connection
from gateway.tunnel.reactor import Address, Clock

_log = Logger(namespace="gateway.tunnel")

# Octets of a stream that wait for acknowledgement before its writer is told to pause, and those at
# which it may go on: a few round trips' worth, and no more memory than a socket's own buffer.
PAUSE_AT = 256 * 1024
RESUME_AT = 64 * 1024


class Stream(Protocol):
    """One request stream, as its side of it sees it."""

    def headers_received(self, headers: Headers) -> None: ...
    def data_received(self, data: bytes, ended: bool) -> None: ...
    def datagram_received(self, payload: bytes) -> None: ...
    def stop_requested(self) -> None:
        """Take note that the peer wants no more of what we send."""

    def drained(self) -> None:
        """Write on: most of what was written has been acknowledged."""

    def closed(self, reason: str) -> None:
        """Take note of the end: reset by the peer, or its connection is over."""


class Owner(Protocol):
    """Whoever plays the role: the tunnel of a gateway, or an exit's view of a gateway."""

    def handshake_completed(self) -> None: ...
    def settings_received(self) -> None: ...
    def request_received(self, stream_id: int, headers: Headers) -> None: ...
    def cid_issued(self, cid: bytes) -> None: ...
    def cid_retired(self, cid: bytes) -> None: ...
    def terminated(self, event: ConnectionTerminated) -> None: ...


class _Http3(H3Connection):
    def _get_local_settings(self) -> dict[int, int]:
        # aioquic announces HTTP datagrams with WebTransport only; RFC 9298 needs them alone.
        settings = super()._get_local_settings()
        settings[Setting.H3_DATAGRAM] = 1
        return settings

    def forget_sending(self, stream_id: int) -> None:
        """Take note of a reset by us, or the stream's state would never be freed."""
        if stream_id in self._stream:
            with self._get_or_create_stream(stream_id) as stream:
                stream.sending_ended = True


class Session:
    """HTTP/3 over one QUIC connection on the reactor."""

    def __init__(
        self,
        clock: Clock,
        connection: Connection,
        transmit: Callable[[bytes, Address], None],
        owner: Owner,
        counters: Counter[str],
    ) -> None:
        self.connection = connection
        self.driver = Driver(clock, connection, transmit, self._on_event, self._after_events)
        self.counters = counters
        self.streams: dict[int, Stream] = {}
        self.is_over = False
        self._owner = owner
        self._http: _Http3 | None = None
        self._full: set[int] = set()

    def begin(self) -> None:
        """Begin to speak HTTP/3: a client at once, a server when it knows its peer."""
        self._http = _Http3(self.connection)

    @property
    def http(self) -> _Http3:
        assert self._http is not None, "begin() comes first"
        return self._http

    @property
    def does_connect_udp(self) -> bool:
        """Did the peer's SETTINGS say what RFC 9298 needs?"""
        settings = (self._http and self._http.received_settings) or {}
        wanted = (Setting.H3_DATAGRAM, Setting.ENABLE_CONNECT_PROTOCOL)
        return all(settings.get(setting) == 1 for setting in wanted)

    @property
    def has_settings(self) -> bool:
        """Are the peer's SETTINGS in?"""
        return self._http is not None and self._http.received_settings is not None

    def request(self, headers: Headers, stream: Stream) -> int:
        """Open a stream with a request; its events go to `stream`."""
        stream_id = self.connection.get_next_available_stream_id()
        self.http.send_headers(stream_id, headers)
        self.streams[stream_id] = stream
        self.driver.wake()
        return stream_id

    def respond(self, stream_id: int, headers: Headers, end: bool = False) -> None:
        """Answer a request; nothing if the peer does not want to know any more."""
        if not self.connection.can_write(stream_id):
            return
        self.http.send_headers(stream_id, headers, end_stream=end)
        self.driver.wake()

    def send_datagram(self, stream_id: int, payload: bytes) -> bool:
        """Send one UDP payload; False: it is too long, which is counted."""
        connection, counters = self.connection, self.counters
        if len(payload) > connection.max_payload:
            counters["datagrams_too_long"] += 1
            return False
        if connection.is_datagram_queue_full:
            counters["datagrams_overflowed"] += 1  # the oldest makes room for this one
        connection.send_datagram_frame(heading(stream_id) + payload)
        counters["datagrams_sent"] += 1
        self.driver.wake()
        return True

    def send_data(self, stream_id: int, data: bytes, end: bool = False) -> bool:
        """Write to a stream; False: its writer should pause until drained().

        Nothing is written if the peer asked us to stop: stop_requested() follows, if it has not.
        """
        if not self.connection.can_write(stream_id):
            return True
        self.http.send_data(stream_id, data, end)
        self.driver.wake()
        if self.connection.unacknowledged(stream_id) < PAUSE_AT:
            return True
        self._full.add(stream_id)
        return False

    def hold(self, stream_id: int, octets: int) -> None:
        """Say how much of a stream arrived and is not read: the peer's window shrinks by it."""
        if self.connection.hold(stream_id, octets):
            self.driver.wake()

    def stop(self, stream_id: int) -> None:
        """Ask the peer to send no more on a stream."""
        self.connection.stop(stream_id, ErrorCode.H3_NO_ERROR)
        self.driver.wake()

    def cancel(self, stream_id: int, error_code: int = ErrorCode.H3_REQUEST_CANCELLED) -> None:
        """End a stream at once, both ways."""
        self.forget(stream_id)
        self.http.forget_sending(stream_id)
        self.connection.cancel(stream_id, error_code)
        self.driver.wake()

    def forget(self, stream_id: int) -> None:
        """Deliver no more events of a stream."""
        self.streams.pop(stream_id, None)
        self.connection.hold(stream_id, 0)
        self._full.discard(stream_id)

    def close(self, error_code: int, reason: str, frame_type: int | None = None) -> None:
        """Send what waits, then say goodbye; terminated() follows after the closing period."""
        self.driver.flush()
        self.connection.close(error_code, frame_type, reason)
        self.driver.flush()

    def end(self, reason: str) -> None:
        """Tell every stream that it is over; nothing is sent or received any more."""
        self.is_over = True
        self.driver.stop()
        streams, self.streams = tuple(self.streams.values()), {}
        self._full.clear()
        for stream in streams:
            try:
                stream.closed(reason)
            except Exception:
                _log.failure("a defect of ours, at the end of a flow")

    def ping(self) -> None:
        """Make the peer answer, so that silence means that it is gone."""
        self.connection.send_ping(0)
        self.driver.wake()

    def _on_event(self, event: QuicEvent) -> None:
        if self._http is not None:
            if type(event) is DatagramFrameReceived:  # nearly all are
                self._on_datagram(event)
                return
            for http_event in self._http.handle_event(event):
                try:
                    self._on_http(http_event)
                except Exception:
                    self._fault(getattr(http_event, "stream_id", None))
        match event:
            case StreamReset():
                self._close_stream(event.stream_id, "the peer reset the stream")
            case StopSendingReceived():
                if (stream := self.streams.get(event.stream_id)) is not None:
                    stream.stop_requested()
            case HandshakeCompleted():
                self._owner.handshake_completed()
            case ConnectionIdIssued():
                self._owner.cid_issued(event.connection_id)
            case ConnectionIdRetired():
                self._owner.cid_retired(event.connection_id)
            case ConnectionTerminated():
                self._terminate(event)

    def _on_http(self, event: H3Event) -> None:
        match event:
            case DataReceived():
                if (stream := self.streams.get(event.stream_id)) is not None:
                    stream.data_received(event.data, event.stream_ended)
            case HeadersReceived():
                self._on_headers(event)

    def _fault(self, stream_id: int | None) -> None:
        # Whoever takes a flow's octets has a defect: that flow ends, the others go on.
        _log.failure("a defect of ours: the flow is ended")
        if stream_id is not None:
            self._close_stream(stream_id, "a defect of ours")

    def _on_headers(self, event: HeadersReceived) -> None:
        stream = self.streams.get(event.stream_id)
        if stream is not None:
            stream.headers_received(event.headers)
        elif any(name == b":method" for name, _ in event.headers):  # else: trailers, too late
            self._owner.request_received(event.stream_id, event.headers)
            stream = self.streams.get(event.stream_id)
        if event.stream_ended and event.stream_id in self.streams and stream is not None:
            stream.data_received(b"", True)

    def _on_datagram(self, event: DatagramFrameReceived) -> None:
        found = read(event.data)
        if found is None:  # the library closes the connection for it
            self.http.handle_event(event)
            return
        stream_id, payload = found
        stream = self.streams.get(stream_id)
        if stream is None:
            self.counters["datagrams_without_flow"] += 1
        elif payload is None:
            self.counters["datagrams_of_other_context"] += 1
        else:
            self.counters["datagrams_received"] += 1
            try:
                stream.datagram_received(payload)
            except Exception:
                self._fault(stream_id)

    def _after_events(self) -> None:
        if self.has_settings:
            self._owner.settings_received()
        for stream_id in tuple(self._full):
            is_low = self.connection.unacknowledged(stream_id) <= RESUME_AT
            if is_low and stream_id in self._full:
                self._full.discard(stream_id)
                self.streams[stream_id].drained()

    def _close_stream(self, stream_id: int, reason: str) -> None:
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.cancel(stream_id)
            stream.closed(reason)

    def _terminate(self, event: ConnectionTerminated) -> None:
        self.end(event.reason_phrase or "the tunnel is closed")
        self._owner.terminated(event)
