"""Tests of the lab's internet."""

from __future__ import annotations

import socket

from gateway.demo.conversation import Conversation, Said
from gateway.model import Endpoint, FlowKey, Transport
from tests.lab.answers import Captured
from tests.lab.case import LabCase
from tests.lab.internet import Arrival
from tests.lab.topology import Lab, Space
from tests.support.rows import rows

_UDP, _TCP = socket.SOCK_DGRAM, socket.SOCK_STREAM


def _capture() -> Captured:
    """Give the answers of a made-up capture: a, a, b over UDP; hello, more over TCP."""
    udp = FlowKey.parse("udp 10.1.0.2:1 > 203.0.113.7:4001")
    tcp = FlowKey.parse("tcp 10.1.0.2:1 > 203.0.113.7:4001")
    words = [
        (True, b"a"),
        (False, b"A1"),
        (True, b"a"),
        (False, b"A2"),
        (False, b"A3"),
        (True, b"b"),
    ]
    stream = [(True, b"hello"), (False, b"HELLO"), (True, b"more"), (False, b"MORE")]
    return Captured(
        Conversation(key, [Said(0.0, *each) for each in said])
        for key, said in ((udp, words), (tcp, stream))
    )


@rows(
    anywhere={
        f"{name} {to}": (kind, source, to)
        for name, kind in (("UDP", _UDP), ("TCP", _TCP))
        for source, to in (
            (Lab.CLIENT[0], "118.190.148.38:8000"),
            (Lab.CLIENT[0], "1.1.1.1:9"),
            (Lab.CLIENT[0], "10.2.0.2:65535"),
            (Lab.CLIENT[0], "192.0.2.1:1"),
            (Lab.CLIENT[1], "[2001:db9::1]:443"),
            (Lab.CLIENT[1], "[64:ff9b::7272:7272]:9"),
        )
    }
)
class InternetTests(LabCase):
    """Somebody answers everywhere, and what arrived is known."""

    def check_anywhere(self, kind: int, source: str, to: str) -> None:
        """An address nobody prepared for answers from itself, and knows who asked."""
        internet = self.internet()
        answer, whom = self.say(kind, source, to, b"hello")
        self.assertEqual((answer, str(whom)), (b"hello", to))
        (arrival,) = internet.arrived()
        self.assertEqual(arrival.source.host, source)
        transport = Transport.UDP if kind == _UDP else Transport.TCP
        expected = Arrival(transport, arrival.source, Endpoint.parse(to), b"hello")
        self.assertEqual(arrival, expected)
        self.assertEqual(internet.missed, 0)

    def test_hosts_of_the_lab(self) -> None:
        """What is meant for a host of the lab passes by, also over the internet and back."""
        internet = self.internet()
        for at, family in enumerate((socket.AF_INET, socket.AF_INET6)):
            with (
                self.lab.socket(Space.EXIT, family, _UDP) as exit_,
                self.lab.socket(Space.GATEWAY, family, _UDP) as gateway,
            ):
                for each, address in ((exit_, Lab.EXIT[at]), (gateway, Lab.UPLINK[at])):
                    each.settimeout(5.0)
                    each.bind((address, 4433))
                gateway.sendto(b"hello", (Lab.EXIT[at], 4433))
                exit_.sendto(*exit_.recvfrom(100))
                self.assertEqual(gateway.recv(100), b"hello")
        self.assertEqual(internet.arrived(), [])

    def test_captured_datagrams(self) -> None:
        """A captured destination answers as it did: in order, the last answer again and again."""
        self.internet(_capture())
        with self.lab.socket(Space.CLIENT, socket.AF_INET, _UDP) as client:
            client.settimeout(5.0)
            client.connect(("203.0.113.7", 4001))
            heard = []
            for said, answers in ((b"a", 1), (b"a", 2), (b"b", 0), (b"a", 2)):
                client.send(said)
                heard.append([client.recv(100) for _ in range(answers)])
            client.settimeout(0.1)
            self.assertRaises(TimeoutError, client.recv, 100)
        self.assertEqual(heard, [[b"A1"], [b"A2", b"A3"], [], [b"A2", b"A3"]])

    def test_captured_stream(self) -> None:
        """A captured stream is answered piece by piece, however it is cut on the way."""
        self.internet(_capture())
        with self.lab.socket(Space.CLIENT, socket.AF_INET, _TCP) as client:
            client.settimeout(5.0)
            client.connect(("203.0.113.7", 4001))
            client.sendall(b"hel")
            client.sendall(b"lomo")
            self.assertEqual(client.recv(100), b"HELLO")
            client.sendall(b"re")
            self.assertEqual(client.recv(100), b"MORE")

    def test_flood(self) -> None:
        """A burst of datagrams is kept whole and in order."""
        internet = self.internet(Captured([]))
        with self.lab.socket(Space.CLIENT, socket.AF_INET, _UDP) as client:
            for number in range(5_000):
                client.sendto(number.to_bytes(2, "big"), ("8.8.8.8", 53))
        internet.wait_quiet()
        numbers = [int.from_bytes(each.payload, "big") for each in internet.arrived()]
        self.assertEqual(numbers, list(range(5_000)))

    def test_stop(self) -> None:
        """After stop() nobody answers, and open streams are closed."""
        internet = self.internet()
        with self.lab.socket(Space.CLIENT, socket.AF_INET, _TCP) as client:
            client.settimeout(5.0)
            client.connect(("8.8.8.8", 80))
            client.sendall(b"hello")
            self.assertEqual(client.recv(100), b"hello")
            internet.stop()
            self.assertEqual(client.recv(100), b"")
        self.assertRaises(OSError, self.say, _TCP, Lab.CLIENT[0], "8.8.8.8:80", b"anyone?")
