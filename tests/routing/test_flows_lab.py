"""Router mode, flow by flow: each goes where its verdict says, in IPv4 and IPv6 alike."""

from __future__ import annotations

import socket

from tests.lab.router_case import RouterCase
from tests.lab.topology import Lab, Space
from tests.lab.wire import Wire
from tests.support.epochs import PING, STUN
from tests.wire.examples import client_hello

_FAMILIES = (0, 1)
"""IPv4 and IPv6, as indices of the pairs below."""
_EDGES = ("203.0.113.7:4001", "[2001:db8:a::7]:4001")
_OTHER_EDGES = ("203.0.113.8:4001", "[2001:db8:a::8]:4001")
_CHINESE = ("118.190.148.38:8000", "[2408:8000::38]:8000")
_WEB = b"GET /speed HTTP/1.1\r\nHost: edge.example\r\n\r\n"
_NAMING = b"GET /join?uid=778899 HTTP/1.1\r\nHost: edge.example\r\n\r\n"


class DatagramTests(RouterCase):
    """UDP, ICMP and what else there is."""

    def test_udp(self) -> None:
        """One socket to many edges is judged edge by edge: one directly, as from the client
        itself, one by the exit, one not at all."""
        for six in _FAMILIES:
            client = self.client(_EDGES[six])
            self.assertEqual(self.ask(client, _EDGES[six], STUN)[0], STUN)
            octets, source = self.ask(client, _OTHER_EDGES[six], PING)
            self.assertEqual((octets, str(source)), (PING, _OTHER_EDGES[six]))
            self.send(client, _CHINESE[six], STUN)
            self.send(client, _CHINESE[six], PING)
            self.assertEqual(self.ask(client, _EDGES[six], STUN)[0], STUN)
            self.internet_.wait_quiet()
            self.assertEqual(self.sources(_EDGES[six]), {Lab.CLIENT[six]})
            self.assertEqual(self.sources(_OTHER_EDGES[six]), {Lab.EXIT[six]})
            self.assertEqual(self.arrived(_CHINESE[six]), [])
            self.assertEqual(self.uplink.between(_CHINESE[six].rsplit(":", 1)[0].strip("[]")), [])

    def test_signature(self) -> None:
        """A plaintext ping in the middle of an accepted flow goes by the exit, and the flow goes
        on."""
        for six in _FAMILIES:
            client = self.client(_EDGES[six])
            for payload in (STUN, PING, STUN, PING):
                octets, source = self.ask(client, _EDGES[six], payload)
                self.assertEqual((octets, str(source)), (payload, _EDGES[six]))
            arrived = {
                (one.source.host, one.payload)
                for one in self.internet_.arrived()
                if str(one.destination) == _EDGES[six]
            }
            self.assertEqual(arrived, {(Lab.CLIENT[six], STUN), (Lab.EXIT[six], PING)})

    def test_answers(self) -> None:
        """From outside only answers to judged flows pass."""
        for six in _FAMILIES:
            client = self.client(_EDGES[six], port=5000 + six)
            self.ask(client, _EDGES[six], STUN)
            inside = self.wire(Space.GATEWAY, "clients")
            family = socket.AF_INET6 if six else socket.AF_INET
            with self.lab.socket(Space.INTERNET, family, socket.SOCK_DGRAM) as stranger:
                for port in (5000 + six, 6000):
                    stranger.sendto(b"knock", (Lab.CLIENT[six], port))
            self.assertEqual(self.ask(client, _EDGES[six], STUN)[0], STUN)
            inside.stop()
            self.assertEqual([one.payload for one in inside.packets()], [STUN, STUN])

    def test_late_answer(self) -> None:
        """A client that is gone when the answer to its wrapped ping comes does not quote it to the
        world in an ICMP error."""
        for six in _FAMILIES:
            client = self.client(_EDGES[six])
            self.assertEqual(self.ask(client, _EDGES[six], STUN)[0], STUN)
            inside = self.wire(Space.GATEWAY, "clients")
            self.send(client, _EDGES[six], PING)
            client.close()
            # The ping, its answer, and the error that quotes the answer.
            self.wait_naming(inside, 3)
            inside.stop()
            self.internet_.wait_quiet()
            self.assertEqual(_naming(self.uplink), 0)

    def wait_naming(self, wire: Wire, count: int) -> None:
        """Wait until so many frames have shown the ping's user."""
        self.until(lambda: _naming(wire) >= count, "the client says nothing of the late answer")

    def test_icmp(self) -> None:
        """An echo request is judged by its address."""
        for six in _FAMILIES:
            self.assertTrue(self.echo(_EDGES[six]))
            self.assertFalse(self.echo(_CHINESE[six], wait_s=0.5))
            self.assertTrue(self.echo(_OTHER_EDGES[six]))
            self.assertEqual(self.uplink.between(self.host(_CHINESE[six])), [])

    def test_others(self) -> None:
        """A protocol that nobody knows is not let pass by a policy that asks what it carries."""
        for six in _FAMILIES:
            family = socket.AF_INET6 if six else socket.AF_INET
            with self.lab.socket(Space.CLIENT, family, socket.SOCK_RAW, 132) as client:
                for to in (_EDGES[six], _CHINESE[six]):
                    client.sendto(bytes(16), (self.host(to), 0))
            self.assertTrue(self.echo(_OTHER_EDGES[six]))
            self.assertEqual(
                self.uplink.between(self.host(_EDGES[six]), self.host(_CHINESE[six])), []
            )


class StreamTests(RouterCase):
    """TCP."""

    def test_blocked(self) -> None:
        """Not even a SYN goes where nothing goes."""
        for six in _FAMILIES:
            stream = self.client(_CHINESE[six], socket.SOCK_STREAM)
            stream.settimeout(0.5)
            self.assertRaises(OSError, stream.connect, (self.host(_CHINESE[six]), 443))
            self.assertEqual(self.converse(self.web(six), _WEB), _WEB)
            self.assertEqual(self.uplink.between(self.host(_CHINESE[six])), [])

    def test_wrapped(self) -> None:
        """A stream that names somebody goes by the exit."""
        for six in _FAMILIES:
            self.assertEqual(self.converse(self.web(six), _NAMING), _NAMING)
            self.assertEqual(self.sources(self.web(six)), {Lab.EXIT[six]})
            shown = [frame for frame in self.uplink.frames() if b"778899" in frame.octets]
            self.assertEqual(shown, [])

    def test_by_proxy(self) -> None:
        """One that names nobody goes directly, by the local proxy where its content decided."""
        for six in _FAMILIES:
            self.assertEqual(self.converse(self.web(six), _WEB), _WEB)
            self.assertEqual(self.sources(self.web(six)), {Lab.UPLINK[six]})

    def test_straight(self) -> None:
        """Where clients speak TLS the kernel carries a stream once its first octets are read, in
        however many segments they come, and the client keeps its own address."""
        for six in _FAMILIES:
            to, hello = self.tls(six), client_hello("voice.example")
            stream = self.connect(to)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(0, len(hello), 50):
                stream.sendall(hello[at : at + 50])
            self.assertEqual(self.hear(stream, len(hello)), hello)
            stream.sendall(bytes(100_000))
            self.assertEqual(self.hear(stream, 100_000), bytes(100_000))
            self.assertEqual(self.sources(to), {Lab.CLIENT[six]})

    def test_name(self) -> None:
        """A name that is forbidden is read before any octet goes on."""
        for count, six in enumerate(_FAMILIES, 1):
            to, hello = self.tls(six), client_hello("ap.agoraio.cn")
            stream = self.connect(to)
            stream.sendall(hello[:40])
            stream.sendall(hello[40:])
            self.wait_named(count)
            self.assertEqual(self.named(), ["nothing-else-to-china"] * count)
            self.assertEqual(self.converse(self.web(six), _WEB), _WEB)
            self.assertEqual(self.arrived(to), [])

    def test_moved(self) -> None:
        """What names somebody where clients speak TLS is reset unsent, and the next try goes by the
        exit."""
        for six in _FAMILIES:
            to = self.tls(six)
            stream = self.connect(to)
            stream.sendall(_NAMING)
            self.assertRaises(ConnectionResetError, self.hear, stream, 1)
            self.assertEqual(self.arrived(to), [])
            self.assertEqual(self.converse(to, _NAMING), _NAMING)
            self.assertEqual(self.sources(to), {Lab.EXIT[six]})

    def named(self) -> list[str]:
        """Give the rules by which streams were judged that carry the forbidden name, whose last two
        labels the log keeps."""
        decisions = self.deployment.decisions()
        return [one["verdict"]["rule"] for one in decisions if "agoraio.cn" in str(one["facts"])]

    def wait_named(self, count: int) -> None:
        """Wait until so many streams with the forbidden name were judged."""
        self.until(lambda: len(self.named()) == count, "nothing was decided of the name")

    def web(self, six: int) -> str:
        """Give an endpoint to which HTTP is spoken."""
        return _EDGES[six].replace(":4001", ":80")

    def tls(self, six: int) -> str:
        """Give an endpoint to which TLS is spoken."""
        return _EDGES[six].replace(":4001", ":443")


def _naming(wire: Wire) -> int:
    return sum(PING[10:14] in one.octets for one in wire.frames())
