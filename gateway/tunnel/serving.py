"""One gateway, as the exit sees it.  Owns: its connection, who it is, its requests.
Knows: RFC 9298 as a proxy, RFC 9209.  Never: which policy, the exit's own socket."""

from __future__ import annotations

from typing import Protocol

from aioquic.h3.connection import ErrorCode
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode, QuicFrameType

from gateway.model import Action, Endpoint, FlowKey, Transport
from gateway.tunnel.http3 import Session
from gateway.tunnel.identity import Presented
from gateway.tunnel.masque import Headers, Refusal, Request, read_request
from gateway.tunnel.means import Means
from gateway.tunnel.outward_tcp import TcpOutward
from gateway.tunnel.outward_udp import UdpOutward
from gateway.tunnel.quic import Bounds, Connection
from gateway.tunnel.reactor import Address

_MAX_AGE_S = 7 * 86_400.0
"""After this a gateway has to show its certificate again, if it does not expire sooner."""


class Directory(Protocol):
    """Who finds a gateway by its connection ids: the exit."""

    def transmit(self, data: bytes, address: Address) -> None: ...
    def cid_issued(self, cid: bytes, gateway: Gateway) -> None: ...
    def cid_retired(self, cid: bytes) -> None: ...
    def left(self, gateway: Gateway) -> None: ...


class Gateway:
    """Nothing is served before its certificate has been found good."""

    def __init__(
        self,
        means: Means,
        presented: Presented,
        directory: Directory,
        original_cid: bytes,
        retry_cid: bytes,
    ) -> None:
        self._means = means
        self._verifier = presented.verifier
        self._directory = directory
        bounds = Bounds(max_flows=means.limits.max_flows)
        connection = Connection(presented.configuration, bounds, original_cid, retry_cid)
        self.session = Session(means.reactor, connection, directory.transmit, self, means.counters)
        self._deadline = means.reactor.callLater(means.limits.handshake_s, self._too_slow)

    def close(self) -> None:
        """Say goodbye and end every flow."""
        self.session.close(ErrorCode.H3_NO_ERROR, "the exit stops")
        self._leave("the exit stops")

    def abandon(self) -> None:
        """Be gone without a word."""
        self._leave("")

    # --- what the session tells (http3.Owner)

    def handshake_completed(self) -> None:
        """Judge the certificate, then begin to serve."""
        self._deadline.cancel()
        connection = self.session.connection
        now = self._means.reactor.seconds()
        rejection = self._verifier.reject(connection.peer_certificates, now)
        if rejection is None:
            self._means.counters["gateways_accepted"] += 1
            left_s = connection.peer_certificates[0].not_valid_after_utc.timestamp() - now
            # It comes again by itself, with the certificate that it has by then.
            self._deadline = self._means.reactor.callLater(min(left_s, _MAX_AGE_S), self._too_old)
            self.session.begin()
            return
        self._means.counters["gateways_rejected"] += 1
        self._means.refusals.note(connection.peer_address, rejection.sentence)
        code = QuicErrorCode.CRYPTO_ERROR + rejection.alert
        connection.close(code, QuicFrameType.CRYPTO, rejection.sentence)

    def request_received(self, stream_id: int, headers: Headers) -> None:
        """Serve a request or say why not."""
        request = read_request(headers)
        refusal = request if isinstance(request, Refusal) else self._serve(stream_id, request)
        if refusal is not None:
            self._means.counters["requests_refused"] += 1
            self.session.respond(stream_id, refusal.headers(self._means.name), end=True)
            self.session.stop(stream_id)

    def settings_received(self) -> None:
        """Do nothing: a gateway that cannot do datagrams asks for none."""

    def cid_issued(self, cid: bytes) -> None:
        """Be found by it."""
        self._directory.cid_issued(cid, self)

    def cid_retired(self, cid: bytes) -> None:
        """Be found by it no more."""
        self._directory.cid_retired(cid)

    def terminated(self, event: ConnectionTerminated) -> None:
        """Be gone."""
        self._leave(event.reason_phrase)

    # --- inside

    def _serve(self, stream_id: int, request: Request) -> Refusal | None:
        host, port = self.session.connection.peer_address
        key = FlowKey(request.transport, Endpoint.of(host, port), request.destination)
        verdict = self._means.judge(key, None)
        if verdict.action is not Action.ALLOW and verdict.settled:
            return Refusal(403, "http_request_denied", f"{verdict.rule}: {verdict.reason}")
        self._means.counters[f"{request.transport}_flows"] += 1
        if request.transport is Transport.UDP:
            return UdpOutward(self._means, self.session, stream_id, key).open()
        TcpOutward(self._means, self.session, stream_id, key).open(verdict)
        return None

    def _too_slow(self) -> None:
        self._means.counters["gateways_too_slow"] += 1
        self.session.close(ErrorCode.H3_NO_ERROR, "too slow")
        self._leave("too slow")

    def _too_old(self) -> None:
        self._means.counters["gateways_too_old"] += 1
        self.session.close(ErrorCode.H3_NO_ERROR, "the certificate is to be shown again")
        self._leave("the certificate is to be shown again")

    def _leave(self, reason: str) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        self.session.end(reason)
        self._directory.left(self)
