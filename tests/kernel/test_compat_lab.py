"""The way to the queue that nft has no word for, in a kernel."""

from __future__ import annotations

from functools import partial

from twisted.trial.unittest import SkipTest

from gateway.errors import CarryError
from gateway.kernel import compat
from gateway.kernel.router import Queues
from tests.kernel.toy_case import HostCase
from tests.support.rows import rows

_TABLE = "table inet mine {\n\tchain asking {\n\t\tcounter packets 0 bytes 0 drop\n\t}\n}\n"


@rows(
    taken={
        "one queue": (Queues(8700), False, "queue num 8700"),
        "many": (Queues(5, 4), False, "queue balance 5-8"),
        "that may be passed by": (Queues(7), True, "queue num 7"),
    },
    refused={
        "no such table": ("other", "asking", Queues(1), "No such file or directory"),
        "no such chain": ("mine", "other", Queues(1), "No such file or directory"),
        "a queue too high": ("mine", "asking", Queues(65535, 2), "out of range"),
        "no queue": ("mine", "asking", Queues(1, 0), "Invalid argument"),
    },
)
class CompatTests(HostCase):
    """insert and has_target."""

    def setUp(self) -> None:
        """Make a table."""
        super().setUp()
        if not self.inside(compat.has_target):
            raise SkipTest("this kernel has no target NFQUEUE for nft")
        self.gateway("nft", "-f", "-", text=_TABLE)

    def check_taken(self, queues: Queues, bypass: bool, shown: str) -> None:
        """The rule stands before the drop, alone"""
        self.inside(lambda: compat.insert("mine", "asking", queues, bypass=bypass))
        listed = self.gateway("nft", "list", "chain", "inet", "mine", "asking").splitlines()
        rules = [line.strip() for line in listed[2:-2]]
        self.assertEqual(len(rules), 2, listed)
        self.assertRegex(rules[0], "[Qq]ueue|NFQUEUE")
        self.assertIn(str(queues.first), rules[0])
        self.assertEqual(rules[1], "counter packets 0 bytes 0 drop")

    def check_refused(self, table: str, chain: str, queues: Queues, why: str) -> None:
        """What cannot be is refused with the kernel's own word, and changes nothing"""
        insert = partial(compat.insert, table, chain, queues)
        error = self.assertRaises(CarryError, self.inside, insert)
        self.assertIn("the target NFQUEUE: ", str(error))
        self.assertIn(why, str(error))
        self.assertEqual(self.gateway("nft", "list", "ruleset"), _TABLE)

    def test_asked(self) -> None:
        """Asking whether there is the target changes nothing."""
        self.assertTrue(self.inside(compat.has_target))
        self.assertEqual(self.gateway("nft", "list", "ruleset"), _TABLE)
