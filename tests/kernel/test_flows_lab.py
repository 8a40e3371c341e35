"""Flows through the toy gateway: relays, looks, marks of others, and what the gateway itself is
asked."""

from __future__ import annotations

import socket
from functools import partial

from gateway.kernel.marks import EARLIER, JUDGE, mark
from gateway.model import Endpoint
from tests.kernel.toy import ALLOW, RELAY
from tests.kernel.toy_case import FAMILIES, ToyCase, both
from tests.lab.topology import Lab, Space

_RELAYS = tuple(str(at) for at in (RELAY.v4, RELAY.v6))
_RTP = bytes.fromhex("8060000100000001aabbccdd") + bytes([7]) * 20

_OTHER = """
table inet other {
  counter kept { }
  counter lost { }
  chain before {
    type filter hook prerouting priority -190; policy accept;
    meta mark set meta mark or 0x4200
    ct mark set ct mark or 0x1300
  }
  chain after {
    type filter hook postrouting priority 200; policy accept;
    iifname != clients accept
    oifname != uplink accept
    meta mark and 0xff00 == 0x4200 ct mark and 0xff00 == 0x1300 counter name kept accept
    counter name lost
  }
}
"""


class RelayTests(ToyCase):
    """Flows that go to a relay."""

    def test_relay(self) -> None:
        """Its datagrams and octets go there, and nowhere else; the client sees the address it
        asked for, and the kernel carries it without asking again."""
        for six in FAMILIES:
            to = both(2)[six]
            client = self.client(to)
            for number in range(20):
                said = b"\x7f%d" % number
                self.assertEqual(self.ask(client, to, said), (said, Endpoint.parse(to)))
            self.assertEqual(len(self.arrived(_RELAYS[six])), 20)
            self.assertEqual(self.sources(_RELAYS[six]), {Lab.CLIENT[six]})
            self.assertEqual(self.converse(to, b"a stream"), b"a stream")
            self.assertIn(b"a stream", self.arrived(_RELAYS[six]))
            self.assertEqual(self.uplink.between(self.host(to)), [])
        self.assertEqual(len(self.toy.asked), 4)

    def test_moved(self) -> None:
        """A flow that another epoch sends elsewhere loses one datagram, and then goes there; one
        that stays loses none."""
        clients = {six: self.client(both(2)[six]) for six in FAMILIES}
        for six, client in clients.items():
            for last in (1, 2):
                self.ask(client, both(last)[six], b"\x7fa")
        self.toy.gate.verdicts[2] = ALLOW
        self.toy.change(epoch=2)
        for six, client in clients.items():
            to = both(2)[six]
            self.send(client, to, b"\x7flost")
            self.until(partial(self.has_forgotten, six + 1), "it was never forgotten")
            self.assertEqual(self.ask(client, to, b"\x7fb"), (b"\x7fb", Endpoint.parse(to)))
            self.assertEqual(self.arrived(to), [b"\x7fb"])
            self.assertEqual(self.arrived(_RELAYS[six]), [b"\x7fa"])
            self.assertEqual(self.ask(client, both(1)[six], b"\x7fb")[0], b"\x7fb")
        marks = [one.mark for one in self.toy.asked[4:]]
        again = [mark(0, 1, JUDGE | EARLIER), JUDGE, mark(0, 0, JUDGE | EARLIER)]
        self.assertEqual(marks, again * 2)

    def has_forgotten(self, count: int) -> bool:
        """Say whether so many flows have been forgotten."""
        return len(self.toy.forgotten) >= count


class FlowTests(ToyCase):
    """What is judged, what is kept, and what is nobody's flow."""

    def test_looks(self) -> None:
        """A kind of datagram that is looked at once a flow comes to Python once, in each epoch."""
        for epoch in (1, 2):
            self.toy.change(epoch=epoch)
            self.toy.asked.clear()
            for six in FAMILIES:
                to = both(1)[six]
                client = self.client(to)
                for payload in (b"\x7fa", _RTP, _RTP, b"\x7fb", _RTP, _RTP):
                    self.assertEqual(self.ask(client, to, payload)[0], payload)
            self.assertEqual(len(self.toy.asked), 4)

    def test_others_marks(self) -> None:
        """What other software has put into its byte of the marks is there still, whatever becomes
        of a flow, and its own table is as it was."""
        self.gateway("nft", "-f", "-", text=_OTHER)
        for epoch in (1, 2):
            self.toy.change(epoch=epoch)
            for six in FAMILIES:
                for last in (1, 2):
                    to = both(last)[six]
                    client = self.client(to, port=5000 + last)
                    for payload in (b"\x7fa", _RTP, _RTP, b"\x7fb"):
                        self.ask(client, to, payload)
                    client.close()
                    self.assertEqual(self.converse(to, b"a stream"), b"a stream")
                self.assertTrue(self.echo(both(1)[six]))
        self.assertEqual({one.mark & 0xFF00 for one in self.toy.asked}, {0x4200})
        counted = self.gateway("nft", "list", "counters")
        self.assertRegex(counted, r"kept \{\n\s*packets [1-9]\d+ ")
        self.assertRegex(counted, r"lost \{\n\s*packets 0 ")

    def test_queue_skipped(self) -> None:
        """Where the way to the queue is missing nothing new passes, and what was let go goes on."""
        clients = [self.client(both(1)[six]) for six in FAMILIES]
        for six in FAMILIES:
            self.ask(clients[six], both(1)[six], b"\x7fa")
        self.gateway("nft", "flush", "chain", "inet", "gateway", "asking")
        for six in FAMILIES:
            self.send(self.client(both(5)[six]), both(5)[six], b"\x7fa")
            self.assertEqual(self.ask(clients[six], both(1)[six], b"\x7fb")[0], b"\x7fb")
        self.assertEqual(self.uplink.between(*map(self.host, both(5))), [])

    def test_dead(self) -> None:
        """When nobody judges nothing new passes, and what was let go goes on, sampled packets
        too."""
        self.toy.change(spot_check=1, epoch=2)
        clients = [self.client(both(1)[six]) for six in FAMILIES]
        for six in FAMILIES:
            for _ in range(3):
                self.ask(clients[six], both(1)[six], b"\x7fa")
        self.assertEqual(len(self.toy.asked), 6)
        self.toy.stop()
        for six in FAMILIES:
            self.send(self.client(both(5)[six]), both(5)[six], b"\x7fa")
            for _ in range(3):
                self.assertEqual(self.ask(clients[six], both(1)[six], b"\x7fb")[0], b"\x7fb")
        self.assertEqual(self.uplink.between(*map(self.host, both(5))), [])

    def test_own(self) -> None:
        """The gateway answers echo, and none of its other ports; nobody is asked."""
        for six in FAMILIES:
            host = f"[{Lab.GATEWAY[1]}]" if six else Lab.GATEWAY[0]
            family = socket.AF_INET6 if six else socket.AF_INET
            with self.lab.socket(Space.GATEWAY, family, socket.SOCK_DGRAM) as closed:
                closed.bind((Lab.GATEWAY[six], 5353))
                closed.setblocking(False)
                self.send(self.client(f"{host}:0"), f"{host}:5353", b"hello")
                self.assertTrue(self.echo(f"{host}:0"))
                self.assertRaises(BlockingIOError, closed.recv, 100)
        self.assertEqual(self.toy.asked, [])
