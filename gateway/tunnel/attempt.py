"""One attempt at an exit, from dialling to its end.  Owns: its UDP port, deadline, pings, and the
sentence that says why it ended.  Knows: RFC 9000, RFC 9001 alerts.  Never: retrying, flows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import cast

from aioquic.h3.connection import ErrorCode
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode
from aioquic.tls import AlertDescription
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError, DNSLookupError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.credentials import Credentials, Transfer, configuration
from gateway.tunnel.http3 import Session
from gateway.tunnel.masque import ExitAddress, Headers
from gateway.tunnel.ports import Reach
from gateway.tunnel.quic import Bounds, Connection
from gateway.tunnel.reactor import (
    Address,
    DatagramTransport,
    DelayedCall,
    Port,
    Reactor,
    interface_towards,
)
from gateway.tunnel.resolve import resolve
from gateway.udp_ports import listen_udp

_log = Logger(namespace="gateway.tunnel")

# Pings in one idle timeout: two may be lost and the tunnel still stands.
_PINGS = 3

# Alerts with which an exit refuses our certificate (RFC 8446 section 6.2).
_ABOUT_CERTIFICATES = frozenset(
    (
        AlertDescription.bad_certificate,
        AlertDescription.unsupported_certificate,
        AlertDescription.certificate_revoked,
        AlertDescription.certificate_expired,
        AlertDescription.certificate_unknown,
        AlertDescription.unknown_ca,
        AlertDescription.access_denied,
        AlertDescription.decrypt_error,
        AlertDescription.certificate_required,
    )
)


class Attempt(DatagramProtocol):
    """One QUIC connection to an exit; it is used once."""

    noisy = False
    session: Session

    def __init__(
        self,
        reactor: Reactor,
        exit_address: ExitAddress,
        counters: Counter[str],
        on_up: Callable[[], None],
        on_down: Callable[[Attempt, str], None],
    ) -> None:
        self.is_up = False
        self._reactor = reactor
        self._exit = exit_address
        self._counters = counters
        self._on_up = on_up
        self._on_down = on_down
        self._is_over = False
        self._port: Port | None = None
        self._calls: list[DelayedCall] = []

    def start(
        self, credentials: Credentials, transfer: Transfer, reach: Reach, timeout_s: float
    ) -> None:
        """Dial; on_up follows, or on_down with the reason."""
        self._transfer = transfer
        self._later(timeout_s, self._finish, f"no answer in {timeout_s:g} s")
        found = resolve(self._reactor, self._exit.host, self._exit.port)
        found.addCallback(self._dial, credentials, reach)
        found.addErrback(self._failed)

    def close(self) -> Deferred[None]:
        """Say goodbye; every flow is told."""
        if self._port is not None and not self._is_over:
            self.session.close(ErrorCode.H3_NO_ERROR, "")
        return self._end("the tunnel was stopped")

    def _dial(self, address: Endpoint, credentials: Credentials, reach: Reach) -> None:
        if self._is_over:
            return
        dialled = reach.address(address)
        quic = configuration(credentials, self._transfer, server_name=self._exit.host)
        connection = Connection(quic, Bounds(max_flows=0))
        self.session = Session(self._reactor, connection, self._transmit, self, self._counters)
        # Unconnected: Twisted's epoll reactor closes a connected port at the first ICMP error.
        self._port = listen_udp(self._reactor, 0, self, interface_towards(dialled), 65536)
        connection.connect((dialled.host, dialled.port), now=self._reactor.seconds())
        self.session.begin()
        self.session.driver.flush()

    def _transmit(self, data: bytes, address: Address) -> None:
        try:
            cast(DatagramTransport, self.transport).write(data, address)
        except (OSError, MessageLengthError):
            self._counters["packets_unsent"] += 1  # QUIC takes it for lost

    def datagramReceived(self, data: bytes, address: Address) -> None:
        """DatagramProtocol API."""
        if not self._is_over:
            self.session.driver.receive(data, address)

    # --- what the session tells (http3.Owner)

    def settings_received(self) -> None:
        """Be up, once the exit has accepted our certificate too."""
        if self.is_up or self._is_over or not self.session.connection.is_confirmed:
            return
        if not self.session.does_connect_udp:
            self._finish("it does not do CONNECT-UDP (no HTTP datagrams or extended CONNECT)")
            return
        self.is_up = True
        self._calls.pop().cancel()  # the deadline
        self._later(self._transfer.idle_timeout_s / _PINGS, self._ping)
        self._on_up()

    def terminated(self, event: ConnectionTerminated) -> None:
        """Say why."""
        self._finish(self._sentence(event))

    def handshake_completed(self) -> None:
        """Wait: the exit may still refuse our certificate."""

    def request_received(self, stream_id: int, headers: Headers) -> None:
        """Do nothing: an exit asks for nothing."""

    def cid_issued(self, cid: bytes) -> None:
        """Do nothing: the port has one connection."""

    def cid_retired(self, cid: bytes) -> None:
        """Do nothing: the port has one connection."""

    # --- the end

    def _ping(self) -> None:
        self._calls.clear()
        if self.session.connection.refresh_keys():
            self._counters["keys_changed"] += 1
        self.session.ping()
        self._later(self._transfer.idle_timeout_s / _PINGS, self._ping)

    def _sentence(self, event: ConnectionTerminated) -> str:
        reason = event.reason_phrase
        if event.frame_type is None:  # the exit's HTTP/3 closed it
            return "the exit went away" + (f": {reason}" if reason else "")
        alert = event.error_code - QuicErrorCode.CRYPTO_ERROR
        if not 0 <= alert <= 255:
            if reason == "Idle timeout":
                return f"silent for {self._transfer.idle_timeout_s:g} s"
            return f"QUIC error {event.error_code:#x} {reason}".rstrip()
        names = {member.value: member.name.replace("_", " ") for member in AlertDescription}
        reason = reason or names.get(alert, f"TLS alert {alert}")
        if alert not in _ABOUT_CERTIFICATES:
            return f"no TLS handshake: {reason}"
        if self.session.connection.is_closed_by_us:
            return f"the exit's certificate is not accepted: {reason}"
        return f"the exit refuses our certificate: {reason}"

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, CarryError | OSError | CannotListenError | DNSLookupError):
            _log.failure("a defect of ours", failure=failure)
        self._finish(error.what if isinstance(error, CarryError) else str(error))

    def _finish(self, sentence: str) -> None:
        if self._is_over:
            return
        if self._port is not None and not self.session.is_over:
            self.session.close(ErrorCode.H3_NO_ERROR, "")
        self._end(sentence)
        self._on_down(self, sentence)

    def _end(self, sentence: str) -> Deferred[None]:
        self._is_over, self.is_up = True, False
        while self._calls:
            if (call := self._calls.pop()).active():
                call.cancel()
        if self._port is None:
            return succeed(None)
        self.session.end(sentence)
        return maybeDeferred(self._port.stopListening).addCallback(lambda _: None)

    def _later(self, delay_s: float, call: Callable[..., None], *arguments: object) -> None:
        self._calls.append(self._reactor.callLater(delay_s, call, *arguments))
