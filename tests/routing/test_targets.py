"""Verdicts' targets are numbered once, for marks to name them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway import config
from gateway.document import parse
from gateway.model import Endpoint
from gateway.routing.targets import Targets

_RELAYS = """\
relays:
  - {name: four, address: "198.51.100.9:4001"}
  - {name: six, address: "[2001:db8::9]:4001"}
"""
_EXITS = """\
exits:
  - {name: far, kind: masque, url: "https://e.example/{target_host}/{target_port}/", ca: a, \
certificate: b, key: c}
  - {name: wg, kind: interface, interface: wg0, masquerade: false}
"""


def targets(more: str) -> Targets:
    """Give the targets of a configuration."""
    text = f"policy: p\nlisteners: [{{kind: transparent, interface: eth1}}]\n{more}"
    return Targets(config.from_document(parse(text, "gateway.yaml")))


class TargetsTests(SynchronousTestCase):
    """Relays, interface exits and the local proxy have numbers, tunnels have none."""

    def test_numbers(self) -> None:
        """Every target has a number of its own, in the file's order."""
        found = targets(_RELAYS + _EXITS)
        self.assertEqual({name: one.number for name, one in found.by_name.items()},
                         {"four": 1, "six": 2, "wg": 3})  # fmt: skip
        self.assertEqual(found.proxy, 4)
        self.assertEqual(found.relays[1].v6, Endpoint.parse("[2001:db8::9]:4001"))
        self.assertFalse(found.exits[0].masquerade)

    def test_families(self) -> None:
        """A relay carries its own family, and ports; an interface all of IP."""
        by_name = targets(_RELAYS + _EXITS).by_name
        self.assertEqual(by_name["four"].octets, {4})
        self.assertEqual(by_name["six"].octets, {16})
        self.assertEqual(by_name["wg"].octets, {4, 16})
        self.assertEqual([one.carries_all for one in by_name.values()], [False, False, True])

    def test_digest(self) -> None:
        """Other targets have another digest, the same the same: marks of one mean nothing to the
        other."""
        digests = [targets(more).digest() for more in (_RELAYS, _RELAYS, _EXITS, "")]
        self.assertEqual(digests[0], digests[1])
        self.assertEqual(len(set(digests)), 3)
