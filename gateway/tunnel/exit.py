"""The exit.  Owns: its UDP port, finding the connection that a packet is for.
Knows: RFC 9000 (5.2 matching packets, 8.1 address validation, 14.1 Initials of 1200 octets).
Never: HTTP, policy."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import cast

from aioquic._buffer import Buffer
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    encode_quic_retry,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.credentials import Credentials, Transfer
from gateway.tunnel.identity import Identity
from gateway.tunnel.means import ExitLimits, Flows, Means, Refusals, Sockets
from gateway.tunnel.ports import Gate, Reach
from gateway.tunnel.reactor import Address, DatagramTransport, Port, Reactor
from gateway.tunnel.serving import Gateway
from gateway.udp_ports import listen_udp

_log = Logger(namespace="gateway.tunnel")

_CID_OCTETS = 8  # ours; aioquic's default
_MIN_ORIGINAL_CID_OCTETS = 8  # RFC 9000 section 7.2: a client's first choice has at least these
_LONG_HEADER = 0x80

_LIMITS = ExitLimits()
_TRANSFER = Transfer()


class Exit(DatagramProtocol):
    """Serves CONNECT-UDP and CONNECT to gateways that show a good certificate."""

    noisy = False

    def __init__(
        self,
        reactor: Reactor,
        address: Endpoint,
        credentials: Credentials,
        gate: Gate,
        reach: Reach,
        *,
        name: str = "exit",
        gateways: Sequence[str] = (),
        limits: ExitLimits = _LIMITS,
        transfer: Transfer = _TRANSFER,
        random_octets: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """Prepare; nothing is opened before listen().

        Args:    address: where to listen; port 0: any; gate: judges every request and datagram;
                 reach: where destinations are really dialled; gateways: DNS names of those that
                 are served; empty: any with a certificate of the authority.
        """
        self._reactor = reactor
        self._address = address
        self._credentials = credentials
        self._gateway_names = tuple(gateways)
        self._transfer = transfer
        self._random_octets = random_octets
        self._tokens = QuicRetryTokenHandler()
        self._counters: Counter[str] = Counter()
        self._means = Means(
            reactor,
            gate,
            reach,
            limits,
            name,
            self._counters,
            Sockets(),
            Flows(),
            Refusals(reactor.seconds, name),
        )
        self._by_cid: dict[bytes, Gateway] = {}
        self._cids: dict[Gateway, set[bytes]] = {}
        self._port: Port | None = None

    def listen(self) -> Endpoint:
        """Open the port; give the endpoint that it is bound to.

        Raises:  CarryError: the address is taken or not ours, or a credential cannot be used.
        """
        self._identity = Identity(self._credentials, self._transfer, self._gateway_names)
        host, port = self._address.host, self._address.port
        try:
            self._port = listen_udp(self._reactor, port, self, host, 65536)
        except CannotListenError as exc:
            raise CarryError(self._means.name, f"cannot listen on {self._address}: {exc}") from exc
        bound = cast(IPv4Address | IPv6Address, self._port.getHost())
        endpoint = Endpoint.of(bound.host, bound.port)
        _log.info("exit {exit} listens on {at}", exit=self._means.name, at=str(endpoint))
        return endpoint

    def stop(self) -> Deferred[None]:
        """Say goodbye to every gateway; fires when every socket is closed."""
        if (port := self._port) is None:
            return succeed(None)
        for gateway in tuple(self._cids):
            gateway.close()
        self._port = None
        closed = maybeDeferred(port.stopListening)
        return closed.addCallback(lambda _: self._means.sockets.all_closed())

    def rejudge(self) -> None:
        """Judge every flow by the policy that has just come into force; end what it forbids."""
        self._means.flows.rejudge()

    @property
    def counters(self) -> dict[str, int]:
        """What happened since the start, by name (absent: never), and what is open now."""
        now = {"connections": len(self._cids), "sockets": len(self._means.sockets)}
        return {**self._counters, **now}

    @property
    def packets(self) -> dict[str, int]:
        """Where the datagrams went that came out of tunnels; empty: none came.  It adds up."""
        counted = self._counters
        lost = counted["datagrams_without_flow"] + counted["datagrams_to_streams"]
        into = counted["datagrams_received"] + counted["datagrams_without_flow"]
        if not into:
            return {}
        return {
            "packets: in": into,
            "packets: sent on": counted["datagrams_sent_on"],
            "packets: refused": counted["datagrams_blocked"],
            "packets: dropped": lost + counted["datagrams_unsendable"],
        }

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """DatagramProtocol API."""
        if not datagram or self._port is None:
            self._counters["packets_malformed"] += 1
            return
        if datagram[0] & _LONG_HEADER:
            gateway = self._of_long_header(datagram, addr)
        else:
            gateway = self._by_cid.get(datagram[1 : 1 + _CID_OCTETS])
            if gateway is None:
                self._counters["packets_unknown"] += 1
        if gateway is not None:
            gateway.session.driver.receive(datagram, addr)
            if not gateway.session.connection.is_started:
                # Its first packet was not authentic: it must not hold a place.
                self._counters["packets_malformed"] += 1
                gateway.abandon()

    def _of_long_header(self, datagram: bytes, address: Address) -> Gateway | None:
        try:
            header = pull_quic_header(Buffer(data=datagram), _CID_OCTETS)
        except ValueError:
            self._counters["packets_malformed"] += 1
            return None
        gateway = self._by_cid.get(header.destination_cid)
        if gateway is not None:
            return gateway
        if (
            header.packet_type is not QuicPacketType.INITIAL
            or header.version not in self._identity.versions
            or len(header.destination_cid) < _MIN_ORIGINAL_CID_OCTETS
        ):
            self._counters["packets_unknown"] += 1
        elif len(datagram) < SMALLEST_MAX_DATAGRAM_SIZE:
            self._counters["packets_short_initial"] += 1
        elif len(self._cids) >= self._means.limits.max_connections:
            self._counters["connections_over_limit"] += 1
        elif not header.token:
            self._retry(header, address)
        else:
            return self._admit(header, address)
        return None

    def _retry(self, header: QuicHeader, address: Address) -> None:
        """Have who asks show that the address is its own (RFC 9000 section 8.1.2): nothing is kept
        for it until then, and less is sent than came."""
        self._counters["retries"] += 1
        fresh = self._random_octets(_CID_OCTETS)
        token = self._tokens.create_token(
            address=address[:2],
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=fresh,
            now=self._reactor.seconds(),
        )
        assert header.version is not None, "a long header has one"
        retry = encode_quic_retry(
            version=header.version,
            source_cid=fresh,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        self.transmit(retry, address)

    def _admit(self, header: QuicHeader, address: Address) -> Gateway | None:
        try:
            original_cid = self._tokens.validate_token(
                address=address[:2],
                destination_cid=header.destination_cid,
                token=header.token,
                now=self._reactor.seconds(),
            )
        except ValueError:
            self._counters["tokens_invalid"] += 1
            return None
        self._counters["connections_begun"] += 1
        presented = self._identity.now(self._reactor.seconds())
        cids = original_cid, header.destination_cid
        gateway = Gateway(self._means, presented, self, *cids)
        self._cids[gateway] = set()
        self.cid_issued(header.destination_cid, gateway)
        self.cid_issued(gateway.session.connection.host_cid, gateway)
        return gateway

    # --- what a gateway tells (serving.Directory)

    def transmit(self, data: bytes, address: Address) -> None:
        """Send one packet."""
        if self._port is None:
            return
        try:
            cast(DatagramTransport, self.transport).write(data, address)
        except (OSError, MessageLengthError):
            self._counters["packets_unsent"] += 1  # QUIC takes it for lost

    def cid_issued(self, cid: bytes, gateway: Gateway) -> None:
        """Find a gateway by one more connection id."""
        self._by_cid[cid] = gateway
        self._cids[gateway].add(cid)

    def cid_retired(self, cid: bytes) -> None:
        """Find nobody by a connection id."""
        gateway = self._by_cid.pop(cid, None)
        if gateway is not None:
            self._cids[gateway].discard(cid)

    def left(self, gateway: Gateway) -> None:
        """Forget a gateway."""
        for cid in self._cids.pop(gateway, ()):
            self._by_cid.pop(cid, None)
