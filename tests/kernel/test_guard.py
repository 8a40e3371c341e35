"""The second fence, in a kernel: what bears no verdict finds no way, even without netfilter."""

from __future__ import annotations

from functools import partial

from gateway.kernel import guard
from tests.kernel.toy_case import FAMILIES, HostCase, ToyCase, both
from tests.lab.topology import Lab


class GuardTests(HostCase):
    """The routing rules."""

    def rules(self) -> list[str]:
        """List the rules of both families."""
        return [self.gateway("ip", family, "rule") for family in ("-4", "-6")]

    def test_apply(self) -> None:
        """Interfaces are fenced in for both families, once, and no longer when they are no
        clients'; the rules of others stay."""
        for family in ("-4", "-6"):
            self.gateway("ip", family, "rule", "add", "fwmark", "7", "lookup", "99")
        before = self.rules()
        for names in (("clients",), ("clients",), ("clients", "uplink"), ("wg9",)):
            self.inside(partial(guard.apply, names))
            self.assertEqual(self.inside(guard.fenced), frozenset(names))
            for rules in self.rules():
                self.assertEqual(rules.count(f"{guard.PRIORITY}:"), len(names))
                for name in names:
                    self.assertIn(f"iif {name}", rules)
                self.assertEqual(rules.count("fwmark 0/0xff000000"), len(names))
                self.assertEqual(rules.count("prohibit"), len(names))
        self.assertTrue(self.inside(guard.remove))
        self.assertFalse(self.inside(guard.remove))
        self.assertEqual(self.rules(), before)

    def test_half(self) -> None:
        """A fence that somebody took away in one family is put up again."""
        self.inside(partial(guard.apply, ["clients"]))
        whole = self.rules()
        self.gateway("ip", "-6", "rule", "del", "priority", str(guard.PRIORITY))
        self.inside(partial(guard.apply, ["clients"]))
        self.assertEqual(self.rules(), whole)


class FenceTests(ToyCase):
    """Packets."""

    def test_flushed(self) -> None:
        """When netfilter's rules are gone nothing of the clients passes, not even what was let go;
        the gateway itself answers; when they are back, all goes on."""
        self.inside(partial(guard.apply, ["clients"]))
        clients = [self.client(both(1)[six]) for six in FAMILIES]
        for six in FAMILIES:
            self.ask(clients[six], both(1)[six], b"\x7fa")
            self.assertEqual(self.converse(both(2)[six], b"hello"), b"hello")
        self.gateway("nft", "flush", "ruleset")
        before = len(self.uplink.between(*Lab.CLIENT))
        for six in FAMILIES:
            for to in (both(1)[six], both(5)[six]):
                with self.client(to) as new:
                    self.send(new, to, b"\x7fnew")
            self.send(clients[six], both(1)[six], b"\x7fb")
            self.assertTrue(self.echo(f"[{Lab.GATEWAY[1]}]:0" if six else f"{Lab.GATEWAY[0]}:0"))
        self.assertEqual(len(self.uplink.between(*Lab.CLIENT)), before)
        self.toy.change()
        for six in FAMILIES:
            with self.client(both(1)[six]) as again:
                self.assertEqual(self.ask(again, both(1)[six], b"\x7fc")[0], b"\x7fc")
        self.assertTrue(self.inside(guard.remove))
