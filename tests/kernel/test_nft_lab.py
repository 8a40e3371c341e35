"""The table in a kernel: put there, changed, found, refused, mended, removed."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from unittest import mock

from gateway.errors import CarryError, DataError
from gateway.kernel import nft, readback, ruleset, table
from gateway.kernel.asking import denials
from gateway.kernel.command import run
from gateway.kernel.router import Router
from tests.kernel.test_ruleset import ROUTER
from tests.kernel.toy_case import HostCase

_THEIRS = "insert rule inet gateway ask counter accept"
"""What somebody else might do: everything goes on unasked."""


class TableCase(HostCase):
    """A table in the lab's gateway, and no gateway."""

    router: Router

    def setUp(self) -> None:
        """Ask the kernel for its way to the queue."""
        super().setUp()
        self.router = replace(ROUTER, has_nft_queue=self.inside(nft.has_queue))
        self.table = nft.Nft()

    def apply(self, router: Router | None = None) -> bool:
        """Put a desired state into force."""
        return self.inside(lambda: self.table.apply(router or self.router))

    def is_untouched(self) -> bool:
        """Say whether the rules are ours."""
        return self.inside(self.table.is_untouched)

    def epoch(self) -> int:
        """Give the epoch that the table says of itself."""
        installed = self.inside(nft.Nft().installed)
        assert installed is not None
        return installed.epoch


class ApplyTests(TableCase):
    """apply, prepare, commit, tidy."""

    def test_apply(self) -> None:
        """The first time everything is sent, then what differs, then nothing."""
        self.assertIsNone(self.inside(self.table.installed))
        self.assertTrue(self.apply())
        self.assertTrue(self.table.is_applied(self.router))
        again = replace(self.router)
        self.assertFalse(self.table.is_applied(again))
        self.assertFalse(self.apply(again))
        self.assertTrue(self.table.is_applied(again))
        kept = [self.gateway("nft", "-a", "list", "chain", "inet", "gateway", name)
                for name in ("signatures", "asking")]  # fmt: skip
        new = replace(self.router, epoch=8, denied4=((1, 3), (5, 9), (77, 78)), denied6=())
        self.assertTrue(self.apply(new))
        same = [self.gateway("nft", "-a", "list", "chain", "inet", "gateway", name)
                for name in ("signatures", "asking")]  # fmt: skip
        self.assertEqual(same, kept)
        self.assertNotIn("| 0x07", self.nft())
        self.assertEqual(self.epoch(), 8)
        self.assertTrue(self.is_untouched())

    def test_ranges(self) -> None:
        """Ranges that grow, shrink, split and meet are there exactly, in a set of their own, and
        those before are gone."""
        last = (1 << 32) - 1
        forms = (
            ((10, 20), (30, 40), (50, 60), (70, 80), (90, 99)),
            ((10, 15), (17, 20), (30, 45), (50, 60), (70, 80), (90, 99)),
            ((10, 20), (30, 60), (70, 80), (90, 99), (200, last)),
            ((0, 20), (30, 60), (70, 79), (81, 81), (200, last)),
            ((0, last),),
        )
        for epoch, form in enumerate(forms, 1):
            self.apply(replace(self.router, epoch=epoch, denied4=form))
            names = self.inside(partial(readback.sets, "gateway"))
            (name,) = (one for one in names if one.startswith("denied4"))
            listed = json.loads(self.gateway("nft", "-j", "list", "set", "inet", "gateway", name))
            elements = listed["nftables"][1]["set"]["elem"]
            self.assertEqual(len(elements), len(form), elements)

    def test_sets(self) -> None:
        """Nothing that is not used is left in the table."""
        self.apply()
        before = self.inside(partial(readback.sets, "gateway"))
        new = replace(self.router, epoch=8, denied4=((5, 6),))
        self.inside(lambda: self.table.prepare(replace(new, refused6=((1, 1),))))
        self.assertEqual(len(self.inside(partial(readback.sets, "gateway"))), len(before) + 2)
        self.inside(self.table.tidy)  # it is abandoned
        self.assertEqual(self.inside(partial(readback.sets, "gateway")), before)
        for _ in range(2):  # the second time nothing is missing
            prepared = self.inside(lambda: self.table.prepare(new))
        self.assertTrue(self.inside(lambda: self.table.commit(prepared)))
        self.inside(self.table.tidy)
        self.assertEqual(len(self.inside(partial(readback.sets, "gateway"))), len(before))

    def test_adopted(self) -> None:
        """After a crash another process finds the epoch and the policy, and replaces what it
        finds."""
        self.apply(replace(self.router, policy="abc123"))
        self.table = nft.Nft()
        found = self.inside(self.table.installed)
        assert found is not None
        self.assertEqual((found.epoch, found.policy), (7, "abc123"))
        self.assertTrue(self.apply(replace(self.router, epoch=8)))
        self.assertTrue(self.is_untouched())

    def test_lock(self) -> None:
        """A lock takes the place of a table, says so, and gives way to the next gateway."""
        self.apply()
        for clients in (("clients",), ()):
            self.inside(partial(self.table.lock, clients))
            self.assertEqual(self.epoch(), 0)
            self.assertIn("drop", self.nft("chain", "keep"))
        self.assertTrue(self.apply())
        self.assertEqual(self.epoch(), 7)


class TroubleTests(TableCase):
    """What others do to the table, and what the kernel refuses."""

    def test_tampered(self) -> None:
        """A rule that somebody else put in, or took out, is noticed, and the next apply mends it;
        counts and remembered blocks are no rules."""
        self.apply()
        self.gateway("nft", "add", "element", "inet", "gateway", "places4",
                     "{ 10.1.0.2 . 192.0.2.1 . udp . 53 }")  # fmt: skip
        self.assertTrue(self.is_untouched())
        for theirs in (_THEIRS, "flush chain inet gateway keep", "add chain inet gateway more"):
            self.gateway("nft", *theirs.split())
            self.assertFalse(self.is_untouched(), theirs)
            self.assertTrue(self.apply())
            self.assertTrue(self.is_untouched())
            self.assertNotRegex(self.nft("chain", "ask"), r"counter packets \d+ bytes \d+ accept")

    def test_tampered_meanwhile(self) -> None:
        """What somebody else does between preparing and putting into force does not stay."""
        for theirs in (_THEIRS, "flush table inet gateway", "delete table inet gateway"):
            self.apply()
            new = replace(self.router, epoch=8, denied4=((5, 6),))
            prepared = self.inside(partial(self.table.prepare, new))
            self.gateway("nft", *theirs.split())
            self.assertTrue(self.inside(partial(self.table.commit, prepared)))
            self.assertTrue(self.is_untouched())
            self.assertEqual(self.epoch(), 8)
            self.assertNotRegex(self.nft("chain", "ask"), r"counter packets \d+ bytes \d+ accept")

    def test_flushed(self) -> None:
        """A table that somebody else removed or emptied comes back, with its way to the queue."""
        for theirs in ("flush ruleset", "flush table inet gateway"):
            self.apply()
            self.gateway("nft", *theirs.split())
            self.assertFalse(self.is_untouched())
            self.assertTrue(self.apply())
            self.assertEqual(self.epoch(), 7)
            self.assertIn("queue", self.nft("chain", "asking"))

    def test_heals(self) -> None:
        """A table that somebody emptied comes back, though nft failed at first; until then it is
        not taken for closed, and can be locked."""
        self.apply()
        self.gateway("nft", "flush", "table", "inet", "gateway")
        with mock.patch.object(table, "install", return_value="nonsense\n"):
            self.assertRaises(CarryError, self.apply, replace(self.router, epoch=8))
        self.assertFalse(self.inside(self.table.is_closed))
        self.inside(partial(self.table.lock, ("clients",), (7,)))
        self.assertTrue(self.inside(self.table.is_closed))
        self.assertFalse(self.is_untouched())
        self.assertTrue(self.apply())
        self.assertTrue(self.is_untouched())
        self.assertTrue(self.inside(self.table.is_closed))

    def test_replaced_meanwhile(self) -> None:
        """What somebody else puts there at the moment of a change is not taken for ours."""
        self.apply()

        def run_and_lock(*argv: str, text: str = "") -> str:
            said = run(*argv, text=text)
            run("nft", "-f", "-", text=table.install(ruleset.locked("gateway", ())))
            return said

        with mock.patch.object(nft, "run", run_and_lock):
            error = self.assertRaises(CarryError, self.apply, replace(self.router, epoch=8))
        self.assertIn("somebody else replaced it meanwhile", str(error))
        self.assertFalse(self.is_untouched())
        self.assertTrue(self.apply())
        self.assertTrue(self.is_untouched())

    def test_foreign(self) -> None:
        """A table of the same name that is not a gateway's is neither changed nor removed."""
        theirs = "table inet gateway {\n\tchain c {\n\t\taccept\n\t}\n}\n"
        self.gateway("nft", "-f", "-", text=theirs)
        for doing in (self.table.installed, self.table.remove, partial(self.table.lock, ()),
                      partial(self.table.apply, self.router)):  # fmt: skip
            error = self.assertRaises(DataError, self.inside, doing)
            self.assertIn("the table is somebody else's", str(error))
        self.assertEqual(self.nft(), theirs)

    def test_refused(self) -> None:
        """What nft refuses is its own sentence, and the table stays as it was."""
        self.apply()
        before = self.nft()
        rule = "add rule inet gateway keep nonsense\n"
        error = self.assertRaises(
            CarryError, self.inside, lambda: run("nft", "-f", "-", text="flush ruleset\n" + rule)
        )
        self.assertIn("syntax error", str(error))
        self.assertEqual(self.nft(), before)

    def test_content(self) -> None:
        """Sets of one size with other ranges are never taken for one another."""
        names = set()
        for at in range(200):
            ranges = ((at << 64, at << 64 | 0xFFFF),)
            names |= {one.name for one in denials(replace(ROUTER, denied6=ranges), 6)}
        self.assertEqual(len(names), 200)

    def test_without_rights(self) -> None:
        """A process that may not read the table is told so."""
        self.apply()
        ask = (
            "from gateway.kernel import nft\nfrom gateway.errors import CarryError\n"
            "try: print(nft.Nft().installed())\nexcept CarryError as error: print(error)\n"
        )
        said = self.gateway("setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", ask)
        self.assertIn("nftables: Operation not permitted", said)
