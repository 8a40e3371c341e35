"""The SOCKS 5 front door: its handshake in memory, CONNECT on real loopback sockets."""

from __future__ import annotations

from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import ITransport
from twisted.python.failure import Failure

from gateway.listeners.door import Door
from gateway.listeners.limits import Limits
from gateway.listeners.socks5 import Socks5Connection, Socks5Listener, Users, is_welcome
from gateway.model import Endpoint, pack
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import ALLOW, BLOCK, LOOPBACK, WRAP, SlowCarrier, unsettled
from tests.listeners.peers import FakeTransport, TcpPeer
from tests.support.rows import rows

NO_AUTH = b"\x05\x01\x00"
EDGE = Endpoint.parse("192.0.2.1:443")
CONNECT_V4 = b"\x05\x01\x00\x01\xc0\x00\x02\x01\x01\xbb"
CONNECT_NAME = b"\x05\x01\x00\x03\x0bexample.org\x01\xbb"


def reply(code: int) -> bytes:
    """What a request is answered."""
    return bytes((5, code, 0, 1)) + bytes(6)


class HandshakeCase(ListenerCase):
    """A control connection in memory."""

    def begin(self, users: Users | None = None, limits: Limits | None = None) -> None:
        """Connect."""
        self.door = Door(self.wiring(limits))
        self.transport = FakeTransport()
        self.connection = Socks5Connection(self.door, users)
        self.transport.lose = self._lost
        self.connection.makeConnection(cast(ITransport, self.transport))

    def _lost(self, reason: Failure) -> None:
        self.connection.connectionLost(reason)

    def say(self, data: bytes) -> bytes:
        """Say something; give all that was answered so far."""
        if not self.transport.is_closed:
            self.connection.dataReceived(data)
        return cast(bytes, self.transport.value())

    def drops(self) -> dict[str, int]:
        """Give what was dropped."""
        counts = self.door.tally.snapshot().items()
        return {name: count for name, count in counts if name.startswith("dropped")}


@rows(
    refusals={
        "blocked": (CONNECT_V4, 2, "dropped_blocked"),
        "BIND": (b"\x05\x02" + CONNECT_V4[2:], 7, "dropped_malformed"),
        "an unknown command": (b"\x05\x09" + CONNECT_V4[2:], 7, "dropped_malformed"),
        "an unknown address type": (b"\x05\x01\x00\x02", 8, "dropped_malformed"),
        "what is no host": (b"\x05\x01\x00\x03\x010\x00\x50", 4, "dropped_malformed"),
        "a name that nobody knows": (CONNECT_NAME, 4, "dropped_unresolved"),
    },
    logins={
        "right": (b"alice", b"secret", b"\x01\x00"),
        "wrong password": (b"alice", b"Secret", b"\x01\x01"),
        "no password": (b"alice", b"", b"\x01\x01"),
        "unknown user": (b"bob", b"secret", b"\x01\x01"),
        "unknown user without password": (b"bob", b"", b"\x01\x01"),
        "not UTF-8": (b"\xff", b"secret", b"\x01\x01"),
    },
)
class HandshakeTests(HandshakeCase):
    """From the greeting to the answer."""

    def check_refusals(self, request: bytes, code: int, counter: str) -> None:
        """A request that cannot be served is told why, octet by octet or at once, then closed"""
        for pieces in ([request], [bytes((octet,)) for octet in request]):
            self.begin()
            self.say(NO_AUTH)
            for piece in pieces:
                self.say(piece)
            self.assertEqual(self.say(b""), b"\x05\x00" + reply(code))
            self.assertTrue(self.transport.is_closed)
            self.assertEqual(self.drops(), {counter: 1})
            self.door.close()
            self.assertEqual(self.reactor.clock.getDelayedCalls(), [])

    def check_logins(self, user: bytes, password: bytes, answer: bytes) -> None:
        """Only a user with their own password comes in"""
        self.begin({"alice": "secret"})
        message = bytes((1, len(user))) + user + bytes((len(password),)) + password
        self.assertEqual(self.say(b"\x05\x02\x00\x02" + message), b"\x05\x02" + answer)
        is_in = answer == b"\x01\x00"
        self.assertEqual(self.transport.is_closed, not is_in)
        self.assertEqual(self.drops(), {} if is_in else {"dropped_unauthorised": 1})
        self.connection.abort()

    def test_byte_by_byte(self) -> None:
        """A handshake that comes octet by octet ends like one that comes at once."""
        self.begin({"alice": "secret"})
        for octet in b"\x05\x01\x02" + b"\x01\x05alice\x06secret" + CONNECT_V4:
            self.say(bytes((octet,)))
        self.assertEqual(self.say(b""), b"\x05\x02" + b"\x01\x00" + reply(2))

    def test_not_carried(self) -> None:
        """A verdict that cannot be carried out is a general failure."""
        self.gate.on[EDGE] = WRAP
        self.begin()
        self.assertEqual(self.say(NO_AUTH + CONNECT_V4), b"\x05\x00" + reply(1))
        self.assertEqual(self.drops(), {"dropped_not_carried": 1})

    def test_login_asked_for(self) -> None:
        """A client that offers no password where one is asked for is turned away."""
        self.begin({"alice": "secret"})
        self.assertEqual(self.say(NO_AUTH + CONNECT_V4), b"\x05\xff")
        self.assertTrue(self.transport.is_closed)
        self.assertEqual(self.gate.judged, [])

    def test_login_not_asked_for(self) -> None:
        """A client that insists on a password where none is asked for is turned away."""
        self.begin()
        self.assertEqual(self.say(b"\x05\x01\x02"), b"\x05\xff")

    def test_not_utf8_password(self) -> None:
        """A password is compared octet by octet; a user who does not exist has none."""
        self.assertTrue(is_welcome(b"zo\xc3\xab", b"\xc3\xab", {"zoë": "ë"}))
        self.assertFalse(is_welcome(b"bob", b"", {}))

    def test_not_socks(self) -> None:
        """A client that does not speak SOCKS 5 is cut without a word."""
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"\x04\x01", NO_AUTH + b"\x04"):
            self.begin()
            self.say(said)
            self.assertTrue(self.transport.was_aborted)
            self.assertEqual(self.drops(), {"dropped_malformed": 1})

    def test_silent(self) -> None:
        """A client that does not finish its handshake in time is cut."""
        self.begin(limits=Limits(handshake_timeout_s=10))
        self.say(NO_AUTH)
        self.reactor.clock.advance(9)
        self.assertFalse(self.transport.is_closed)
        self.reactor.clock.advance(1)
        self.assertTrue(self.transport.was_aborted)

    def test_resolving_is_bounded(self) -> None:
        """A name that is not resolved in time is unreachable; meanwhile the client is paused."""
        self.resolver.names["example.org"] = Deferred()
        self.begin(limits=Limits(resolve_timeout_s=5))
        self.say(NO_AUTH + CONNECT_NAME)
        self.assertEqual(self.transport.producerState, "paused")
        self.reactor.clock.advance(5)
        self.assertEqual(self.say(b""), b"\x05\x00" + reply(4))

    def test_name_without_addresses(self) -> None:
        """A name that has no address is unreachable."""
        self.resolver.names["example.org"] = ()
        self.begin()
        self.assertEqual(self.say(NO_AUTH + CONNECT_NAME), b"\x05\x00" + reply(4))
        self.assertEqual(self.drops(), {"dropped_unresolved": 1})

    def test_connecting_is_bounded(self) -> None:
        """A destination that does not answer in time is given up, and said to be timed out."""
        exit_ = self.slow_exit(Limits(connect_timeout_s=15))
        self.reactor.clock.advance(14)
        self.assertFalse(self.transport.is_closed)
        self.reactor.clock.advance(1)
        self.assertEqual(self.say(b""), b"\x05\x00" + reply(6))
        self.assertEqual((exit_.given_up, len(self.gate.forgotten)), (1, 1))

    def slow_exit(self, limits: Limits | None = None) -> SlowCarrier:
        """Ask for a stream through an exit that takes its time."""
        self.gate.on[EDGE] = WRAP
        exit_ = self.routes.carriers["nearest"] = SlowCarrier()
        self.begin(limits=limits)
        self.say(NO_AUTH + CONNECT_V4)
        return exit_

    def test_paused_while_connecting(self) -> None:
        """While we connect the client is paused, and what it had said goes first, after success."""
        exit_ = self.slow_exit()
        self.assertEqual(self.transport.producerState, "paused")
        self.connection.dataReceived(b"early")
        self.assertEqual(self.say(b""), b"\x05\x00")
        server = exit_.arrive()
        self.assertEqual(self.say(b""), b"\x05\x00" + reply(0))
        self.assertEqual(self.transport.producerState, "producing")
        self.assertEqual(server.value(), b"early")
        self.connection.abort()

    def test_leaving_while_connecting(self) -> None:
        """A client that leaves while we connect ends that; a connection that comes late is cut."""
        exit_ = self.slow_exit()
        self.transport.abortConnection()
        self.assertEqual((exit_.given_up, len(self.gate.forgotten)), (1, 1))
        self.assertTrue(exit_.arrive().was_aborted)
        self.door.close()
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])

    def test_no_sockets_for_an_association(self) -> None:
        """An association for which the system has no socket is a general failure."""
        self.begin()
        self.reactor.has_sockets = False
        answer = self.say(NO_AUTH + b"\x05\x03\x00\x01" + bytes(6))
        self.assertEqual(answer, b"\x05\x00" + reply(1))
        self.assertTrue(self.transport.is_closed)

    def test_leaving_while_resolving(self) -> None:
        """A client that leaves while its name is resolved is forgotten, and nothing is counted."""
        self.resolver.names["example.org"] = Deferred()
        self.begin()
        self.say(NO_AUTH + CONNECT_NAME)
        self.transport.abortConnection()
        self.assertEqual(self.drops(), {})
        self.door.close()
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])

    def test_name_blocked_everywhere(self) -> None:
        """A name all of whose addresses are blocked is refused, and each was judged by name."""
        self.resolver.names["example.org"] = (pack("192.0.2.1"), pack("2001:db8::1"))
        self.begin()
        self.assertEqual(self.say(NO_AUTH + CONNECT_NAME), b"\x05\x00" + reply(2))
        self.assertEqual(
            [names for _key, _payload, names in self.gate.judged], [("example.org",)] * 2
        )
        self.assertEqual(len(self.gate.forgotten), 2)

    def test_candidates_limit(self) -> None:
        """Of a name with very many addresses only so many are judged."""
        self.resolver.names["example.org"] = tuple(pack(f"192.0.2.{n}") for n in range(50))
        self.begin(limits=Limits(candidates=16))
        self.say(NO_AUTH + CONNECT_NAME)
        self.assertEqual(len(self.gate.judged), 16)

    @given(st.lists(st.binary(max_size=40), max_size=6), st.booleans(), st.booleans())
    @settings(deadline=None, max_examples=150)
    def test_garbage(self, pieces: list[bytes], is_socks: bool, has_users: bool) -> None:
        """Of any octets comes no exception, no destination that was not judged, no leftover."""
        self.gate.judged.clear()
        self.begin({"alice": "secret"} if has_users else None)
        if is_socks:
            self.say(b"\x05\x02\x00\x02")
        for piece in pieces:
            self.say(piece)
        self.connection.abort()
        self.assertTrue(self.transport.is_closed)
        self.door.close()
        self.assertEqual(self.reactor.clock.getDelayedCalls(), [])


class ConnectTests(ListenerCase):
    """CONNECT, with sockets."""

    async def ask(self, request: bytes, more: bytes = b"") -> TcpPeer:
        """Open a listener, and ask it at once, without waiting for the greeting's answer."""
        self.listener = Socks5Listener(LOOPBACK, self.wiring())
        client = await self.connect(self.open(self.listener))
        client.say(NO_AUTH + request + more)
        await self.until(lambda: client.heard_len >= 12 or client.is_lost)
        return client

    async def test_ipv4(self) -> None:
        """An IPv4 destination is reached, and answers."""
        edge = self.tcp_edge(str(EDGE), ALLOW)
        client = await self.ask(CONNECT_V4, b"hello")
        await self.until(lambda: edge.peers[0].heard == b"hello")
        edge.peers[0].say(b"welcome")
        await self.until(lambda: client.heard == b"\x05\x00" + reply(0) + b"welcome")

    async def test_ipv6(self) -> None:
        """An IPv6 destination is reached."""
        edge = self.tcp_edge("[2001:db8::1]:443", ALLOW)
        await self.ask(b"\x05\x01\x00\x04\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x01\xbb", b"six")
        await self.until(lambda: edge.peers[0].heard == b"six")

    async def test_name(self) -> None:
        """The first address of a name that is not blocked is used; the others are forgotten."""
        edge = self.tcp_edge("192.0.2.2:443", ALLOW)
        other = self.tcp_edge("192.0.2.1:443", BLOCK)
        self.resolver.names["example.org"] = (pack("192.0.2.1"), pack("192.0.2.2"))
        await self.ask(CONNECT_NAME, b"hello")
        await self.until(lambda: edge.peers[0].heard == b"hello")
        self.assertEqual(other.peers, [])
        self.assertEqual([key.destination.host for key in self.gate.forgotten], ["192.0.2.1"])

    async def test_name_not_yet_decided(self) -> None:
        """An address that is allowed is preferred to one that its bytes must decide."""
        edge = self.tcp_edge("192.0.2.2:443", ALLOW)
        self.gate.on[Endpoint.parse("192.0.2.1:443")] = unsettled(BLOCK)
        self.resolver.names["example.org"] = (pack("192.0.2.1"), pack("192.0.2.2"))
        await self.ask(CONNECT_NAME, b"hello")
        await self.until(lambda: edge.peers[0].heard == b"hello")

    async def test_success_before_first_bytes(self) -> None:
        """Where the bytes decide, success is said first: otherwise the client never speaks."""
        edge = self.tcp_edge(str(EDGE), unsettled(ALLOW))
        client = await self.ask(CONNECT_V4)
        self.assertEqual(client.heard, b"\x05\x00" + reply(0))
        self.assertEqual(edge.peers, [])

    async def test_first_bytes_with_the_request(self) -> None:
        """First bytes that come with the request are judged like those that come later."""
        edge = self.tcp_edge(
            str(EDGE), lambda _key, payload, _names: unsettled(ALLOW) if payload is None else ALLOW
        )
        await self.ask(CONNECT_V4, b"hello")
        await self.until(lambda: edge.peers and edge.peers[0].heard == b"hello")
        self.assertEqual([payload for _key, payload, _names in self.gate.judged], [None, b"hello"])

    async def test_refused(self) -> None:
        """A destination that refuses is said to have refused."""
        edge = self.tcp_edge(str(EDGE), ALLOW)
        stopping = edge.port.stopListening()
        assert stopping is not None
        await stopping
        client = await self.ask(CONNECT_V4)
        self.assertEqual(client.heard, b"\x05\x00" + reply(5))
        await self.until(lambda: client.has_ended)
