"""The exit's end of a UDP flow.  Owns: its socket towards the network, judging each datagram.
Knows: RFC 9298 section 3.1.  Never: TLS, which policy."""

from __future__ import annotations

from typing import cast

from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol

from gateway.errors import CarryError
from gateway.model import Action, FlowKey, Transport
from gateway.tunnel.http3 import Session
from gateway.tunnel.masque import Headers, Refusal, accepted
from gateway.tunnel.means import Means
from gateway.tunnel.reactor import Address, DatagramTransport, DelayedCall, Port, interface_towards
from gateway.udp_ports import listen_udp

# One octet more than the longest datagram of Ethernet: a longer one, cut to this, is still seen to
# be too long for any tunnel.
_READ_OCTETS = 9001

# The first datagram that was allowed is kept for the policies to come; no longer one than a tunnel
# carries.
_MAX_SAMPLE_OCTETS = 1500


class UdpOutward(DatagramProtocol):
    """One flow: a Stream to the session, a socket to the network."""

    noisy = False

    def __init__(self, means: Means, session: Session, stream_id: int, key: FlowKey) -> None:
        self._means = means
        self._session = session
        self._stream_id = stream_id
        self._key = key
        self._address: Address = ("", 0)
        self._port: Port | None = None
        self._idle: DelayedCall | None = None
        self._last_s = 0.0
        self._sample: bytes | None = None

    def open(self) -> Refusal | None:
        """Open the socket and accept the flow; or give the reason why not.

        What the gate said about the request matters no more: each datagram is judged.
        """
        try:
            dialled = self._means.reach.address(self._key.destination)
            # Not connected: Twisted's epoll reactor closes a connected port at the first ICMP
            # error.  What a connected socket would filter, datagramReceived filters.
            interface = interface_towards(dialled)
            self._port = listen_udp(self._means.reactor, 0, self, interface, _READ_OCTETS)
        except CarryError as exc:
            return Refusal(502, "destination_ip_unroutable", exc.what)
        except CannotListenError:
            return Refusal(503, "proxy_internal_error", "the exit has no more sockets")
        self._address = dialled.host, dialled.port
        self._touch()
        self._idle = self._means.reactor.callLater(self._means.limits.udp_idle_s, self._look)
        self._means.flows.opened(self)
        self._session.streams[self._stream_id] = self
        self._session.respond(self._stream_id, accepted(Transport.UDP))
        return None

    # --- what the session tells (http3.Stream)

    def datagram_received(self, payload: bytes) -> None:
        """Judge a datagram and send it."""
        self._touch()
        if self._means.judge(self._key, payload).action is not Action.ALLOW:
            self._means.counters["datagrams_blocked"] += 1
            return
        if self._sample is None:
            self._sample = payload[:_MAX_SAMPLE_OCTETS]
        try:
            cast(DatagramTransport, self.transport).write(payload, self._address)
        except (OSError, MessageLengthError):
            self._means.counters["datagrams_unsendable"] += 1
        else:
            self._means.counters["datagrams_sent_on"] += 1

    def data_received(self, data: bytes, ended: bool) -> None:
        """Skip capsules, which no context of ours uses (RFC 9297 section 3.2)."""
        self._means.counters["capsule_octets_ignored"] += len(data)
        if ended:
            self._end()

    def headers_received(self, headers: Headers) -> None:
        """Ignore trailers."""

    def stop_requested(self) -> None:
        """Take it for an end: a flow has no half."""
        self._end()

    def drained(self) -> None:
        """Do nothing: datagrams are not written to the stream."""

    def closed(self, reason: str) -> None:
        """Close the socket."""
        self._means.flows.closed(self)
        port, self._port = self._port, None
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        if port is not None:
            port.stopListening()

    # --- what the network tells (DatagramProtocol)

    def startProtocol(self) -> None:
        """DatagramProtocol API."""
        self._means.sockets.opened(self)

    def stopProtocol(self) -> None:
        """DatagramProtocol API."""
        self._means.sockets.closed(self)

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """DatagramProtocol API: pass on what comes from the destination itself, nothing else."""
        if addr != self._address:
            self._means.counters["datagrams_of_strangers"] += 1
        elif self._port is not None:
            self._touch()
            self._session.send_datagram(self._stream_id, datagram)

    # --- the end

    def rejudge(self) -> None:
        """End the flow if the policy in force allows neither it nor its first datagram.

        Before any was allowed, nothing was sent, and the next one is judged anyway.
        """
        verdict = self._means.judge(self._key, self._sample)
        if verdict.action is not Action.ALLOW and verdict.settled:
            self._means.counters["flows_forbidden"] += 1
            self._end()

    def _touch(self) -> None:
        self._last_s = self._means.reactor.seconds()

    def _look(self) -> None:
        left_s = self._last_s + self._means.limits.udp_idle_s - self._means.reactor.seconds()
        if left_s > 0:
            self._idle = self._means.reactor.callLater(left_s, self._look)
        else:
            self._means.counters["flows_idle"] += 1
            self._end()

    def _end(self) -> None:
        self._session.cancel(self._stream_id)
        self.closed("")
