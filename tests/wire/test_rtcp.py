"""Tests of gateway.wire.rtcp."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import IdentifierKind, Protocol, Traffic
from gateway.wire import rtcp
from tests.support.rows import rows
from tests.wire import captures
from tests.wire.examples import sdes, sender_report


@rows(
    report={
        "a sender's": (sender_report(), "SR"),
        "a sender's of two blocks": (sender_report(2), "SR"),
        "more blocks counted than there are": (b"\x83" + sender_report(2)[1:], None),
        "a length past the end": (sender_report()[:-1], None),
        "an unknown type": (b"\x80\xd0\x00\x01" + bytes(4), None),
        "version 1": (b"\x40" + sender_report()[1:], None),
        "a BYE": (b"\x81\xcb\x00\x01" + bytes(4), "BYE"),
        "no source": (b"\x80\xcb\x00\x00" + bytes(4), None),
        "seven octets": (b"\x81\xcb\x00\x01" + bytes(3), None),
    }
)
class RecogniseTests(SynchronousTestCase):
    """The first packet decides."""

    def check_report(self, payload: bytes, message: str | None) -> None:
        """A compound datagram is claimed if its first packet is whole, and named after it."""
        content = rtcp.recognise(payload)
        self.assertEqual(content and content.message, message)
        if content:
            self.assertEqual((content.protocol, content.traffic), (Protocol.RTCP, Traffic.MEDIA))


class IdentifierTests(SynchronousTestCase):
    """Who an SDES says it is."""

    def _texts(self, payload: bytes) -> list[bytes]:
        content = rtcp.recognise(payload)
        assert content is not None and content.plaintext is not None
        for identifier in content.plaintext:
            self.assertIs(identifier.kind, IdentifierKind.ACCOUNT)
        return [payload[i.offset : i.offset + i.length] for i in content.plaintext]

    def test_items(self) -> None:
        """CNAME, NAME, EMAIL and PHONE identify; a tool and an empty name do not."""
        items = ((1, b"u@192.0.2.1"), (2, b"U"), (3, b"u@x.example"), (4, b"+1"), (6, b"tool"))
        payload = sender_report() + sdes(*items, (2, b""))
        self.assertEqual(self._texts(payload), [text for _, text in items[:4]])

    def test_before_ciphertext(self) -> None:
        """What was named stays named, whatever follows; SRTCP's ciphertext names nobody."""
        payload = sender_report() + sdes((1, b"u@h"))
        self.assertEqual(self._texts(payload + b"\x5a" * 20), [b"u@h"])
        self.assertEqual(self._texts(sender_report() + b"\x5a" * 20), [])
        self.assertEqual(self._texts(sender_report() + b"\x80\xca\xff\xff" + bytes(16)), [])

    def test_malformed(self) -> None:
        """An SDES that fits and cannot be read may name anybody."""
        for body in (b"\x11" * 4 + b"\x01\x09u@h", b"\x11" * 4 + b"\x01\x02uh"):
            content = rtcp.recognise(
                sender_report() + b"\x81\xca\x00\x02" + body[:8].ljust(8, b"u")
            )
            assert content is not None
            self.assertIsNone(content.plaintext)

    def test_every_length(self) -> None:
        """The padding of a chunk is passed over, whatever the name's length."""
        for length in range(1, 12):
            name = b"n" * length
            payload = sender_report() + sdes((1, name)) + sdes((1, name))
            self.assertEqual(self._texts(payload), [name, name], length)

    def test_two_sources(self) -> None:
        """Chunks follow one another in one packet."""
        one, two = sdes((1, b"a@b"))[4:], sdes((1, b"c@d"))[4:]
        packet = b"\x82\xca" + ((len(one) + len(two)) // 4).to_bytes(2, "big") + one + two
        self.assertEqual(self._texts(packet), [b"a@b", b"c@d"])

    def test_srtcp(self) -> None:
        """Ciphertext behind a whole first packet is no name."""
        self.assertEqual(self._texts(sender_report() + b"\x5a" * 40), [])

    @settings(deadline=None, max_examples=200)
    @given(st.integers(0, 31), st.integers(192, 223), st.binary(max_size=80))
    def test_any_body(self, count: int, kind: int, body: bytes) -> None:
        """Whatever follows a header: a content with identifiers inside it, or none."""
        payload = bytes((0x80 | count, kind, 0, len(body) // 4)) + body
        content = rtcp.recognise(payload)
        for identifier in content.plaintext or () if content else ():
            self.assertLessEqual(identifier.offset + identifier.length, len(payload))


class CaptureTests(SynchronousTestCase):
    """Other people's calls, outside the project."""

    def test_compound(self) -> None:
        """Compound datagrams are claimed, and the names in them found."""
        name = "rtcp_multiple_pkts_in_the_same_datagram.pcap"
        contents = [rtcp.recognise(p.payload) for p in captures.packets(captures.foreign(name))]
        self.assertEqual([c and c.message for c in contents], ["SR", "RR", "SR", "RR", "SR"])
        self.assertTrue(any(c and c.plaintext for c in contents))
