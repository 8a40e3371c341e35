"""One connection to a proxy.  Owns: asking it, and then handing the stream over; half-close in TLS.
Knows: Twisted's TCP and TLS transports, RFC 8446 section 6.1.  Never: which proxy, dialling."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, cast

from OpenSSL.SSL import Error as TlsError
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

# zope ships no types; its marker says what the class is.
from zope.interface import implementer

from gateway.errors import CarryError
from gateway.tunnel.asking import Asking
from gateway.tunnel.reactor import ByteProtocol, HalfCloseable


class _Transport(Protocol):
    """The part of ITCPTransport that is used."""

    disconnecting: bool

    def write(self, data: bytes, /) -> object: ...
    def loseConnection(self) -> object: ...
    def abortConnection(self) -> object: ...


@implementer(IHalfCloseableProtocol, IHandshakeListener)
class ProxyStream(TwistedProtocol):
    """Asks, and is then a thin layer between the transport and whoever wanted the stream."""

    def __init__(
        self,
        name: str,
        asking: Asking | None,
        *,
        is_tls: bool,
        opened: Callable[[ProxyStream], None],
        closed: Callable[[ProxyStream], None],
    ) -> None:
        """Prepare.

        Args:    asking: None: only see whether the proxy answers; opened, closed: told when there
                 is a connection, and when there is none any more.
        """
        self.answered: Deferred[ProxyStream] = Deferred(lambda _: self.abort())
        """Fires when the stream begins; fails with CarryError."""
        self._name = name
        self._asking = asking
        self._is_tls = is_tls
        self._opened, self._closed = opened, closed
        self._inner: ByteProtocol | None = None

    def abort(self) -> None:
        """Cut it."""
        transport = cast("_Transport | None", self.transport)
        if transport is not None:
            transport.abortConnection()

    def attach(self, inner: ByteProtocol) -> None:
        """Hand the stream over."""
        assert self._inner is None, "a stream has one reader"
        self._inner = inner
        inner.makeConnection(self.transport)
        rest = b"" if self._asking is None else self._asking.rest
        if rest and not self._tcp.disconnecting:
            inner.dataReceived(rest)

    # --- what the transport tells

    def connectionMade(self) -> None:
        """IProtocol API."""
        self._opened(self)
        if not self._is_tls:
            self._begin()

    def handshakeCompleted(self) -> None:
        """IHandshakeListener API: also called where the name in the certificate is another."""
        if not self._tcp.disconnecting:
            self._begin()

    def dataReceived(self, data: bytes) -> None:
        """IProtocol API."""
        if self._inner is not None:
            self._inner.dataReceived(data)
        elif self._asking is not None and not self.answered.called:
            try:
                self._tcp.write(self._asking.receive(data))
            except CarryError as error:
                self._fail(error)
            else:
                self._finish_asking()

    def readConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""
        if IHalfCloseableProtocol.providedBy(self._inner):
            cast(HalfCloseable, self._inner).readConnectionLost()
        elif self._inner is not None:
            self._tcp.loseConnection()
        else:
            self._fail(CarryError(self._name, "the proxy ended the connection"))

    def writeConnectionLost(self) -> None:
        """IHalfCloseableProtocol API."""
        if IHalfCloseableProtocol.providedBy(self._inner):
            cast(HalfCloseable, self._inner).writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """IProtocol API."""
        inner, self._inner = self._inner, None
        try:
            if inner is not None:
                inner.connectionLost(reason)
            elif not self.answered.called:
                self.answered.errback(CarryError(self._name, sentence_of(reason.value)))
        finally:
            self._closed(self)

    # --- asking

    @property
    def _tcp(self) -> _Transport:
        return cast(_Transport, self.transport)

    def _begin(self) -> None:
        if self._asking is not None:
            self._tcp.write(self._asking.begin())
        elif not self.answered.called:
            self.answered.callback(self)

    def _finish_asking(self) -> None:
        if self._asking is not None and self._asking.is_done and not self.answered.called:
            self.answered.callback(self)

    def _fail(self, error: CarryError) -> None:
        if not self.answered.called:
            self.answered.errback(error)
        self.abort()


class _HalfClosingTls(TLSMemoryBIOProtocol):
    """TLS that can say that no more comes, and listen on; Twisted's own would cut the octets."""

    def loseWriteConnection(self) -> None:
        """ITCPTransport API: send close_notify (TLS 1.3: one direction ends, the other does not).

        Asked only of a stream that was handed over: the handshake is behind it, and OpenSSL has
        taken all that was written.
        """
        transport = cast("_Transport | None", self.transport)
        if self.disconnecting or transport is None or not self.connected:
            return
        tls = self.getHandle()  # type: ignore[no-untyped-call]  # Twisted has not typed it
        try:
            tls.shutdown()
            transport.write(tls.bio_read(1 << 15))
        except TlsError:  # it is broken already: no end can be told from a cut any more
            self.abortConnection()  # type: ignore[no-untyped-call]  # likewise


class TlsFactory(TLSMemoryBIOFactory):
    """Puts TLS below a protocol."""

    protocol = _HalfClosingTls


def sentence_of(error: BaseException | None) -> str:
    """Say why there is no connection to a proxy."""
    match error:
        case CarryError():
            return error.what
        case ConnectionDone() | ConnectionLost() | ConnectionAborted():
            return "the proxy ended the connection"
        case VerificationError():
            return "the proxy's certificate is of another name"
        case TlsError():
            return f"no TLS with the proxy: {_tls_words(error)}"
        case ConnectError(osError=int(number)):
            return f"the proxy cannot be reached: {os.strerror(number)}"
        case _:
            return f"the proxy cannot be reached: {error}"


def _tls_words(error: TlsError) -> str:
    try:
        return str(error.args[0][-1][-1])
    except (IndexError, TypeError):
        return str(error) or "it broke off"
