"""Desired state refuses what cannot be."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import AddressError, DataError
from gateway.kernel.router import InterfaceExit, LocalProxy, Queues, Relay, Router, interface
from gateway.model import Endpoint, Transport
from tests.support.rows import rows

_V4, _V6 = Endpoint.parse("192.0.2.1:1"), Endpoint.parse("[2001:db8::1]:1")


@rows(
    names={
        "a wildcard": ("eth*",),
        "a quote": ('eth"',),
        "a line break": ("eth0\n",),
        "a space": ("eth 0",),
        "a folder": ("..",),
        "too long": ("e" * 16,),
        "none": ("",),
        "a brace": ("a};drop",),
    },
    refused={
        "no client": ({"clients": ()}, "client interfaces"),
        "epoch 0": ({"epoch": 0}, "epoch"),
        "epoch 256": ({"epoch": 256}, "epoch"),
        "a queue too high": ({"queues": Queues(65535, 2)}, "queue numbers"),
        "no queue": ({"queues": Queues(1, 0)}, "queue numbers"),
        "a target twice": ({"relays": (Relay(1, _V4),), "proxy": LocalProxy(1, 7)}, "targets"),
        "target 0": ({"exits": (InterfaceExit(0, "wg0"),)}, "targets"),
        "a target of ours": ({"exits": (InterfaceExit(253, "wg0"),)}, "targets"),
        "a relay of the other family": ({"relays": (Relay(1, _V6),)}, "relays"),
        "no time": ({"block_s": 0}, "block_s"),
        "a spot check below 0": ({"spot_check": -1}, "spot check"),
        "a port too high": ({"own": ((Transport.UDP, 65536),)}, "own ports"),
        "an MTU too many": ({"mtus": (1500, 1500)}, "MTUs"),
        "an MTU too small": ({"mtus": (67,)}, "MTUs"),
        "an MTU too large": ({"mtus": (65536,)}, "MTUs"),
        "interface number 0": ({"numbers": (0,)}, "interface numbers"),
        "a range backwards": ({"denied4": ((2, 1),)}, "denied ranges"),
    },
)
class RouterTests(SynchronousTestCase):
    """Router and its parts."""

    def check_names(self, name: str) -> None:
        """What cannot be an interface's name goes into no rule"""
        error = self.assertRaises(AddressError, interface, name)
        self.assertIn("a network interface's name", str(error))
        self.assertRaises(AddressError, Router, clients=(name,), epoch=1)
        exits = (InterfaceExit(1, name),)
        self.assertRaises(AddressError, Router, clients=("a",), epoch=1, exits=exits)

    def check_refused(self, given: dict[str, Any], what: str) -> None:
        """What cannot be is refused"""
        given = {"clients": ("eth1",), "epoch": 1, **given}
        self.assertIn(what, str(self.assertRaises(DataError, Router, **given)))

    def test_table_name(self) -> None:
        """A table's name is a word."""
        for name in ("", "9", "a b", "a;b", "a" * 24):
            self.assertRaises(AddressError, Router, clients=("a",), epoch=1, name=name)

    def test_ranges(self) -> None:
        """Ranges are brought into their one form."""
        router = Router(
            clients=("eth1",), epoch=1, denied4=((5, 9), (1, 4)), denied6=((7, 8), (8, 9))
        )
        self.assertEqual((router.denied4, router.denied6), (((1, 9),), ((7, 9),)))

    def test_relay(self) -> None:
        """A relay knows which families it carries."""
        self.assertEqual(Relay(1, _V4).octets, {4})
        self.assertEqual(Relay(1, None, _V6).octets, {16})
        self.assertEqual(Relay(1, _V4, _V6).octets, {4, 16})
