"""The exit's end of a TCP flow.  Owns: dialling, judging the first octets, relaying.
Knows: RFC 9114 section 4.4, Twisted's producers and half-close.  Never: TLS, which policy.

HOLDING   the gate wants to see octets first: the gateway was told yes, nothing is dialled.
DIALLING  the gateway is paused.
OPEN      both ways; the gateway's octets are still held if their verdict is open.
"""

from __future__ import annotations

from typing import Protocol as Typed
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectionDone, ConnectionRefusedError, TimeoutError
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

# zope ships no types; its marker is what makes Twisted report a half-close.
from zope.interface import implementer

from gateway.errors import CarryError
from gateway.model import Action, FlowKey, Transport, Verdict
from gateway.tunnel.http3 import Session
from gateway.tunnel.masque import Refusal, accepted
from gateway.tunnel.means import Means
from gateway.tunnel.reactor import DelayedCall
from gateway.tunnel.stream import StreamTransport


class _TcpTransport(Typed):
    """What is used of Twisted's TCP transport."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def loseWriteConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def stopProducing(self) -> None: ...


@implementer(IHalfCloseableProtocol)
class TcpOutward(Protocol):
    """One flow; it is the protocol of the gateway's stream."""

    def __init__(self, means: Means, session: Session, stream_id: int, key: FlowKey) -> None:
        self._means = means
        self._session = session
        self._stream_id = stream_id
        self._key = key
        self._stream = StreamTransport(means.reactor, session, stream_id, key.destination)
        self._stream.on_activity = self._touch
        self._far: _Far | None = None
        self._dialling: Deferred[IProtocol] | None = None
        self._idle: DelayedCall | None = None
        self._last_s = 0.0
        self._held = b""
        self._kept = bytearray()  # the first octets that were sent on, for the policies to come
        self._is_judged = False
        self._is_accepted = False
        self._is_ended = False  # the gateway said its last octet
        self._verdict: Verdict | None = None

    def open(self, verdict: Verdict) -> None:
        """Carry out the verdict on the request: ALLOW, or one that is not settled."""
        self._verdict = verdict
        self._is_judged = verdict.settled
        self._touch()
        self._idle = self._means.reactor.callLater(self._means.limits.tcp_idle_s, self._look)
        self._means.flows.opened(self)
        self._session.streams[self._stream_id] = self._stream
        self._stream.attach(self)
        if verdict.action is Action.ALLOW:
            self._dial()
        else:
            self._accept()

    # --- what the gateway's stream tells (IProtocol, IHalfCloseableProtocol)

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        if self._is_judged and self._far is not None:
            self._write(self._far, data)
            return
        self._held += data
        if not self._is_judged:
            self._judge()

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""
        self._is_ended = True
        if not self._is_judged:
            self._settle()
        elif self._far is not None:
            self._far.end()

    def writeConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        self._means.flows.closed(self)
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        if self._dialling is not None:
            self._dialling.cancel()
        if self._far is not None:
            self._far.lose(was_clean=isinstance(reason.value, ConnectionDone))

    # --- judging the first octets

    def _judge(self) -> None:
        first = self._held[: self._means.limits.first_octets]
        self._verdict = self._means.judge(self._key, first)
        if self._verdict.settled or len(first) == self._means.limits.first_octets:
            self._settle()

    def _settle(self) -> None:
        assert self._verdict is not None, "open() comes first"
        if self._verdict.action is not Action.ALLOW:
            self._means.counters["streams_blocked"] += 1
            self._stream.abortConnection()
            return
        self._is_judged = True
        if self._far is not None:
            self._release(self._far)
        elif self._dialling is None:
            self._dial()

    def rejudge(self) -> None:
        """End the flow if the policy in force does not allow what it was judged by."""
        limit = self._means.limits.first_octets
        first = (bytes(self._kept) or self._held[:limit] or None) if self._is_judged else None
        self._verdict = verdict = self._means.judge(self._key, first)
        is_holding = self._far is None and self._dialling is None
        if verdict.action is not Action.ALLOW and (verdict.settled or not is_holding):
            self._means.counters["flows_forbidden"] += 1
            self._stream.abortConnection()
        elif first is None and verdict.settled != self._is_judged:
            self._is_judged = verdict.settled  # if not: what comes first now is held and judged
            if self._is_judged:
                self._settle()

    # --- dialling

    def _dial(self) -> None:
        self._stream.pauseProducing()
        try:
            dialled = self._means.reach.address(self._key.destination)
        except CarryError as exc:
            self._fail(Refusal(502, "destination_ip_unroutable", exc.what))
            return
        kind = TCP6ClientEndpoint if len(dialled.address) == 16 else TCP4ClientEndpoint
        endpoint = kind(self._means.reactor, dialled.host, dialled.port, self._means.limits.dial_s)
        far = _Far(self._means, self._stream)
        factory = Factory.forProtocol(lambda: far)
        factory.noisy = False
        self._dialling = endpoint.connect(cast(IProtocolFactory, factory))
        self._dialling.addCallbacks(self._dialled, self._not_dialled, callbackArgs=(far,))

    def _dialled(self, _: IProtocol, far: _Far) -> None:
        self._dialling, self._far = None, far
        self._accept()
        far.relay()
        self._stream.resumeProducing()
        if self._is_judged:
            self._release(far)

    def _not_dialled(self, failure: Failure) -> None:
        self._dialling = None
        match failure.value:
            case ConnectionRefusedError():
                self._fail(Refusal(502, "connection_refused", "the destination refused"))
            case TimeoutError():
                self._fail(Refusal(504, "connection_timeout", "the destination did not answer"))
            case error:
                self._fail(Refusal(502, "destination_unavailable", str(error)))

    def _release(self, far: _Far) -> None:
        held, self._held = self._held, b""
        if held:
            self._write(far, held)
        if self._is_ended:
            far.end()

    def _write(self, far: _Far, data: bytes) -> None:
        room = self._means.limits.first_octets - len(self._kept)
        if room > 0:
            self._kept += data[:room]
        far.write(data)

    def _accept(self) -> None:
        if not self._is_accepted:
            self._is_accepted = True
            self._session.respond(self._stream_id, accepted(Transport.TCP))

    def _fail(self, refusal: Refusal) -> None:
        self._means.counters["streams_not_dialled"] += 1
        if not self._is_accepted:
            self._session.respond(self._stream_id, refusal.headers(self._means.name), end=True)
            self._stream.forgo()
        else:
            self._stream.abortConnection()

    # --- idleness

    def _touch(self) -> None:
        self._last_s = self._means.reactor.seconds()

    def _look(self) -> None:
        left_s = self._last_s + self._means.limits.tcp_idle_s - self._means.reactor.seconds()
        if left_s > 0:
            self._idle = self._means.reactor.callLater(left_s, self._look)
        else:
            self._means.counters["flows_idle"] += 1
            self._stream.abortConnection()


@implementer(IHalfCloseableProtocol)
class _Far(Protocol):
    """The connection to the destination."""

    def __init__(self, means: Means, stream: StreamTransport) -> None:
        self._means = means
        self._stream = stream

    @property
    def _tcp(self) -> _TcpTransport:
        return cast(_TcpTransport, self.transport)

    def relay(self) -> None:
        """Let each side's full buffer pause the other."""
        self._stream.registerProducer(self._tcp, True)
        self._tcp.registerProducer(self._stream, True)

    def write(self, data: bytes) -> None:
        """Send octets to the destination."""
        self._tcp.write(data)

    def end(self) -> None:
        """Send FIN to the destination: the gateway said its last octet."""
        self._tcp.unregisterProducer()
        self._tcp.loseWriteConnection()

    def lose(self, was_clean: bool) -> None:
        """Close: the gateway's stream is gone."""
        self._tcp.unregisterProducer()
        if was_clean:
            self._tcp.loseConnection()
        else:
            self._tcp.abortConnection()

    def connectionMade(self) -> None:
        """IProtocol API."""
        self._means.sockets.opened(self)

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        self._stream.write(data)

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""
        # A producer that has said all must not be resumed: it would read its end again.
        self._stream.unregisterProducer()
        self._stream.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        self._means.sockets.closed(self)
        self._stream.unregisterProducer()
        if isinstance(reason.value, ConnectionDone):
            self._stream.loseConnection()
        else:
            self._stream.abortConnection()
