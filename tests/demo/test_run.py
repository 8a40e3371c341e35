"""gateway.demo: a real call through gateway and exit, on loopback."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase, TestCase

from gateway.demo.conversation import conversations
from gateway.demo.report import as_json
from gateway.demo.run import CAPTURE, run_demo
from gateway.demo.stand_in import StandIn
from gateway.demo.tap import found_in
from gateway.errors import CarryError, DataError
from gateway.evidence.capture import read_packets
from gateway.model import Endpoint
from tests.support.bundled import world
from tests.support.rows import rows

DATA = Path(__file__).parents[1] / "data"


def nothing(_count: int) -> None:
    """Take no notice of progress."""


class DemoTests(TestCase):
    """The promise holds for a real client's traffic."""

    timeout = 60

    @inlineCallbacks
    def test_speaker(self) -> Generator[Deferred[Any], Any, None]:
        """Nothing reaches mainland China, no identifier is readable, all the rest arrives."""
        steps: list[int] = []
        result = yield run_demo(
            reactor, world(), CAPTURE, fast=True, begin=steps.append, progress=nothing
        )
        self.assertEqual(steps, [1068])
        self.assertTrue(result.is_good, as_json(result))
        self.assertEqual(
            (result.blocked_arrived, result.tunnel_found, result.direct_found), (0,) * 3
        )
        self.assertEqual(result.delivered, {"direct": 34, "exit": 1022})
        self.assertEqual(result.answers, 50)
        self.assertGreaterEqual(result.identifiers, 10)
        by_verdict: dict[tuple[str, str], int] = {}
        for row in result.rows:
            kind = (row.verdict, row.jurisdiction)
            by_verdict[kind] = by_verdict.get(kind, 0) + row.packets
        self.assertEqual(
            by_verdict,
            {
                ("block", "mainland-china"): 12,
                ("wrap", "elsewhere"): 1022,
                ("allow", "elsewhere"): 34,
            },
        )

    @inlineCallbacks
    def test_token(self) -> Generator[Deferred[Any], Any, None]:
        """Another capture can be named; the shipped fix's token is not readable either."""
        capture = DATA / "agora312-GLOBminusCN-session-token.pcap"
        result = yield run_demo(
            reactor, world(), capture, fast=True, begin=nothing, progress=nothing
        )
        self.assertTrue(result.is_good, as_json(result))
        self.assertNotIn("block", {row.verdict for row in result.rows})
        self.assertGreater(result.delivered["exit"], 700)

    @inlineCallbacks
    def test_no_capture(self) -> Generator[Deferred[Any], Any, None]:
        """A file that is no capture is refused before anything is opened."""
        yield self.assertFailure(
            run_demo(reactor, world(), Path(__file__), fast=True, begin=nothing, progress=nothing),
            DataError,
        )


@rows(
    found={
        "as it was found, again and again": (b"\x44\x33\x22\x11", b"..\x44\x33\x22\x11..", 2),
        "in the other byte order": (b"\x44\x33\x22\x11", b"..\x11\x22\x33\x44..", 2),
        "four octets once, as by chance": (b"\x44\x33\x22\x11", b"..\x44\x33\x22\x11", 0),
        "in hexadecimal": (b"\x44\x33\x22\x11", b"uid=44332211", 1),
        "in decimal": (b"\x44\x33\x22\x11", b"uid=287454020", 1),
        "not at all": (b"\x44\x33\x22\x11", b"nothing of the kind", 0),
        "a name": (b"SEEDROOM-xVb9Q", b"{SEEDROOM-xVb9Q}", 1),
    }
)
class TapTests(SynchronousTestCase):
    """The search finds an identifier in the spellings in which it might be read."""

    def check_found(self, identifier: bytes, datagram: bytes, count: int) -> None:
        """The search can find, and can fail to find."""
        wire = [b"another", *[datagram] * max(count, 1)]
        self.assertEqual(found_in([identifier], wire), count)


class StandInTests(SynchronousTestCase):
    """The demo dials nothing but loopback."""

    def test_reach(self) -> None:
        """A destination that is not in the capture is not dialled, nor one before doors open."""
        stand_in = StandIn(conversations(read_packets(CAPTURE)))
        for text in ("118.190.148.38:8000", "192.0.2.77:80", "[2001:db8::1]:80"):
            self.assertRaises(CarryError, stand_in.address, Endpoint.parse(text))
        loopback = Endpoint.parse("127.0.0.1:4433")
        self.assertEqual(stand_in.address(loopback), loopback)
