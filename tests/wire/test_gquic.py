"""Tests of gateway.wire.gquic."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, Protocol, Traffic, Transport
from gateway.wire import gquic, quic, recognise
from tests.wire.initials import crypto, initial


def chlo(name: bytes = b"Voice.Example", *more: tuple[bytes, bytes]) -> bytes:
    """Build a CHLO ("QUIC Crypto"): each tag with the end of its value, then the values."""
    tags = ((b"PAD\0", b"-" * 30), (b"SNI\0", name), (b"VER\0", b"Q043"), *more)
    table, values = b"", b""
    for tag, value in tags:
        values += value
        table += tag + struct.pack("<I", len(values))
    return b"CHLO" + struct.pack("<HH", len(tags), 0) + table + values


# Version flag and an id of eight octets; the packet's number, hash and frame header.
BEFORE = b"\x0d" + bytes(range(8)) + b"Q043" + b"\1" + bytes(12) + b"\xa0\1\0\4"
WHOLE = Content(Protocol.QUIC, "CHLO", Traffic.OTHER, (), ("voice.example",))


class RecogniseTests(SynchronousTestCase):
    """Google's QUIC before it was TLS."""

    def test_public_header(self) -> None:
        """A client's first datagram of Q024..Q043 gives the server's name."""
        payload = BEFORE + chlo()
        self.assertEqual(recognise(Transport.UDP, payload), WHOLE)
        for version in (b"Q023", b"Q044", b"Q0x3", b"R043"):
            self.assertIsNone(gquic.recognise(payload.replace(b"Q043", version, 1)), version)
        self.assertIsNone(gquic.recognise(b"\x0c" + payload[1:]))
        self.assertIsNone(gquic.recognise(BEFORE + bytes(60) + chlo()))

    def test_long_header(self) -> None:
        """So do Q046, where nothing is hidden, and Q050, where everybody can take it off."""
        expected = Content(Protocol.QUIC, "ClientHello", Traffic.OTHER, (), ("voice.example",))
        q046 = b"\xc3Q046\x50" + bytes(8) + bytes(4) + bytes(12) + b"\xa0\1\0\4" + chlo()
        self.assertEqual(quic.recognise(q046), expected)
        q050 = initial(crypto(0, chlo(), kind=8), version=b"Q050")
        self.assertEqual(quic.recognise(q050), expected)

    def test_no_host_name(self) -> None:
        """What stands for a name and is none is not given, and may tell anything."""
        found = gquic.recognise(BEFORE + chlo(b"id 28745402"))
        assert found is not None
        self.assertEqual((found.names, found.plaintext), ((), None))

    def test_cut(self) -> None:
        """Cut anywhere behind its first tag, a CHLO may hide a name."""
        payload = BEFORE + chlo()
        for end in range(len(BEFORE) + 4, len(payload)):
            found = gquic.recognise(payload[:end])
            assert found is not None
            self.assertTrue(found.hides_name, end)

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=200))
    def test_any_tags(self, body: bytes) -> None:
        """Whatever follows: a CHLO, and nothing raised."""
        found = gquic.recognise(BEFORE + b"CHLO" + body)
        assert found is not None
        self.assertIs(found.protocol, Protocol.QUIC)
