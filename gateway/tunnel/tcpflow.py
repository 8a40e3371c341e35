"""TCP flows through a tunnel.  Owns: the endpoint that opens one.
Knows: RFC 9114 section 4.4 (CONNECT), IStreamClientEndpoint.  Never: sockets, policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint

# zope ships no types; its marker says what the class is.
from zope.interface import implementer

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.http3 import Session
from gateway.tunnel.masque import Headers, connect_tcp, read_status
from gateway.tunnel.reactor import ByteFactory, Clock
from gateway.tunnel.stream import StreamTransport, address_of


class _Asking:
    """A stream whose answer is awaited; then StreamTransport takes its place."""

    def __init__(
        self,
        clock: Clock,
        session: Session,
        destination: Endpoint,
        exit_name: str,
        timeout_s: float,
    ) -> None:
        self.answered: Deferred[StreamTransport] = Deferred(self._cancel)
        self._clock = clock
        self._session = session
        self._destination = destination
        self._exit_name = exit_name
        self._stream_id = session.request(connect_tcp(destination), self)
        self._deadline = clock.callLater(timeout_s, self._fail, "the exit did not answer in time")

    def headers_received(self, headers: Headers) -> None:
        """Read the exit's answer."""
        status, details = read_status(headers)
        if status < 200:
            return
        if status >= 300:
            self._session.counters["flows_refused"] += 1
            self._fail(f"the exit refused with {status}" + (f" ({details})" if details else ""))
            return
        self._deadline.cancel()
        stream = StreamTransport(self._clock, self._session, self._stream_id, self._destination)
        self._session.streams[self._stream_id] = stream
        self.answered.callback(stream)

    def data_received(self, data: bytes, ended: bool) -> None:
        """Refuse an end without an answer; aioquic lets no data come before it."""
        if ended:
            self._fail("the exit ended the flow")

    def datagram_received(self, payload: bytes) -> None:
        """Count it: a TCP flow has none."""
        self._session.counters["datagrams_to_streams"] += 1

    def stop_requested(self) -> None:
        """Await the answer: it says more."""

    def drained(self) -> None:
        """Do nothing: nothing was written."""

    def closed(self, reason: str) -> None:
        """Pass the end on."""
        self._fail(reason)

    def _fail(self, reason: str) -> None:
        if not self.answered.called:
            self._give_up()
            self.answered.errback(CarryError(self._exit_name, reason))

    def _cancel(self, _: Deferred[StreamTransport]) -> None:
        self._give_up()

    def _give_up(self) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        self._session.cancel(self._stream_id)


@implementer(IStreamClientEndpoint)
class StreamEndpoint:
    """A TCP destination behind an exit.  Made by Tunnel.stream_endpoint."""

    def __init__(
        self,
        clock: Clock,
        session: Callable[[], Session],
        destination: Endpoint,
        exit_name: str,
        timeout_s: float,
    ) -> None:
        self._clock = clock
        self._session = session
        self._destination = destination
        self._exit_name = exit_name
        self._timeout_s = timeout_s

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """IStreamClientEndpoint API.

        The Deferred fails with CarryError: the tunnel is down, the exit refuses or does not answer.
        """
        try:
            session = self._session()
        except CarryError as exc:
            return fail(exc)
        asking = _Asking(self._clock, session, self._destination, self._exit_name, self._timeout_s)
        return asking.answered.addCallback(self._attach, factory)

    def _attach(self, stream: StreamTransport, factory: IProtocolFactory) -> IProtocol:
        protocol = cast(ByteFactory, factory).buildProtocol(address_of(self._destination))
        if protocol is None:
            stream.abortConnection()
            raise CarryError(self._exit_name, "nobody wants the connection any more")
        stream.attach(protocol)
        return cast(IProtocol, protocol)
