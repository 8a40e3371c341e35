"""Interfaces that come, go and change their names, in a kernel."""

from __future__ import annotations

from functools import partial

from gateway.kernel import links
from gateway.kernel.links import Links
from tests.kernel.toy_case import HostCase


class LinksTests(HostCase):
    """Links, and numbers."""

    def found(self, *names: str) -> dict[str, set[int]]:
        """Give the numbers of interfaces."""
        found = self.inside(partial(links.look, names))
        return {name: set(link.numbers) for name, link in found.items()}

    def test_numbers(self) -> None:
        """An interface has its number under whatever name; a bridge that it is a port of counts
        with it; what there is not has none."""
        (number,) = self.found("clients")["clients"]
        self.gateway("ip", "link", "add", "bridge0", "type", "bridge")
        self.gateway("ip", "link", "set", "clients", "name", "lan0")
        self.assertEqual(self.found("clients"), {})
        self.assertEqual(self.found("lan0", "clients"), {"lan0": {number}})
        (bridge,) = self.found("bridge0")["bridge0"]
        self.gateway("ip", "link", "set", "lan0", "master", "bridge0")
        self.assertEqual(self.found("lan0"), {"lan0": {number, bridge}})

    def test_mtu(self) -> None:
        """An interface has its MTU, and a change of it is noticed."""
        heard = Links()
        self.inside(heard.listen)
        self.addCleanup(heard.close)
        before = heard.changes()
        self.gateway("ip", "link", "set", "clients", "mtu", "1400")
        self.assertGreater(heard.changes(), before)
        self.assertEqual(self.inside(partial(links.look, ["clients"]))["clients"].mtu, 1400)

    def test_changes(self) -> None:
        """Every change is noticed, once; nothing is heard before it listens, or after it closes."""
        heard = Links()
        self.assertEqual(heard.changes(), 0)
        self.inside(heard.listen)
        self.inside(heard.listen)
        before = heard.changes()
        self.assertEqual(heard.changes(), before)
        self.gateway("ip", "link", "add", "more", "type", "bridge")
        then = heard.changes()
        self.assertGreater(then, before)
        self.assertEqual(heard.changes(), then)
        self.gateway("ip", "link", "set", "more", "name", "less")
        self.assertGreater(heard.changes(), then)
        heard.close()
        heard.close()
        last = heard.changes()
        self.gateway("ip", "link", "del", "less")
        self.assertEqual(heard.changes(), last)
