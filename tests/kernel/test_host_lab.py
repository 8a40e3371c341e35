"""What else changes the host, in the lab's gateway: locks, routes, queues, answers."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from gateway.errors import CarryError
from gateway.kernel import host, routes
from gateway.kernel.lock import Lock
from gateway.kernel.nfqueue import QueueSocket
from gateway.kernel.queue_messages import DROP
from gateway.kernel.replies import Replies
from gateway.kernel.router import InterfaceExit
from gateway.kernel.routes import Way
from gateway.model import Endpoint
from tests.kernel.test_ruleset import ROUTER
from tests.kernel.toy_case import HostCase
from tests.lab.queues import kernel_states

_FAMILIES = ("-4", "-6")


class LockTests(HostCase):
    """The lock on a table."""

    def test_lock(self) -> None:
        """Two gateways cannot keep one table; when one is gone, the other can."""
        first, second, other = Lock("gateway"), Lock("gateway"), Lock("other")
        for lock in (first, second, other):
            self.addCleanup(lock.release)
        self.inside(first.take)
        self.inside(first.take)
        error = self.assertRaises(CarryError, self.inside, second.take)
        self.assertIn("another gateway", str(error))
        self.inside(other.take)
        first.release()
        self.inside(second.take)


class RouteTests(HostCase):
    """Rules and routes."""

    def lay(self, ways: Iterable[Way]) -> None:
        """Lay these ways."""
        self.inside(partial(routes.apply, tuple(ways)))

    def rules(self) -> list[str]:
        """List the rules of both families."""
        return [self.gateway("ip", family, "rule") for family in _FAMILIES]

    def test_apply(self) -> None:
        """Ways are laid for both families, may be laid again, and those gone are taken away; the
        rules of others stay."""
        for family in _FAMILIES:
            self.gateway("ip", family, "rule", "add", "fwmark", "7", "lookup", "99")
        before = self.rules()
        ways = (Way(2, "uplink"), Way(3, "lo"))
        for _ in range(2):
            self.lay(ways)
        for family, rules in zip(_FAMILIES, self.rules(), strict=True):
            self.assertEqual(rules.count("8700:"), 4)
            for target, name in ((2, "uplink"), (3, "lo")):
                self.assertIn(f"fwmark {target << 16:#x}/0xff0000 lookup 87000{target}", rules)
                self.assertIn(f"oif {name} lookup 87000{target}", rules)
                table = self.gateway("ip", family, "route", "show", "table", f"87000{target}")
                self.assertIn(f"default dev {name}", table)
                self.assertIn("unreachable default", table)
        self.lay(ways[1:])
        self.assertEqual(set(self.inside(routes.listed).values()), {frozenset({3})})
        self.assertTrue(self.inside(routes.remove))
        self.assertFalse(self.inside(routes.remove))
        self.assertEqual(self.rules(), before)

    def test_no_interface(self) -> None:
        """An interface that is not there is named."""
        error = self.assertRaises(CarryError, self.lay, [Way(2, "wg9")])
        self.assertEqual(str(error), "wg9: there is no such interface")

    def test_desired(self) -> None:
        """Exits need ways; relays and the local proxy do not."""
        self.assertEqual(routes.desired(ROUTER), (Way(2, "wg1"),))
        other = replace(ROUTER, exits=(InterfaceExit(9, "a"),), proxy=None)
        self.assertEqual(routes.desired(other), (Way(9, "a"),))


class QueueTests(HostCase):
    """The queue's socket."""

    def test_taken(self) -> None:
        """A queue that another process holds is refused, with that sentence."""
        first = self.inside(lambda: QueueSocket([5, 6], lambda queued: DROP))
        self.addCleanup(first.close)
        self.assertEqual([one.queue for one in self.inside(kernel_states)], [5, 6])
        hold = (
            "from gateway.kernel.nfqueue import QueueSocket\n"
            "from gateway.errors import CarryError\n"
            "try: QueueSocket([6], print)\n"
            "except CarryError as error: print(error)\n"
        )
        said = self.gateway(sys.executable, "-c", hold)
        self.assertIn("queue 6: ", said)
        self.assertIn("another process holds it", said)
        first.close()
        first.close()
        self.assertEqual(self.gateway(sys.executable, "-c", hold), "")


class RepliesTests(HostCase):
    """Datagrams as from another address."""

    def test_bounded(self) -> None:
        """Sockets are kept, and the least used one goes above the bound."""
        replies = Replies(max_sockets=2)
        self.addCleanup(replies.close)
        client = Endpoint.parse("10.1.0.2:5000")
        asked = [Endpoint.parse(f"192.0.2.{n}:8000") for n in (1, 2, 1, 3, 1)]
        for one in asked:
            self.assertTrue(self.inside(partial(replies.send, one, client, b"x")))
        self.assertEqual(len(replies), 2)
        self.assertEqual(replies.counters["sent"], 5)

    def test_families(self) -> None:
        """A client is not answered as from an address of the other family."""
        replies = Replies()
        asked, client = Endpoint.parse("[2001:db8::1]:1"), Endpoint.parse("10.1.0.2:5000")
        self.assertRaises(CarryError, replies.send, asked, client, b"x")


class MissingTests(HostCase):
    """What the lab's gateway lacks."""

    def test_nothing(self) -> None:
        """A host on which router mode works lacks nothing."""
        self.assertEqual(self.inside(lambda: host.missing(["clients"], ["uplink"])), [])
