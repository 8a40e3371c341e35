"""Tests of gateway.wire.dns."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import Content, Protocol, Traffic
from gateway.wire import dns
from tests.support.rows import rows
from tests.wire import captures
from tests.wire.examples import answer, query

HEAD = bytes.fromhex("8a5f01000001000000000000")
TAIL = bytes.fromhex("00010001")


def unread(names: tuple[str, ...]) -> Content:
    """Build the content of a query that cannot be read to its end."""
    return Content(Protocol.DNS, "query", None, None, names)


@rows(
    name={
        "a name": (b"\x03AP3\x05agora\x02io\x00", ("ap3.agora.io",)),
        "the root": (b"\x00", ()),
        "a dot in a label": (b"\x03a.b\x02io\x00", ()),
        "a blank and a high octet": (b"\x02 \xff\x00", ()),
        "a label of 63": (b"\x3f" + b"a" * 63 + b"\x00", ("a" * 63,)),
        "a label of 64": (b"\x40" + b"a" * 64 + b"\x00", None),
        "254 octets": ((b"\x3f" + b"a" * 63) * 3 + b"\x3c" + b"a" * 60 + b"\x00", "long"),
        "256 octets": ((b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"a" * 62 + b"\x00", None),
        "a pointer to itself": (b"\xc0\x0c", None),
        "a pointer into the header": (b"\xc0\x00", None),
        "a pointer forwards": (b"\xc0\x10", None),
    }
)
class NameTests(SynchronousTestCase):
    """Names in questions."""

    def check_name(self, name: bytes, names: tuple[str, ...] | str | None) -> None:
        """A question's name is given as text if it is a host name; one against the rules makes a
        query of which no more can be told."""
        content = dns.recognise(HEAD + name + TAIL)
        assert content is not None
        if names is None:
            self.assertEqual(content, Content(Protocol.DNS, "query"))
            return
        is_left_out = not names and name != b"\0"
        self.assertEqual(content.plaintext, None if is_left_out else ())
        self.assertEqual(
            len(content.names[0]) if names == "long" else content.names,
            252 if names == "long" else names,
        )


class MessageTests(SynchronousTestCase):
    """Whole messages; the queries are written by Twisted."""

    def test_query(self) -> None:
        """A query is DNS traffic with the name it asks for, and no identifier."""
        content = dns.recognise(query("ap3.Agora.io"))
        assert content is not None
        self.assertEqual(
            (content.protocol, content.message, content.traffic, content.plaintext, content.names),
            (Protocol.DNS, "query", Traffic.DNS, (), ("ap3.agora.io",)),
        )

    def test_answer(self) -> None:
        """An answer with compressed names is read to its end."""
        content = dns.recognise(answer("www.example.org"))
        assert content is not None
        self.assertEqual((content.message, content.names), ("response", ("www.example.org",)))

    def test_cut_and_tail(self) -> None:
        """Cut anywhere, or with a tail, an answer is none, and a query one that may carry
        anything, its name given all the same."""
        for end in range(len(answer())):
            self.assertIsNone(dns.recognise(answer()[:end]), end)
        self.assertIsNone(dns.recognise(answer() + b"\0"))
        for end in range(len(query())):
            content = dns.recognise(query()[:end])
            self.assertEqual(
                content, None if end < 13 else unread(content.names if content else ()), end
            )
        self.assertEqual(dns.recognise(query() + b"\0"), unread(("ap3.agora.io",)))

    def test_header(self) -> None:
        """An opcode that does not exist, a reserved bit or no question make it none."""
        body = query()[4:]
        for flags, is_one in (("0100", 1), ("0120", 1), ("0140", 0), ("1900", 0), ("3100", 0)):
            payload = query()[:2] + bytes.fromhex(flags) + body
            self.assertEqual(dns.recognise(payload) is not None, bool(is_one), flags)
        self.assertIsNone(dns.recognise(query()[:4] + bytes(8) + query()[12:]))
        other = query()[:2] + bytes.fromhex("2800") + body[:-1] + b"\x02"
        self.assertIsNone(dns.recognise(other))  # an update; class 2 does not exist

    def test_bounds(self) -> None:
        """Sixteen questions are read, seventeen are not."""
        for count, is_one in ((16, True), (17, False)):
            payload = HEAD[:4] + bytes((0, count)) + HEAD[6:] + (b"\x01a\x00" + TAIL) * count
            self.assertIs(dns.recognise(payload) is not None, is_one)

    def test_pointers(self) -> None:
        """A name of 32 pointers is read, one of 33 is not: chains would cost time for nothing."""
        for count, is_one in ((32, True), (33, False)):
            # The root's octet, then in a record's data pointers, each to the one before it.
            question = HEAD[:2] + bytes.fromhex("81800001000200000000") + b"\0" + TAIL
            links = [12] + [28 + 2 * link for link in range(count - 1)]
            chain = b"".join((0xC000 | link).to_bytes(2, "big") for link in links)
            record = b"\0" + TAIL + bytes(4)
            payload = question + record + len(chain[:-2]).to_bytes(2, "big") + chain[:-2]
            payload += chain[-2:] + TAIL + bytes(6)
            self.assertIs(dns.recognise(payload) is not None, is_one, count)

    def test_stream(self) -> None:
        """Behind its length a message is read when it is whole; more is wanted until then."""
        payload = len(query()).to_bytes(2, "big") + query()
        for end in range(len(payload)):
            self.assertIsNone(dns.stream(payload[:end]), end)
            self.assertTrue(dns.incomplete(payload[:end]), end)
        self.assertIsNotNone(dns.stream(payload + b"\0\x1e"))
        self.assertFalse(dns.incomplete(payload))

    def test_stream_of_several(self) -> None:
        """Each message of a segment gives its name; one that is not whole may give another."""
        first, second = (
            len(one).to_bytes(2, "big") + one for one in (query("a.example"), query("b.example"))
        )
        content = dns.stream(first + second)
        assert content is not None
        self.assertEqual((content.names, content.plaintext), (("a.example", "b.example"), ()))
        for payload in (first + second[:-1], first * 17):
            content = dns.stream(payload)
            assert content is not None
            self.assertEqual((content.names, content.plaintext), (("a.example",), None))

    @settings(deadline=None, max_examples=200)
    @given(st.integers(0, 3), st.integers(0, 3), st.binary(max_size=64))
    def test_any_body(self, questions: int, records: int, body: bytes) -> None:
        """Whatever follows a header: a content or none, nothing raised, no endless loop."""
        counts = bytes((0, questions, 0, records, 0, 0, 0, 0))
        content = dns.recognise(b"\x8a\x5f\x81\x80" + counts + body)
        self.assertTrue(content is None or content.protocol is Protocol.DNS)


class CaptureTests(SynchronousTestCase):
    """The look-ups of a real client."""

    def test_every_look_up(self) -> None:
        """Every datagram to and from a resolver is recognised, with the vendor's names."""
        names: set[str] = set()
        count = 0
        for packet in captures.packets(captures.live(captures.SPEAKER)):
            if 53 in (packet.source.port, packet.destination.port):
                content = dns.recognise(packet.payload)
                assert content is not None, packet
                names.update(content.names)
                count += 1
        self.assertGreater(count, 50)
        self.assertLessEqual({"ap3.agora.io", "report-edge.agora.io", "www.baidu.com"}, names)
