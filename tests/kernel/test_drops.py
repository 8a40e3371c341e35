"""gateway.kernel.drops: what the kernel's rules dropped, added up over their changes."""

from __future__ import annotations

import re
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import readback
from gateway.kernel.drops import Drops
from tests.kernel.toy_case import FAMILIES, ToyCase, both


class DropsTests(SynchronousTestCase):
    """Counters that begin anew with each change of a chain."""

    def test_added_up(self) -> None:
        """What was there before is not counted; what a change sets to nought is kept; a chain that
        comes later counts from nought, one that is gone stays."""
        now = {"keep": 7}
        drops = Drops(lambda: dict(now))
        drops.begin()
        self.assertEqual(drops.look(), {"keep": 0})
        now["keep"] = 10
        now["ask"] = 2
        self.assertEqual(drops.look(), {"keep": 3, "ask": 2})
        now["keep"] = 1
        self.assertEqual(drops.look(), {"keep": 4, "ask": 2})
        del now["ask"]
        self.assertEqual(drops.look(), {"keep": 4, "ask": 2})


class KernelDropsTests(ToyCase):
    """The same of a kernel."""

    def test_counted(self) -> None:
        """What a client sends to a blocked place is counted, and each number is what nft says."""
        before = self.drops()
        for six in FAMILIES:
            with self.client(both(3)[six]) as client:
                for _ in range(5):
                    self.send(client, both(3)[six], bytes(20))
        self.sentinel()
        drops = self.drops()
        self.assertGreaterEqual(sum(drops.values()) - sum(before.values()), 2 * 5)
        self.assertEqual(drops, self.by_nft())

    def drops(self) -> dict[str, int]:
        """Give what was dropped, of chains in which something was."""
        found = self.inside(lambda: readback.drops(self.toy.router.name))
        return {chain: count for chain, count in found.items() if count}

    def by_nft(self) -> dict[str, int]:
        """Give the same by nft's own words."""
        found: Counter[str] = Counter()
        chain = ""
        for line in self.nft().splitlines():
            if named := re.match(r"\s*chain (\w+) \{", line):
                chain = named[1]
            if counted := re.search(r"counter packets (\d+) bytes \d+ (?:drop|reject)", line):
                found[chain] += int(counted[1])
        return dict(+found)
