"""Tests of gateway.wire.sd_rtn: the encrypted successor's handshake."""

from __future__ import annotations

from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Protocol, Traffic
from gateway.wire.sd_rtn import dashed_address, recognise
from tests.support.rows import rows
from tests.wire import captures, examples

HELLO = examples.hello("192-0-2-1.edge.agora.io")
ACK = bytes.fromhex("005b384c0000020000a1b200")


class HandshakeTests(SynchronousTestCase):
    """Datagrams built here."""

    def test_hello(self) -> None:
        """A hello is signalling that carries its server's name and no identifier."""
        content = recognise(HELLO)
        assert content is not None
        self.assertEqual(
            (content.protocol, content.message, content.traffic, content.plaintext, content.names),
            (Protocol.SD_RTN, "hello", Traffic.SIGNALLING, (), ("192-0-2-1.edge.agora.io",)),
        )

    def test_any_number_of_tags(self) -> None:
        """A fresh client's three tags are recognised as the four of one with certificates are."""
        four = examples.hello("192-0-2-1.edge.agora.io", (b"CCRT", bytes(40)))
        for payload in (HELLO, four):
            content = recognise(payload)
            assert content is not None
            self.assertEqual(content.message, "hello")

    def test_no_host_name(self) -> None:
        """What stands for a name and is none is not given as one, and may tell anything."""
        for text in ("SECRETSNI " * 6000, "192.0.2.1", "uid=7"):
            content = recognise(examples.hello(text))
            assert content is not None
            self.assertEqual((content.names, content.plaintext), ((), None))

    def test_cut_and_tail(self) -> None:
        """A hello cut anywhere, or with a tail, is none."""
        for end in range(len(HELLO)):
            self.assertIsNone(recognise(HELLO[:end]), end)
        self.assertIsNone(recognise(HELLO + b"\0"))

    def test_ack(self) -> None:
        """An ack is twelve octets, not one more."""
        content = recognise(ACK)
        assert content is not None
        self.assertEqual(content.message, "ack")
        self.assertIsNone(recognise(ACK + b"\0"))

    def test_without_name(self) -> None:
        """Tags without a server name are no hello."""
        tags = examples.sd_rtn_tags((b"PDMD", b""))
        self.assertIsNone(recognise(HELLO[:12] + tags))

    def test_tags_of_noise(self) -> None:
        """Tags that are not made of letters are no handshake."""
        for tag in (b"\0PDM", b"P-MD", b"\xff\xff\xff\xff"):
            tags = examples.sd_rtn_tags((b"SNI\0", b"x.example"), (tag, b""))
            self.assertIsNone(recognise(HELLO[:12] + tags), tag)

    def test_too_many_tags(self) -> None:
        """Sixteen tags are read, seventeen are no handshake."""
        for count, message in ((16, "hello"), (17, None)):
            tags = [(b"SNI\0", b"x.example")] + [(b"PDMD", b"")] * (count - 1)
            content = recognise(HELLO[:12] + examples.sd_rtn_tags(*tags))
            self.assertEqual(content and content.message, message)

    def test_encrypted(self) -> None:
        """An encrypted datagram is not claimed: nothing tells it from noise."""
        self.assertIsNone(recognise(b"\x01\x5a\x38\x4c" + b"\x5a" * 117))


@rows(
    address={
        "an edge": ("23-248-186-179.edge.agora.io", "23.248.186.179"),
        "another domain": ("192-0-2-1.edge.agoraio.cn", "192.0.2.1"),
        "an address alone": ("192-0-2-1", "192.0.2.1"),
        "a plain name": ("secure-edge.sd-rtn.com", None),
        "an octet too large": ("192-0-2-256.edge.agora.io", None),
        "five octets": ("1-192-0-2-1.edge.agora.io", None),
        "an address in another label": ("edge.192-0-2-1.agora.io", None),
        "a longer label": ("192-0-2-1x.agora.io", None),
        "digits of another script": ("١-0-2-1.agora.io", None),
        "nothing": ("", None),
    }
)
class DashedAddressTests(SynchronousTestCase):
    """Names that spell an address."""

    def check_address(self, name: str, address: str | None) -> None:
        """The address in a name's first label is given, and nothing else."""
        self.assertEqual(dashed_address(name), address)


class CaptureTests(SynchronousTestCase):
    """Real handshakes, outside the project."""

    def test_of_2022(self) -> None:
        """Every cleartext datagram of the public capture is recognised, no encrypted one is."""
        kinds: Counter[tuple[int, str | None]] = Counter()
        for packet in captures.packets(captures.foreign("agora-sd-rtn.pcap")):
            content = recognise(packet.payload)
            kinds[packet.payload[0], content.message if content else None] += 1
        self.assertEqual(
            kinds, {(0, "hello"): 135, (0, "server-hello"): 77, (0, "ack"): 66, (1, None): 125}
        )

    def test_of_3_4_1(self) -> None:
        """All hellos of SDK 3.4.1 are recognised; a dashed name is the address they go to."""
        dashed = 0
        for packet in captures.packets(captures.live(captures.ENCRYPTED)):
            if packet.destination.port not in (8130, 8443) or packet.sequence:
                continue
            content = recognise(packet.payload)
            assert content is not None, packet
            self.assertEqual(content.message, "hello")
            address = dashed_address(content.names[0])
            if address is not None:
                self.assertEqual(address, packet.destination.host)
                dashed += 1
        self.assertGreater(dashed, 500)
