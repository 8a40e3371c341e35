"""The rules of router mode, as text: what no rule may say, and what changes with an epoch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import ruleset, table
from gateway.kernel.asking import ASKING, SAMPLED
from gateway.kernel.router import InterfaceExit, LocalProxy, Queues, Relay, Router
from gateway.kernel.table import Table
from gateway.model import Endpoint, Transport, pack

ROUTER = Router(
    clients=("eth1", "wg0"),
    epoch=7,
    denied4=((1, 9), (0xC6336400, 0xC63364FF)),
    denied6=((0x20010DB8 << 96, (0x20010DB8 << 96) + 9),),
    relays=(Relay(1, Endpoint.parse("192.0.2.9:4001"), Endpoint.parse("[2001:db8::9]:4001")),),
    exits=(InterfaceExit(2, "wg1"),),
    proxy=LocalProxy(3, 7000),
)
_FULL = replace(ROUTER, refused4=((11, 12),), refused6=((1, 2),), masquerade=True)
_TERMINAL = re.compile(r"(drop|accept|goto \w+|queue( flags bypass)? to \S+)$")


def chain(shown: Table, name: str) -> tuple[str, ...]:
    """Give a chain's rules."""
    (found,) = (one for one in shown.chains if one.name == name)
    return found.rules


def led_to(shown: Table, name: str, verb: str = "(?:goto|jump)") -> Iterator[str]:
    """Give the chains that a chain sends packets to."""
    for rule in chain(shown, name):
        yield from re.findall(rf"\b{verb} (\w+)$", rule)


def reached(shown: Table, *names: str) -> set[str]:
    """Give chains, and all that they lead to."""
    found: set[str] = set()
    left = set(names)
    while left:
        found |= left
        left = {to for name in left for to in led_to(shown, name)} - found
    return found


class RulesetTests(SynchronousTestCase):
    """render."""

    def test_marks(self) -> None:
        """No rule sets a mark without keeping others' byte of it."""
        count = 0
        for text in table.install(ruleset.render(_FULL)).splitlines():
            for of, what in re.findall(r"(\w+) mark set (.*)", text):
                found = re.match(rf"{of} mark (and|or) (\w+)(?: or (\w+))?", what)
                assert found is not None, text
                keeps = int(found[2], 16) & 0xFF00 == (0xFF00 if found[1] == "and" else 0)
                self.assertTrue(keeps and not int(found[3] or "0", 16) & 0xFF00, text)
                count += 1
        self.assertGreater(count, 40)

    def test_families(self) -> None:
        """IPv6 has each rule and each set that IPv4 has."""
        text = table.install(ruleset.render(_FULL))
        for four, six in (
            (r"rule.*\bip (s|d)addr", r"rule.*\bip6 (s|d)addr"),
            (r"rule.*dnat ip ", r"rule.*dnat ip6 "),
            (r"add set inet gateway [a-z_]+4(_\w+)? ", r"add set inet gateway [a-z_]+6(_\w+)? "),
            (r"rule.* icmp type ", r"rule.* icmpv6 type (echo|dest|. 3)"),
        ):
            found = [len(re.findall(pattern, text)) for pattern in (four, six)]
            self.assertEqual(found[0], found[1], four)
            self.assertGreater(found[0], 0, four)

    def test_chains(self) -> None:
        """Every chain that is named is there, and every one is reached from a hook."""
        for router in (_FULL, Router(clients=("eth1",), epoch=1)):
            shown = ruleset.render(router)
            names = {one.name for one in shown.chains}
            self.assertEqual(len(names), len(shown.chains))
            hooked = reached(shown, *(one.name for one in shown.chains if one.hook))
            self.assertEqual(hooked - names, set())
            # What goes to the proxy is never forwarded.
            self.assertLessEqual(names - hooked, {"remember_3"})

    def test_closed(self) -> None:
        """A chain that a packet goes to for good ends in a verdict: what no rule of it knows does
        not go on by chance."""
        for has_nft_queue in (True, False):
            shown = ruleset.render(replace(_FULL, has_nft_queue=has_nft_queue))
            # These come back to whoever asked them.
            asked = {"signatures", "unusual"} | {
                one.name for one in shown.chains if re.match("signatures_|earlier_", one.name)
            }
            for name in reached(shown, *(one.name for one in shown.chains if one.hook)) - asked:
                (one,) = (each for each in shown.chains if each.name == name)
                if one.hook or name == "slow":  # others' packets go on
                    continue
                if name == SAMPLED and not has_nft_queue:  # of flows that were let go
                    self.assertEqual(one.rules, ())
                    continue
                self.assertRegex(one.rules[-1], _TERMINAL, name)

    def test_sampled(self) -> None:
        """Only what was let go is led past a judge that does not answer, and asks nothing."""
        shown = ruleset.render(_FULL)
        for one in shown.chains:
            if SAMPLED in led_to(shown, one.name):
                self.assertRegex(one.name, "^sample_")
                self.assertRegex(one.rules[0], r"^meta mark set meta mark and 0x0000ff00 or 0x07")
                self.assertEqual(one.rules[1:], (f"goto {SAMPLED}",))

    def test_no_map(self) -> None:
        """What carries an accepted flow looks nothing up in a set that a change replaces."""
        shown = ruleset.render(_FULL)
        new = ruleset.render(replace(_FULL, epoch=8))
        question = chain(shown, "question")
        known = next(at for at, rule in enumerate(question) if rule.endswith("goto known"))
        for one in shown.chains:
            rules = question[:known] if one.name == "question" else one.rules
            if one in new.chains or one.name in ("own", "source", "remembered"):
                continue  # it stays, or carries none
            if one.name.endswith("remembered"):
                continue
            self.assertNotRegex(" ".join(rules), r"[{@](?!nh|th)", one.name)

    def test_block_time(self) -> None:
        """Only Python's answer prolongs a block, and packets that die of it do not."""
        shown = ruleset.render(_FULL)
        found = [one.name for one in shown.chains if "update @" in " ".join(one.rules)]
        self.assertEqual(found, ["remembered", "refused_remembered"])

    def test_canaries(self) -> None:
        """Nobody has a canary's address but what comes in by their interface."""
        shown = ruleset.render(replace(_FULL, canaries=(pack("192.0.0.8"), pack("100::8"))))
        (chain,) = [one for one in shown.chains if one.name == "question"]
        for words in ("ip saddr 192.0.0.8", "ip6 saddr 100::8"):
            self.assertIn(f'{words} iifname != "rtc-canary" counter drop', chain.rules)

    def test_queue(self) -> None:
        """The way to the queue never passes it by, and is spread over all queues; where nft cannot
        say so, it is a drop until netlink has."""
        shown = ruleset.render(ROUTER)
        self.assertEqual(chain(shown, ASKING), ("counter queue to 8700",))
        self.assertEqual(chain(shown, SAMPLED), ("counter queue flags bypass to 8700",))
        many = ruleset.render(replace(ROUTER, queues=Queues(5, 4)))
        self.assertEqual(chain(many, ASKING), ("counter queue to 5-8",))
        other = ruleset.render(replace(ROUTER, has_nft_queue=False))
        self.assertEqual((chain(other, ASKING), chain(other, SAMPLED)), (("counter drop",), ()))

    def test_options(self) -> None:
        """Masquerading, spot checks, own services and the proxy are as they are asked for."""
        shown = ruleset.render(ROUTER)
        self.assertEqual(chain(shown, "source"), (
            'iifname { "eth1", "wg0" } oifname "wg1" masquerade',
        ))  # fmt: skip
        self.assertIn("numgen", table.install(shown))
        given = {"masquerade": True, "spot_check": 0, "own": ((Transport.TCP, 53),), "proxy": None}
        other = ruleset.render(replace(ROUTER, **given))  # type: ignore[arg-type]  # of four kinds
        self.assertEqual(len(chain(other, "source")), 2)
        self.assertIn("tcp dport 53 accept", chain(other, "own"))
        for absent in ("numgen", "redirect", "udp dport 67"):
            self.assertNotIn(absent, table.install(other))
        bare = table.install(ruleset.render(Router(clients=("eth1",), epoch=1)))
        self.assertNotIn("type nat", bare)
        self.assertNotIn("redirect", bare)


class ChangeTests(SynchronousTestCase):
    """What an epoch changes."""

    def change(self, new: Router, old: Router = _FULL) -> str:
        """Give the transaction between two desired states."""
        text = table.difference(ruleset.render(old), ruleset.render(new))
        assert text is not None
        return text

    def test_epoch(self) -> None:
        """No set is sent, no hook touched, no mark of the old epoch left; what is remembered of
        blocks is forgotten, and the way to the queue stays, for netlink may have made it."""
        for has_nft_queue in (True, False):
            old = replace(_FULL, has_nft_queue=has_nft_queue)
            change = self.change(replace(old, epoch=8), old)
            for absent in ("element", " hook ", "table", "add set", "delete",
                           "or 0x07", "== 0x07", f"gateway {ASKING} ", f"gateway {SAMPLED} ",
                           f"chain inet gateway {ASKING}\n", "signatures_"):  # fmt: skip
                self.assertNotIn(absent, change, absent)
            flushed = set(re.findall(r"flush set inet gateway (\w+)", change))
            kinds = {f"{kind}{family}" for kind in ("places", "flows", "others") for family in "46"}
            self.assertEqual(flushed, kinds | {f"refused_{kind}" for kind in kinds})
            self.assertIn("epoch=8", change)

    def test_wraps(self) -> None:
        """Between 255 and 1 too, the epoch before is the one that was in force."""
        last = replace(_FULL, epoch=255)
        change = self.change(replace(_FULL, epoch=1), last)
        self.assertIn("!= 0xff000000 counter drop", change)
        self.assertNotIn("or 0xff0", change.replace("or 0xff000000\n", "", 0))

    def test_denials(self) -> None:
        """Other ranges are another set, loaded before and unloaded after; ranges that stay are not
        sent."""
        new = replace(_FULL, epoch=8, denied4=(*_FULL.denied4, (100, 100)), denied6=())
        tables = ruleset.render(_FULL), ruleset.render(new)
        (loaded,) = table.loading(*tables).splitlines()
        self.assertRegex(
            loaded,
            r"add set inet gateway denied4_\w+ .*"
            r"\{ 0.0.0.1-0.0.0.9, 0.0.0.100, 198.51.100.0-198.51.100.255 \} \}$",
        )
        change = self.change(new)
        (name,) = re.findall(r"ip daddr @(denied4_\w+) goto denied", change)
        self.assertIn(name, loaded)
        self.assertNotIn("ip6 daddr @denied6", change)
        self.assertNotIn("add set", change)

    def test_names(self) -> None:
        """A set's name says what is in it, and in which family and manner."""
        names = [
            one.name
            for router in (_FULL, replace(_FULL, denied4=_FULL.refused4, refused4=_FULL.denied4))
            for one in ruleset.render(router).sets
            if one.ranges
        ]
        self.assertEqual(len(set(names)), 6)
        again = [one.name for one in ruleset.render(_FULL).sets if one.ranges]
        self.assertEqual(names[:4], again)

    def test_other_block_time(self) -> None:
        """What a transaction cannot change needs a new table."""
        tables = ruleset.render(_FULL), ruleset.render(replace(_FULL, block_s=20))
        self.assertIsNone(table.difference(*tables))
