"""gateway.scrub.rewriting: the vendor's real client, with pseudonyms."""

from __future__ import annotations

import contextlib
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import CarryError
from gateway.evidence.frame import Packet
from gateway.leaks.values import Given, compile_values
from gateway.model import Endpoint, Form, IdentifierKind, Protocol, Transport
from gateway.scrub.pseudonyms import Pseudonyms
from gateway.scrub.residue import Residue
from gateway.scrub.rewriting import SCRUBBED_KINDS, exchange
from gateway.wire import recognise
from tests.support.rows import rows
from tests.wire import captures

PSEUDONYMS = Pseudonyms(bytes(range(32)))
EDGE = Endpoint.parse("203.0.113.7:4001")
CLIENT = "10.98.7.2"
# All that says who used the client, where and on what, in every capture: by a person's reading.
SECRETS = (
    str(captures.UID),
    str(captures.CID),
    captures.CHANNEL.decode(),
    "The Wine Project/Wine/x64 based PC/Windows 6.1.7601",
    "327EBA875F3348F4BC094075E0EB7886",
)
PING = (
    "380001009200 dec0ad0b 44332211 0000 01000000 0200 0800000000 0900000000"
    "0200 0200000000 0300000000 0691180000000000 00000000"
).replace(" ", "")


def sent(name: str, *, back: bool = False) -> list[Packet]:
    """Give the datagrams of a capture that the client sent, or got, but for DNS."""
    return [
        packet
        for packet in captures.packets(captures.live(name))
        if packet.transport is Transport.UDP
        and 53 not in (packet.destination.port, packet.source.port)
        and (packet.source.host != CLIENT) is back
    ]


def names(table: tuple[str, ...]) -> dict[str, tuple[str]]:
    """Make rows of captures."""
    return {name: (name,) for name in table}


@rows(
    capture=names(captures.LIVE),
    answers=names(captures.LIVE),
    refused={
        "an unknown message": ("0800 0100 fe00 0102", "nobody knows"),
        "what nobody knows": ("f1f2f3f4f5f6f7f8", "nobody knows"),
        "a user's name to a TURN server": (
            "0003 000c 2112a442 000000000000000000000000 0006 0005 616c696365 000000",
            "only agora's",
        ),
        "JSON of unknown form": (b'{"nick": "alice"}'.hex(), "nobody knows"),
        "JSON": (b'{"uid": 287454020}'.hex(), "only agora's"),
    },
    unchanged={
        "media": ("8000 0001 00000002 00000003 00",),
        "a question for a name": ("1234 0100 0001 0000 0000 0000 0161 0000 0100 01",),
        "nobody's ping": (PING.replace("dec0ad0b44332211", "00" * 8),),
    },
)
class ExchangeTests(SynchronousTestCase):
    """Datagrams with pseudonyms are the same messages, of other people."""

    def check_capture(self, name: str) -> None:
        """Each datagram of the real client is the same message afterwards, holds nothing of whom it
        was in any encoding, and comes back octet for octet; those with a token are not sent"""
        secrets = compile_values(Given(IdentifierKind.GIVEN, text) for text in SECRETS)
        seen: Counter[str] = Counter()
        for packet in sent(name):
            before = recognise(Transport.UDP, packet.payload)
            found = {one.kind for one in before.plaintext or ()}
            if IdentifierKind.TOKEN in found:
                error = self.assertRaises(
                    CarryError, exchange, packet.payload, PSEUDONYMS, packet.destination
                )
                self.assertIn("a token is signed", str(error))
                seen["token"] += 1
                continue
            after = exchange(packet.payload, PSEUDONYMS, packet.destination)
            self.assertEqual(recognise(Transport.UDP, after.payload), before)
            self.assertEqual(secrets.find(after.payload), ())
            back = exchange(after.payload, PSEUDONYMS, packet.destination, back=True)
            self.assertEqual(back.payload, packet.payload)
            self.assertEqual(back.originals, after.originals)
            seen["held secrets"] += bool(secrets.find(packet.payload))
            seen["exchanged"] += bool(found & SCRUBBED_KINDS)
        self.assertGreater(min(seen["held secrets"], seen["exchanged"]), 30)
        self.assertEqual(bool(seen["token"]), name == captures.TOKEN)

    def check_answers(self, name: str) -> None:
        """What the far side would say to the pseudonyms comes back as it was said to the client"""
        for packet in sent(name, back=True):
            there = exchange(packet.payload, PSEUDONYMS, packet.source)
            back = exchange(there.payload, PSEUDONYMS, packet.source, back=True)
            self.assertEqual(back.payload, packet.payload)

    def check_refused(self, payload: str, reason: str) -> None:
        """What may hold an identifier that has no pseudonym is refused, both ways"""
        for back in (False, True):
            octets = bytes.fromhex(payload)
            error = self.assertRaises(CarryError, exchange, octets, PSEUDONYMS, EDGE, back=back)
            self.assertIn(reason, str(error))

    def check_unchanged(self, payload: str) -> None:
        """What was looked at and holds no identifier stays as it is"""
        octets = bytes.fromhex(payload)
        self.assertEqual(exchange(octets, PSEUDONYMS, EDGE).payload, octets)

    def test_one_room(self) -> None:
        """Two users' pings of one room have one room under pseudonyms, and two users."""
        first = bytes.fromhex(PING)
        second = first.replace(captures.UID.to_bytes(4, "little"), b"\1\0\0\0")
        one, two = (exchange(ping, PSEUDONYMS, EDGE).payload for ping in (first, second))
        self.assertEqual(one[6:10], two[6:10])
        self.assertNotEqual(one[10:14], two[10:14])
        self.assertEqual(one[14:], first[14:])

    @settings(deadline=None, max_examples=200)
    @given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=40))
    def test_reverse(self, room: int, user: int, rest: bytes) -> None:
        """Whoever pings in whatever room, the datagram comes back as it was."""
        ids = room.to_bytes(4, "little") + user.to_bytes(4, "little")
        length = (14 + len(rest)).to_bytes(2, "little")
        ping = length + bytes.fromhex("01009200") + ids + rest
        there = exchange(ping, PSEUDONYMS, EDGE).payload
        self.assertEqual(exchange(there, PSEUDONYMS, EDGE, back=True).payload, ping)

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=200), st.booleans())
    def test_noise(self, payload: bytes, back: bool) -> None:
        """Whatever comes is rewritten to something of its length, or refused with our error."""
        with contextlib.suppress(CarryError):
            exchanged = exchange(payload, PSEUDONYMS, EDGE, back=back)
            self.assertEqual(len(exchanged.payload), len(payload))


def known(*values: tuple[bytes, Form]) -> Residue:
    """Make a residue that knows values."""
    residue = Residue()
    residue.learn(values)
    return residue


class ResidueTests(SynchronousTestCase):
    """Identifiers that are known are found where the protocol has none."""

    def test_encodings(self) -> None:
        """A user's number is found as text, in the other byte order, in base64; a room in hex."""
        residue = known((captures.UID.to_bytes(4, "little"), Form.U32), (b"SEEDROOM", Form.TEXT))
        for octets in (b"287454020", b"\x11\x22\x33\x44", b"Mjg3NDU0MDIw", b"53454544524f4f4d"):
            self.assertIsNotNone(residue.left_in(b"...." + octets + b"...."), octets)
        self.assertIsNone(residue.left_in(b"287454021 and SEEDR"))

    def test_common(self) -> None:
        """Small numbers and short names, which stand everywhere, are not looked for."""
        residue = known((b"\5\0\0\0", Form.U32), (b"abc", Form.TEXT), (b"\x85\1", Form.VARINT))
        self.assertIsNone(residue.left_in(b"\5\0\0\0abc\x85\1"))

    def test_any_name(self) -> None:
        """Names that read like digests, or like small numbers, are looked for as they are."""
        for name in (b"sha256:x", b"hex:zz", b"000042"):
            self.assertIsNotNone(known((name, Form.TEXT)).left_in(b"to " + name), name)

    def test_bounded(self) -> None:
        """Those who are heard do not crowd out the client itself."""
        residue = known((b"the client", Form.TEXT))
        for number in range(100):
            residue.learn(((b"somebody %d" % number, Form.TEXT),), heard=True)
        self.assertIsNotNone(residue.left_in(b"the client"))


class ProtocolTests(SynchronousTestCase):
    """What the tests above rest on."""

    def test_ping(self) -> None:
        """The ping of these tests is one."""
        content = recognise(Transport.UDP, bytes.fromhex(PING))
        self.assertEqual((content.protocol, content.message), (Protocol.AGORA, "PPing1_v7"))
