"""gateway.wire.json_report: bare JSON shows identifiers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import IdentifierKind, Protocol, Transport
from gateway.wire import json_report, recognise
from tests.support.rows import rows

REPORT = b'{"lts":1612137600,"uid":287454020,"cname":"seed room","sid":"A1B2"}'


@rows(
    none={
        "text": (b"{hello}",),
        "a key without colon": (b'{"uid"}',),
        "an empty object": (b"{}",),
        "nothing": (b"",),
        "a number": (b"[1, 2]",),
    }
)
class JsonTests(SynchronousTestCase):
    """JSON is told by its first key."""

    def test_report(self) -> None:
        """The values of well-known keys are found where they stand, on UDP and TCP."""
        for transport in (Transport.UDP, Transport.TCP):
            content = recognise(transport, REPORT)
            found = [
                (one.kind, REPORT[one.offset : one.offset + one.length])
                for one in content.plaintext or ()
            ]
            self.assertEqual(
                found,
                [
                    (IdentifierKind.USER_ID, b"287454020"),
                    (IdentifierKind.ROOM_ID, b"seed room"),
                    (IdentifierKind.SESSION_ID, b"A1B2"),
                ],
            )
            self.assertEqual((content.protocol, content.message), (Protocol.UNKNOWN, "JSON"))

    def test_nothing_known(self) -> None:
        """Where no key is known, it cannot be told what is there."""
        content = json_report.recognise(b' [{"x": 1}]')
        assert content is not None
        self.assertIsNone(content.plaintext)

    def check_none(self, payload: bytes) -> None:
        """What is no object with a key is left alone."""
        self.assertIsNone(json_report.recognise(payload))

    @given(st.binary(max_size=60))
    def test_any_octets(self, octets: bytes) -> None:
        """Any octets are JSON or not, and offsets lie within."""
        for payload in (octets, b'{"uid":"' + octets):
            content = json_report.recognise(payload)
            for one in (content.plaintext or ()) if content is not None else ():
                self.assertLessEqual(one.offset + one.length, len(payload))
