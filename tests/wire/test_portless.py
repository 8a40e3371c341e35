"""gateway.wire.portless: what has no ports."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.model import UNKNOWN, Content, Protocol, Traffic, Transport
from gateway.wire import recognise
from tests.wire.examples import all_of_them

PAYLOADS = st.binary(max_size=64) | st.sampled_from([payload for _, payload in all_of_them()])


class PortlessTests(SynchronousTestCase):
    """What has no ports is told by its transport alone."""

    @settings(deadline=None, max_examples=50)
    @given(PAYLOADS, st.integers(0, 65535))
    def test_icmp(self, payload: bytes, port: int) -> None:
        """ICMP is ICMP, whatever it carries, and names nobody."""
        expected = Content(Protocol.ICMP, traffic=Traffic.OTHER, plaintext=())
        self.assertEqual(recognise(Transport.ICMP, payload, port), expected)

    @settings(deadline=None, max_examples=50)
    @given(PAYLOADS, st.integers(0, 65535))
    def test_other(self, payload: bytes, port: int) -> None:
        """Every other protocol is unknown, even where it looks like one that is known."""
        self.assertEqual(recognise(Transport.OTHER, payload, port), UNKNOWN)
        self.assertIsNone(UNKNOWN.plaintext)
