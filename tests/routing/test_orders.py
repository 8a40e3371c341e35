"""What router mode's processes say to each other is read as it was meant, or refused."""

from __future__ import annotations

import contextlib
import datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import WireError
from gateway.routing import orders
from gateway.routing.orders import Abandon, Adopt, Order, Prepare, Ready, Refused
from tests.support.rows import rows

_DAY = datetime.date(2026, 11, 23)


@rows(
    orders={
        "prepare": (Prepare(7, _DAY, True, "0123456789abcdef"),),
        "adopt": (Adopt(255),),
        "abandon": (Abandon(),),
    },
    refused={
        "nothing": (b"",),
        "no JSON": (b"adopt 7",),
        "an order of no kind": (b'{"epoch": 7}',),
        "an unknown kind": (b'{"kind": "explode"}',),
        "an epoch that is none": (b'{"kind": "adopt", "epoch": "seven"}',),
    },
)
class OrderTests(SynchronousTestCase):
    """Orders and reports are lines of JSON."""

    def check_orders(self, said: Order) -> None:
        """An order arrives as it was given"""
        self.assertEqual(orders.order(orders.line(said)), said)

    def check_refused(self, octets: bytes) -> None:
        """What is no order is refused"""
        self.assertRaises(WireError, orders.order, octets)

    def test_reports(self) -> None:
        """A report arrives as it was given, and is no order."""
        for said in (Ready(), Refused("no: \n line")):
            self.assertNotIn(b"\n", orders.line(said))
            self.assertEqual(orders.report(orders.line(said)), said)
            self.assertRaises(WireError, orders.order, orders.line(said))

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=60))
    def test_anything(self, octets: bytes) -> None:
        """Whatever comes, it is an order or refused."""
        with contextlib.suppress(WireError):
            self.assertIsInstance(orders.order(octets), Prepare | Adopt | Abandon)
