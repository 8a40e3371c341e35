"""Tests of gateway.wire.rtp."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, Protocol, Traffic, Transport
from gateway.wire import rtp
from tests.support.rows import rows
from tests.wire import captures, examples

EXTENSION = b"\xbe\xde\x00\x01\x10\x50\x00\x00"


@rows(
    packet={
        "Opus": (examples.rtp(), True),
        "Opus with the marker": (examples.rtp(111 | 128), True),
        "G.711": (examples.rtp(0), True),
        "one contributing source": (examples.rtp(first=0x81), True),
        "two of them": (examples.rtp(first=0x82), False),
        "an extension": (examples.rtp(first=0x90, body=EXTENSION + b"x"), True),
        "an extension of another form": (examples.rtp(first=0x90), False),
        "an extension past the end": (
            examples.rtp(first=0x90, body=b"\xbe\xde\x00\x02" + bytes(4)),
            False,
        ),
        "padding": (examples.rtp(first=0xA0, body=b"\x5a" * 8 + b"\0\0\0\4"), True),
        "padding of zero octets": (examples.rtp(first=0xA0, body=bytes(8)), False),
        "padding longer than the body": (examples.rtp(first=0xA0, body=b"\0\0\0\5"), False),
        "padding that is not zero": (examples.rtp(first=0xA0, body=b"\x5a" * 8 + b"\4"), False),
        "version 1": (examples.rtp(first=0x40), False),
        "a payload type of RTCP": (examples.rtp(72), False),
        "an unassigned payload type": (examples.rtp(35), False),
        "a header alone": (examples.rtp(body=b""), False),
        "a header cut": (examples.rtp()[:11], False),
        "nothing": (b"", False),
    }
)
class RecogniseTests(SynchronousTestCase):
    """What is asked of a packet."""

    def check_packet(self, payload: bytes, is_one: bool) -> None:
        """A packet is claimed if all of its header fits, and is media without identifiers."""
        want = Content(Protocol.RTP, "", Traffic.MEDIA, ()) if is_one else None
        self.assertEqual(rtp.recognise(payload), want)


class StreamTests(SynchronousTestCase):
    """RTP over TCP."""

    def test_framed(self) -> None:
        """A packet behind its length is claimed when it is whole."""
        packet = examples.rtp()
        framed = len(packet).to_bytes(2, "big") + packet
        self.assertIsNotNone(rtp.stream(framed + b"\0"))
        self.assertIsNone(rtp.stream(framed[:-1]))


class CaptureTests(SynchronousTestCase):
    """Other people's calls, outside the project."""

    def test_flows(self) -> None:
        """Voice and video over RTP are claimed but for what is not RTP in them."""
        for name, media_port, claimed in (("sip.pcap", 40392, 9), ("rtp.pcapng", 6000, 15)):
            payloads = [
                packet.payload
                for packet in captures.packets(captures.foreign(name))
                if packet.destination.port == media_port and packet.transport is Transport.UDP
            ]
            self.assertEqual(len([p for p in payloads if rtp.recognise(p)]), claimed, name)
            self.assertEqual(len(payloads), claimed, name)

    def test_teamspeak(self) -> None:
        """Another voice protocol is not taken for RTP."""
        for packet in captures.packets(captures.foreign("teamspeak3.pcap")):
            self.assertIsNone(rtp.recognise(packet.payload))
