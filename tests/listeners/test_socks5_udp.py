"""SOCKS 5 UDP ASSOCIATE on real loopback sockets."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from gateway.listeners.limits import Limits
from gateway.listeners.socks5 import Socks5Listener
from gateway.listeners.socks5_wire import write_datagram_header
from gateway.model import Endpoint, pack
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import ALLOW, BLOCK, LOOPBACK, REROUTE, WRAP, FakeCarrier
from tests.listeners.peers import TcpPeer, UdpPeer

ONE = Endpoint.parse("192.0.2.1:4001")
TWO = Endpoint.parse("198.51.100.2:4002")


def to(destination: Endpoint | str, payload: bytes) -> bytes:
    """Frame a datagram; a name goes to port 53."""
    if isinstance(destination, Endpoint):
        return write_datagram_header(destination) + payload
    name = destination.encode()
    return bytes((0, 0, 0, 3, len(name))) + name + b"\x00\x35" + payload


class AssociationTests(ListenerCase):
    """One association and its clients."""

    async def associate(self, port: int = 0, limits: Limits | None = None) -> TcpPeer:
        """Open a listener and an association; `self.relay` is where datagrams go."""
        self.listener = Socks5Listener(LOOPBACK, self.wiring(limits))
        self.at = self.open(self.listener)
        control = await self.connect(self.at)
        control.say(b"\x05\x01\x00" + b"\x05\x03\x00\x01" + bytes(4) + port.to_bytes(2))
        await self.until(lambda: control.heard_len == 12)
        answer = control.heard[2:]
        self.assertEqual(answer[:4], b"\x05\x00\x00\x01")
        self.relay = Endpoint(answer[4:8], int.from_bytes(answer[8:]))
        return control

    async def dropped(self, reason: str, count: int = 1) -> None:
        """Wait until so many were dropped for this reason."""
        await self.until(lambda: self.listener.counters.get(f"dropped_{reason}") == count)

    async def test_two_clients_two_destinations(self) -> None:
        """Each client socket has one upstream port for all destinations, and gets its answers."""
        one = self.udp_edge(str(ONE), ALLOW, echo=b"1:")
        two = self.udp_edge(str(TWO), ALLOW, echo=b"2:")
        await self.associate()
        clients = [self.udp_peer(), self.udp_peer()]
        for number, client in enumerate(clients):
            client.send(to(ONE, b"%d" % number), self.relay)
            client.send(to(TWO, b"%d" % number), self.relay)
        await self.until(lambda: all(len(client.got) == 2 for client in clients))
        for number, client in enumerate(clients):
            expected = [to(ONE, b"1:%d" % number), to(TWO, b"2:%d" % number)]
            self.assertEqual(sorted(client.payloads), expected)
        self.assertEqual(len(one.senders), 2)
        self.assertEqual(one.senders, two.senders)

    async def test_replies_as_from_the_asked_for(self) -> None:
        """Direct, rerouted and wrapped answers carry the address that the client asked for."""
        self.udp_edge(str(ONE), ALLOW, echo=b"direct ")
        self.gate.on[TWO] = REROUTE
        self.routes.relays["us-edge"] = self.udp_peer(echo=b"relay ").at
        three = Endpoint.parse("[2001:db8::3]:4003")
        self.gate.on[three] = WRAP
        exit_ = self.routes.carriers["nearest"] = FakeCarrier()
        await self.associate()
        client = self.udp_peer()
        for destination in (ONE, TWO, three):
            client.send(to(destination, b"x"), self.relay)
        await self.until(lambda: three in exit_.flows)
        exit_.flows[three].answer(b"exit x")
        await self.until(lambda: len(client.got) == 3)
        self.assertEqual(
            sorted(client.payloads),
            sorted([to(ONE, b"direct x"), to(TWO, b"relay x"), to(three, b"exit x")]),
        )

    async def test_one_relay_for_two_destinations(self) -> None:
        """Two destinations rerouted to one relay: each answer is from the one it belongs to."""
        self.gate.on[ONE] = self.gate.on[TWO] = REROUTE
        relay = self.udp_peer(echo=b"re:")
        self.routes.relays["us-edge"] = relay.at
        await self.associate()
        client = self.udp_peer()
        client.send(to(ONE, b"one"), self.relay)
        client.send(to(TWO, b"two"), self.relay)
        await self.until(lambda: len(client.got) == 2)
        self.assertEqual(sorted(client.payloads), [to(ONE, b"re:one"), to(TWO, b"re:two")])
        self.assertEqual(len(relay.senders), 2)

    async def test_upstream_ports_are_bounded(self) -> None:
        """One past the bound of upstream ports is blocked, and the earlier ones go on."""
        self.gate.on[ONE] = self.gate.on[TWO] = REROUTE
        relay = self.udp_peer(echo=b"re:")
        self.routes.relays["us-edge"] = relay.at
        await self.associate(limits=Limits(session_ports=1))
        client = self.udp_peer()
        client.send(to(ONE, b"one"), self.relay)
        client.send(to(TWO, b"two"), self.relay)
        await self.dropped("not_carried")
        client.send(to(ONE, b"again"), self.relay)
        await self.until(lambda: len(client.got) == 2)
        self.assertEqual(relay.payloads, [b"one", b"again"])

    async def test_destinations_are_bounded(self) -> None:
        """As many destinations as the limit pass; that one more did not is written down."""
        one = self.udp_edge(str(ONE), ALLOW)
        two = self.udp_edge(str(TWO), ALLOW)
        await self.associate(limits=Limits(session_destinations=1))
        client = self.udp_peer()
        for destination in (ONE, TWO, ONE):
            client.send(to(destination, b"x"), self.relay)
        await self.dropped("destinations_full")
        await self.until(lambda: len(one.got) == 2)
        self.assertEqual(two.got, [])
        self.assertEqual([key.destination for key, _reason in self.gate.failed], [TWO])

    async def test_all_destinations_are_bounded(self) -> None:
        """The limit over all clients holds too, and what is forgotten makes room."""
        one = self.udp_edge(str(ONE), ALLOW)
        await self.associate(limits=Limits(udp_destinations=1, udp_idle_timeout_s=120))
        first, second = self.udp_peer(), self.udp_peer()
        first.send(to(ONE, b"first"), self.relay)
        await self.until(lambda: one.got)
        second.send(to(ONE, b"second"), self.relay)
        await self.dropped("destinations_full")
        self.reactor.clock.pump([30] * 5)
        second.send(to(ONE, b"second"), self.relay)
        await self.until(lambda: len(one.got) == 2)
        self.assertEqual(one.payloads, [b"first", b"second"])

    async def test_bad_datagrams(self) -> None:
        """Fragments and malformed datagrams are dropped and counted; the next one passes."""
        edge = self.udp_edge(str(ONE), ALLOW)
        await self.associate()
        client = self.udp_peer()
        client.send(b"\x00\x00\x01" + to(ONE, b"fragment")[3:], self.relay)
        client.send(b"", self.relay)
        client.send(b"\x00\x00\x00\x09", self.relay)
        client.send(to("127.1", b"no name"), self.relay)
        client.send(to(ONE, b"whole"), self.relay)
        await self.until(lambda: edge.got)
        self.assertEqual(edge.payloads, [b"whole"])
        self.assertEqual(self.listener.counters["dropped_fragment"], 1)
        self.assertEqual(self.listener.counters["dropped_malformed"], 3)

    async def test_blocked(self) -> None:
        """A blocked datagram leaves nothing; the next, allowed one does."""
        blocked = self.udp_edge(str(ONE), BLOCK)
        allowed = self.udp_edge(str(TWO), ALLOW)
        await self.associate()
        client = self.udp_peer()
        client.send(to(ONE, b"ping"), self.relay)
        client.send(to(TWO, b"media"), self.relay)
        await self.until(lambda: allowed.got)
        self.assertEqual((blocked.got, self.listener.counters["dropped_blocked"]), ([], 1))

    async def test_other_host(self) -> None:
        """Datagrams from another host than the control connection's are dropped."""
        edge = self.udp_edge(str(ONE), ALLOW)
        await self.associate()
        stranger = self.udp_peer(host="127.0.0.2")
        stranger.send(to(ONE, b"boo"), self.relay)
        await self.dropped("foreign")
        self.assertEqual((edge.got, self.gate.judged), ([], []))

    async def test_named_port(self) -> None:
        """A client that named its port gets datagrams from no other one in."""
        edge = self.udp_edge(str(ONE), ALLOW)
        client, stranger = self.udp_peer(), self.udp_peer()
        await self.associate(port=client.at.port)
        stranger.send(to(ONE, b"boo"), self.relay)
        client.send(to(ONE, b"mine"), self.relay)
        await self.until(lambda: edge.got)
        self.assertEqual(edge.payloads, [b"mine"])
        self.assertEqual(self.listener.counters["dropped_foreign"], 1)

    async def test_lives_as_long_as_its_connection(self) -> None:
        """With the control connection the relay port, the sessions and the flows end."""
        self.gate.on[ONE] = WRAP
        exit_ = self.routes.carriers["nearest"] = FakeCarrier()
        control = await self.associate()
        client = self.udp_peer()
        client.send(to(ONE, b"x"), self.relay)
        await self.until(lambda: exit_.flows)
        control.end()
        await self.until(lambda: self.gate.forgotten)
        self.assertTrue(exit_.flows[ONE].is_closed)
        await self.turn(5)
        again = UdpPeer()
        port = self.reactor.listenUDP(self.relay.port, again, interface="127.0.0.1")
        self.addCleanup(port.stopListening)

    async def test_talk_on_the_control_connection(self) -> None:
        """What is said on the control connection is counted and does no harm."""
        edge = self.udp_edge(str(ONE), ALLOW)
        control = await self.associate()
        control.say(b"still there?")
        await self.dropped("unasked")
        self.udp_peer().send(to(ONE, b"x"), self.relay)
        await self.until(lambda: edge.got)

    async def test_outlives_the_handshake_time(self) -> None:
        """An association is not bound by the time for handshakes."""
        edge = self.udp_edge(str(ONE), ALLOW)
        await self.associate(limits=Limits(handshake_timeout_s=10))
        self.reactor.clock.advance(3600)
        self.udp_peer().send(to(ONE, b"x"), self.relay)
        await self.until(lambda: edge.got)

    async def test_name(self) -> None:
        """A name is resolved once; the first address that is not blocked is used each time."""
        edge = self.udp_edge("192.0.2.53:53", ALLOW, echo=b"re:")
        self.resolver.names["example.org"] = (pack("192.0.2.99"), pack("192.0.2.53"))
        await self.associate()
        client = self.udp_peer()
        client.send(to("example.org", b"one"), self.relay)
        client.send(to("example.org", b"two"), self.relay)
        await self.until(lambda: len(client.got) == 2)
        self.assertEqual(edge.payloads, [b"one", b"two"])
        self.assertEqual(self.resolver.asked, ["example.org"])
        self.assertEqual({names for _key, _what, names in self.gate.judged}, {("example.org",)})
        self.assertEqual(client.payloads[0], to(Endpoint.parse("192.0.2.53:53"), b"re:one"))

    async def test_name_changes(self) -> None:
        """A name is resolved again when its time is over."""
        edge = self.udp_edge("192.0.2.53:53", ALLOW)
        self.resolver.names["example.org"] = (pack("192.0.2.53"),)
        await self.associate(limits=Limits(name_lifetime_s=60))
        client = self.udp_peer()
        for count, wait_s in enumerate((59.0, 1.0, 0.0), 1):
            client.send(to("example.org", b"x"), self.relay)
            await self.until(lambda count=count: len(edge.got) == count)  # type: ignore[misc]  # loop
            self.reactor.clock.advance(wait_s)
        self.assertEqual(len(self.resolver.asked), 2)

    async def test_unknown_name(self) -> None:
        """A name without addresses: dropped, counted, and not asked for again at once."""
        await self.associate(limits=Limits(failed_name_lifetime_s=5))
        client = self.udp_peer()
        client.send(to("nobody.example", b"x"), self.relay)
        client.send(to("nobody.example", b"x"), self.relay)
        await self.dropped("unresolved", 2)
        self.assertEqual(self.resolver.asked, ["nobody.example"])

    async def test_pending_is_bounded(self) -> None:
        """Of the datagrams that wait for a name the oldest is dropped, the others arrive."""
        edge = self.udp_edge("192.0.2.53:53", ALLOW)
        coming: Deferred[tuple[bytes, ...]] = Deferred()
        self.resolver.names["example.org"] = coming
        await self.associate(limits=Limits(association_pending=2))
        client = self.udp_peer()
        for payload in (b"1", b"2", b"3"):
            client.send(to("example.org", payload), self.relay)
        await self.dropped("pending_full")
        self.assertEqual(edge.got, [])
        coming.callback((pack("192.0.2.53"),))
        await self.until(lambda: len(edge.got) == 2)
        self.assertEqual(edge.payloads, [b"2", b"3"])

    async def test_lookups_are_bounded(self) -> None:
        """Only so many names are asked for at once; a datagram to one more is dropped."""
        for name in ("a.example", "b.example"):
            self.resolver.names[name] = Deferred()
        await self.associate(limits=Limits(association_pending=1))
        client = self.udp_peer()
        client.send(to("a.example", b"x"), self.relay)
        client.send(to("b.example", b"x"), self.relay)
        await self.dropped("pending_full")
        self.assertEqual(self.resolver.asked, ["a.example"])

    async def test_remembered_names_are_bounded(self) -> None:
        """Past the bound the name that was learned first is forgotten."""
        edge = self.udp_edge("192.0.2.53:53", ALLOW)
        for name in ("a.example", "b.example"):
            self.resolver.names[name] = (pack("192.0.2.53"),)
        await self.associate(limits=Limits(association_names=1))
        client = self.udp_peer()
        for count, name in enumerate(("a.example", "b.example", "b.example", "a.example"), 1):
            client.send(to(name, b"x"), self.relay)
            await self.until(lambda count=count: len(edge.got) == count)  # type: ignore[misc]  # loop
        self.assertEqual(self.resolver.asked, ["a.example", "b.example", "a.example"])
