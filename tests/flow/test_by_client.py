"""gateway.flow.by_client: whose flows there are."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.by_client import ByClient
from gateway.model import FlowKey, Transport

_KEYS = [
    FlowKey.parse(f"{transport} 10.1.0.{client}:{port} > 192.0.2.1:4001")
    for transport in ("udp", "tcp")
    for client in (2, 3)
    for port in (5000, 5001, 5002)
]


class ByClientTests(SynchronousTestCase):
    """ByClient, held against a list."""

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.sampled_from(_KEYS), max_size=40))
    def test_any_order(self, keys: list[FlowKey]) -> None:
        """In whatever order flows come and go, each client's are there, the oldest first."""
        flows, plain = ByClient(), list[FlowKey]()
        for key in keys:  # what is there goes, and what is not comes
            if key in plain:
                plain.remove(key)
                flows.remove(key)
            else:
                plain.append(key)
                flows.add(key)
            for one in _KEYS:
                client = one.client.address, one.transport
                own = [each for each in plain if (each.client.address, each.transport) == client]
                self.assertEqual(flows.of(*client), tuple(own))
                self.assertEqual(flows.count(one), len(own))
                self.assertEqual(flows.oldest(one), own[0] if own else None)

    def test_nobody(self) -> None:
        """A client without flows has none, and no oldest."""
        flows = ByClient()
        self.assertEqual(flows.of(b"\n\1\0\2", Transport.UDP), ())
        self.assertIsNone(flows.oldest(_KEYS[0]))
