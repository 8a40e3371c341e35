"""The rules of router mode, as text: what no rule may say, and what changes with an epoch."""

from __future__ import annotations

import re
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import ruleset, table
from gateway.kernel.router import InterfaceExit, LocalProxy, Queues, Relay, Router
from gateway.kernel.table import Table
from gateway.model import Endpoint, Transport

ROUTER = Router(
    clients=("eth1", "wg0"),
    epoch=7,
    denied4=((1, 9), (0xC6336400, 0xC63364FF)),
    denied6=((0x20010DB8 << 96, (0x20010DB8 << 96) + 9),),
    relays=(Relay(1, Endpoint.parse("192.0.2.9:4001"), Endpoint.parse("[2001:db8::9]:4001")),),
    exits=(InterfaceExit(2, "wg1"),),
    proxy=LocalProxy(3, 7000),
)


def chain(shown: Table, name: str) -> tuple[str, ...]:
    """Give a chain's rules."""
    (found,) = (one for one in shown.chains if one.name == name)
    return found.rules


class RulesetTests(SynchronousTestCase):
    """render and epoch_change."""

    def test_marks(self) -> None:
        """No rule sets a mark without keeping others' byte of it."""
        for text in table.install(ruleset.render(ROUTER)).splitlines():
            for what in re.findall(r"mark set (\S+ mark \S+ \S+)", text):
                verb, mask = what.split()[2:]
                if verb == "and":
                    self.assertEqual(int(mask, 16) & 0xFF00, 0xFF00, text)
                else:
                    self.assertEqual((verb, int(mask, 16) & 0xFF00), ("or", 0), text)

    def test_families(self) -> None:
        """IPv6 has each rule that IPv4 has."""
        lines = table.install(ruleset.render(ROUTER)).splitlines()
        four = [
            line
            for line in lines
            if re.search(r"add rule.*\bip (s|d)addr|add rule.*dnat ip ", line)
        ]
        six = [
            line
            for line in lines
            if re.search(r"add rule.*\bip6 (s|d)addr|add rule.*dnat ip6 ", line)
        ]
        self.assertEqual(len(four), len(six))
        self.assertGreater(len(four), 8)

    def test_closed(self) -> None:
        """What is forwarded or taken in ends in a drop, where a chain does not send it on."""
        shown = ruleset.render(ROUTER)
        for name in ("leave", "own", "outside", "leave_1", "leave_2", "denied", "refuse"):
            self.assertTrue(chain(shown, name)[-1].endswith("drop"), name)
        self.assertEqual(chain(shown, "leave_3"), ("counter drop",))
        self.assertEqual(chain(shown, "keep")[-1], "goto outside")

    def test_no_map(self) -> None:
        """What carries an accepted flow looks nothing up in a set that a change would replace."""
        shown = ruleset.render(ROUTER)
        names = ("ask", "from_clients", "known", "to_0", "divert", "proxied", "keep", "leave")
        for name in (*names, "leave_0", "remember_0"):
            self.assertNotIn("{", " ".join(chain(shown, name)), name)
        question = chain(shown, "question")
        known = next(at for at, rule in enumerate(question) if rule.endswith("goto known"))
        self.assertNotIn("{", " ".join(question[:known]))
        for one in shown.chains:
            if one.name.startswith("signatures"):
                self.assertNotIn("{", " ".join(one.rules), one.name)

    def test_queue(self) -> None:
        """The way to the queue never bypasses it, and is spread over all queues."""
        self.assertTrue(chain(ruleset.render(ROUTER), "queue")[0].endswith("queue num 8700"))
        many = ruleset.render(replace(ROUTER, queues=Queues(5, 4)))
        self.assertTrue(chain(many, "queue")[0].endswith("queue num 5-8"))
        other = ruleset.render(replace(ROUTER, has_nft_queue=False))
        self.assertNotIn("queue", [one.name for one in other.chains])
        self.assertNotIn("bypass", table.install(many))

    def test_options(self) -> None:
        """Resets, masquerading, spot checks and own services are as they are asked for."""
        shown = ruleset.render(ROUTER)
        self.assertNotIn("reject", table.install(shown))
        self.assertEqual(len(chain(shown, "source")), 1)
        self.assertIn("numgen random mod 1000 0", chain(shown, "known")[1])
        other = ruleset.render(
            replace(
                ROUTER,
                resets_tcp=True,
                masquerade=True,
                spot_check=0,
                own=((Transport.TCP, 53),),
                proxy=None,
            )
        )
        self.assertIn("reject with tcp reset", chain(other, "refuse")[-2])
        self.assertEqual(len(chain(other, "source")), 2)
        bare = ruleset.render(Router(clients=("eth1",), epoch=1))
        self.assertNotIn("type nat", table.install(bare))
        self.assertNotIn("divert", table.install(bare))
        self.assertNotIn("numgen", table.install(other))
        self.assertIn("tcp dport 53 accept", chain(other, "own"))
        self.assertNotIn("tproxy", table.install(other))

    def test_epoch_change(self) -> None:
        """An epoch's change is small: no set is sent that stays, and no hook is touched."""
        change = ruleset.epoch_change(ROUTER, replace(ROUTER, epoch=8))
        assert change is not None
        self.assertNotIn("element", change)
        self.assertNotIn("hook", change)
        self.assertNotIn("table", change)
        self.assertIn("flush set inet gateway flows4", change)
        self.assertNotIn("0x07", change.replace("!= 0x07000000", "", 1))  # chain late
        self.assertIn("epoch=8", change)

    def test_epoch_change_sets(self) -> None:
        """With it go the sets that differ, and only they."""
        new = replace(ROUTER, epoch=8, denied4=(*ROUTER.denied4, (100, 100)), denied6=())
        change = ruleset.epoch_change(ROUTER, new)
        assert change is not None
        elements = [
            line
            for line in change.splitlines()
            if re.search(r"denied[46]", line) and "rule" not in line
        ]
        self.assertEqual(
            elements,
            [
                "flush set inet gateway denied4",
                "add element inet gateway denied4 { "
                "0.0.0.1-0.0.0.9, 0.0.0.100, 198.51.100.0-198.51.100.255 }",
                "flush set inet gateway denied6",
            ],
        )

    def test_other_block_time(self) -> None:
        """What a transaction cannot change needs a new table."""
        self.assertIsNone(ruleset.epoch_change(ROUTER, replace(ROUTER, block_s=20)))
