"""Tests of gateway.flow.openings."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.openings import Openings
from gateway.model import Content, FlowKey
from gateway.wire import QUIC_IN_PART, recognise
from tests.wire.initials import HANDSHAKE, ID, crypto, initial

KEY = FlowKey.parse("udp 10.1.0.2:50000 > 192.0.2.1:443")
FIRST = initial(crypto(0, HANDSHAKE[:40]))
SECOND = initial(crypto(40, HANDSHAKE[40:]))


class OpeningsTests(SynchronousTestCase):
    """Hellos over several datagrams."""

    def setUp(self) -> None:
        self.openings = Openings()

    def told(self, payload: bytes, key: FlowKey = KEY) -> Content:
        """Give what a datagram is told to be."""
        return self.openings.content(key, payload, recognise(key.transport, payload))

    def test_in_either_order(self) -> None:
        """The datagram that makes the hello whole has its name."""
        for payloads in ((FIRST, SECOND), (SECOND, FIRST)):
            openings = self.openings = Openings()
            self.assertEqual(self.told(payloads[0]).message, QUIC_IN_PART)
            self.assertEqual(self.told(payloads[1]).names, ("example.com",))
            self.assertEqual(len(openings), 1)

    def test_again(self) -> None:
        """So has every repetition of it: a block stays one."""
        self.told(FIRST)
        for _ in range(5):
            self.assertEqual(self.told(SECOND).names, ("example.com",))

    def test_other_flow(self) -> None:
        """Another flow's datagrams tell nothing."""
        self.told(FIRST)
        other = KEY._replace(client=KEY.client._replace(port=50001))
        self.assertEqual(self.told(SECOND, other).names, ())

    def test_next_connection(self) -> None:
        """The next connection between the same ends is told by its own datagrams."""
        self.told(FIRST)
        self.told(SECOND)
        hello = HANDSHAKE.replace(b"example.com", b"another.com")
        first = initial(crypto(0, hello[:40]), id_=b"12345678")
        second = initial(crypto(40, hello[40:]), id_=b"12345678")
        self.assertEqual(self.told(first).message, QUIC_IN_PART)
        self.assertEqual(self.told(second).names, ("another.com",))

    def test_bounds(self) -> None:
        """At most 512 flows are kept, three datagrams of each, none of more than 2 KiB."""
        for port in range(600):
            self.told(FIRST, KEY._replace(client=KEY.client._replace(port=port)))
        self.assertEqual(len(self.openings), 512)
        for at in range(41, 60):
            self.told(initial(crypto(at, HANDSHAKE[at : at + 1]), first_id=ID))
        self.assertEqual(len(self.openings._kept[KEY]), 3)
        long = initial(crypto(0, HANDSHAKE[:40]), pad_to=2100)
        openings = self.openings = Openings()
        self.told(long)
        self.assertEqual(len(openings), 0)

    def test_forgotten(self) -> None:
        """A flow that ended keeps nothing."""
        self.told(FIRST)
        self.openings.forget(KEY)
        self.openings.forget(KEY)
        self.assertEqual(len(self.openings), 0)
