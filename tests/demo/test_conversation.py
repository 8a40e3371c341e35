"""gateway.demo.conversation: a capture becomes what was said and answered."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.demo.conversation import Conversation, conversations
from gateway.demo.run import CAPTURE
from gateway.evidence.capture import read_packets
from gateway.evidence.frame import Packet
from gateway.model import Endpoint, Transport

CLIENT = Endpoint.parse("10.1.0.2:5000")
SERVER = Endpoint.parse("192.0.2.1:80")
SYN, ACK = 2, 16


def datagram(at_s: float, by_client: bool, payload: bytes) -> Packet:
    """Make one datagram."""
    ends = (CLIENT, SERVER) if by_client else (SERVER, CLIENT)
    return Packet(1, at_s, Transport.UDP, *ends, payload)


def segment(by_client: bool, sequence: int, payload: bytes, flags: int = ACK) -> Packet:
    """Make one segment."""
    ends = (CLIENT, SERVER) if by_client else (SERVER, CLIENT)
    return Packet(1, 0.0, Transport.TCP, *ends, payload, sequence, flags)


class ConversationTests(SynchronousTestCase):
    """Each flow has its client, its words and their answers."""

    def one(self, *packets: Packet) -> Conversation:
        (found,) = conversations(packets)
        return found

    def test_answers(self) -> None:
        """What the server sent belongs to what the client said before it."""
        talk = self.one(
            datagram(5, True, b"a"),
            datagram(6, False, b"1"),
            datagram(7, False, b"2"),
            datagram(8, True, b"b"),
        )
        self.assertEqual(talk.answers(), [(b"a", (b"1", b"2")), (b"b", ())])
        self.assertEqual([said.at_s for said in talk.said], [0, 1, 2, 3])
        self.assertEqual(talk.key.client, CLIENT)

    def test_only_a_server(self) -> None:
        """A flow in which no client speaks is nobody's to play."""
        self.assertEqual(conversations([segment(True, 0, b"", SYN)]), [])

    def test_stream(self) -> None:
        """A stream's octets come once, in order, from behind its SYN."""
        talk = self.one(
            segment(True, 99, b"", SYN),
            segment(False, 499, b"", SYN | ACK),
            segment(True, 100, b"hello"),
            segment(True, 100, b"hello"),  # sent again
            segment(True, 103, b"lo, you"),  # overlaps
            segment(False, 500, b"yes"),
            segment(True, 200, b"behind a gap"),
        )
        self.assertEqual(talk.answers(), [(b"hello", ()), (b", you", (b"yes",))])

    def test_sequence_wraps(self) -> None:
        """Sequence numbers go round at 2**32."""
        talk = self.one(
            segment(True, 0xFFFFFFFE, b"", SYN),
            segment(True, 0xFFFFFFFF, b"ab"),
            segment(True, 1, b"cd"),
        )
        self.assertEqual([said.payload for said in talk.of_client()], [b"ab", b"cd"])

    def test_capture_from_the_middle(self) -> None:
        """Where the SYN was not captured, the SYN-ACK tells who the client is."""
        talk = self.one(segment(False, 1, b"", SYN | ACK), segment(True, 1, b"hello"))
        self.assertEqual(talk.key.client, CLIENT)

    def test_demo_capture(self) -> None:
        """The demo's capture has 1068 things to say in 42 conversations."""
        talks = conversations(read_packets(CAPTURE))
        self.assertEqual(len(talks), 42)
        datagrams = sum(
            len(talk.of_client()) for talk in talks if talk.key.transport is Transport.UDP
        )
        streams = sum(talk.key.transport is Transport.TCP for talk in talks)
        self.assertEqual((datagrams, streams), (1059, 9))
