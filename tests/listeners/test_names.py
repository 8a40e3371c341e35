"""Names that clients ask for: those that are forbidden, and those of several addresses."""

from __future__ import annotations

from gateway.listeners.http_connect import HttpConnectListener
from gateway.listeners.limits import Limits
from gateway.listeners.socks5 import Socks5Listener
from gateway.model import Endpoint, pack
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import ALLOW, BLOCK, LOOPBACK, WRAP, SlowCarrier, by_content, unsettled
from tests.listeners.peers import TcpEdge, TcpPeer

NAME = "example.org"
CONNECT = b"\x05\x01\x00\x05\x01\x00\x03\x0bexample.org\x01\xbb"


class BarredTests(ListenerCase):
    """A name that the policy blocks goes out in no query."""

    def setUp(self) -> None:
        """Forbid the name, whose address is allowed."""
        super().setUp()
        self.gate.barred[NAME] = BLOCK
        self.resolver.names[NAME] = (pack("192.0.2.1"),)
        self.gate.on[Endpoint.parse("192.0.2.1:443")] = ALLOW
        self.gate.on[Endpoint.parse("192.0.2.1:53")] = ALLOW

    async def test_socks(self) -> None:
        """A SOCKS client is told that the rules forbid it; nobody is asked."""
        listener = Socks5Listener(LOOPBACK, self.wiring())
        client = await self.connect(self.open(listener))
        client.say(CONNECT)
        await self.until(lambda: client.has_ended)
        self.assertEqual(client.heard[2:4], b"\x05\x02")
        self.assertEqual((self.resolver.asked, self.gate.judged), ([], []))
        self.assertEqual(listener.counters["dropped_blocked"], 1)

    async def test_http(self) -> None:
        """An HTTP client is told so too."""
        client = await self.connect(self.open(HttpConnectListener(LOOPBACK, self.wiring())))
        client.say(b"CONNECT EXAMPLE.org.:443 HTTP/1.1\r\n\r\n")
        await self.until(lambda: client.has_ended)
        self.assertTrue(client.heard.startswith(b"HTTP/1.1 403 Forbidden\r\n"))
        self.assertEqual(self.resolver.asked, [])

    async def test_datagram(self) -> None:
        """A datagram to it is dropped and counted; one to another name is not."""
        edge = self.udp_edge("192.0.2.2:53", ALLOW)
        self.resolver.names["example.net"] = (pack("192.0.2.2"),)
        listener = Socks5Listener(LOOPBACK, self.wiring())
        control = await self.connect(self.open(listener))
        control.say(b"\x05\x01\x00\x05\x03\x00\x01" + bytes(6))
        await self.until(lambda: control.heard_len == 12)
        relay = Endpoint(control.heard[6:10], int.from_bytes(control.heard[10:]))
        client = self.udp_peer()
        for name in (b"example.org", b"example.net"):
            client.send(b"\0\0\0\3\x0b" + name + b"\x00\x35" + name, relay)
        await self.until(lambda: edge.got)
        self.assertEqual((edge.payloads, self.resolver.asked), ([b"example.net"], ["example.net"]))
        self.assertEqual(listener.counters["dropped_blocked"], 1)


class NextAddressTests(ListenerCase):
    """A name of several addresses, of which some do not answer."""

    async def dead(self, name: str) -> TcpEdge:
        """Have an address that refuses connections."""
        edge = self.tcp_edge(name, ALLOW)
        stopping = edge.port.stopListening()
        assert stopping is not None
        await stopping
        return edge

    async def ask(self, *hosts: str, limits: Limits | None = None) -> TcpPeer:
        """Ask for a name that has these addresses, and say hello."""
        self.resolver.names[NAME] = tuple(pack(host) for host in hosts)
        self.listener = Socks5Listener(LOOPBACK, self.wiring(limits))
        client = await self.connect(self.open(self.listener))
        client.say(CONNECT + b"hello")
        return client

    async def test_next(self) -> None:
        """Where the first refuses, the next that is not blocked is connected."""
        await self.dead("192.0.2.1:443")
        blocked = self.tcp_edge("192.0.2.2:443", BLOCK)
        edge = self.tcp_edge("192.0.2.3:443", ALLOW)
        await self.ask("192.0.2.1", "192.0.2.2", "192.0.2.3")
        await self.until(lambda: edge.peers and edge.peers[0].heard == b"hello")
        self.assertEqual(blocked.peers, [])
        gone = [key.destination.host for key in self.gate.forgotten]
        self.assertEqual(gone, ["192.0.2.2", "192.0.2.1"])
        self.assertEqual({names for _key, _what, names in self.gate.judged}, {(NAME,)})

    async def test_judged_by_the_bytes(self) -> None:
        """The next one is judged by the first bytes, too, if the first one was."""
        await self.dead("192.0.2.1:443")
        edge = self.tcp_edge("192.0.2.3:443", ALLOW)
        for host, answer in (("192.0.2.1", ALLOW), ("192.0.2.2", BLOCK), ("192.0.2.3", ALLOW)):
            self.gate.on[Endpoint.of(host, 443)] = by_content(ALLOW, answer)
        await self.ask("192.0.2.1", "192.0.2.2", "192.0.2.3")
        await self.until(lambda: edge.peers and edge.peers[0].heard == b"hello")
        seen = [key.destination.host for key, what, _names in self.gate.judged if what == b"hello"]
        self.assertEqual(seen, ["192.0.2.1", "192.0.2.2", "192.0.2.3"])

    async def test_unseen(self) -> None:
        """A client that was promised its destination unseen is not sent where bytes must decide."""
        await self.dead("192.0.2.1:443")
        edge = self.tcp_edge("192.0.2.2:443", unsettled(ALLOW))
        client = await self.ask("192.0.2.1", "192.0.2.2")
        await self.until(lambda: client.has_ended)
        self.assertEqual((client.heard[2:4], edge.peers), (b"\x05\x05", []))

    async def test_none_left(self) -> None:
        """Where all refuse, the client is told so, once."""
        await self.dead("192.0.2.1:443")
        await self.dead("192.0.2.2:443")
        client = await self.ask("192.0.2.1", "192.0.2.2")
        await self.until(lambda: client.has_ended)
        self.assertEqual(client.heard[2:4], b"\x05\x05")
        self.assertEqual(self.listener.counters["dropped_not_connected"], 1)

    async def test_timeout_is_the_last(self) -> None:
        """One that does not answer has used up the time: no other is dialled after it."""
        exit_ = self.routes.carriers["nearest"] = SlowCarrier()
        self.gate.on[Endpoint.parse("192.0.2.1:443")] = WRAP
        self.gate.on[Endpoint.parse("192.0.2.2:443")] = WRAP
        client = await self.ask("192.0.2.1", "192.0.2.2")
        await self.until(lambda: exit_.dialled)
        self.reactor.clock.advance(15)
        await self.until(lambda: client.has_ended)
        self.assertEqual((client.heard[2:4], len(exit_.dialled)), (b"\x05\x06", 1))

    async def test_exit_down(self) -> None:
        """A way that is not there is no address's fault: no other is tried, and it is said."""
        self.gate.on[Endpoint.parse("192.0.2.1:443")] = WRAP
        edge = self.tcp_edge("192.0.2.2:443", ALLOW)
        client = await self.ask("192.0.2.1", "192.0.2.2")
        await self.until(lambda: client.has_ended)
        self.assertEqual(edge.peers, [])
        [(key, reason)] = self.gate.failed
        self.assertEqual((key.destination.host, reason), ("192.0.2.1", "nearest: no such exit"))
