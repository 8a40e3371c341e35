"""How long a tunnel waits between attempts, by a clock that the test turns."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.tunnel.client import Tunnel
from gateway.tunnel.masque import WELL_KNOWN, ExitAddress
from gateway.tunnel.ports import Direct
from gateway.tunnel.reactor import NameResolver, Port
from tests.tunnel.world import credentials


class Deaf(Clock):
    """A reactor without ports: every attempt fails at once."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts: list[float] = []

    @property
    def nameResolver(self) -> NameResolver:
        raise AssertionError("the exit is an address")

    def listenUDP(
        self, port: int, protocol: DatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> Port:
        self.attempts.append(self.seconds())
        raise CannotListenError(interface, port, OSError("no port"))


class BackingOffTests(SynchronousTestCase):
    """Ever longer, never for ever, and not all gateways at once."""

    def waits(self, seed: int) -> list[float]:
        """Give the waits between an hour's attempts."""
        reactor = Deaf()
        tunnel = Tunnel(
            reactor,
            ExitAddress("e", f"https://192.0.2.1:4433{WELL_KNOWN}"),
            credentials("gateway"),
            Direct(),
            random=Random(seed),
        )
        tunnel.start()
        reactor.pump([0.05] * 20 * 3600)
        self.successResultOf(tunnel.stop())
        self.assertEqual(reactor.getDelayedCalls(), [])
        at = reactor.attempts
        return [after - before for before, after in pairwise(at)]

    def test_waits(self) -> None:
        """Each wait is half of its bound at least, and the bound doubles from 0.5 s to 30 s."""
        waits = self.waits(1)
        self.assertGreater(len(waits), 3600 / 30)
        for number, wait_s in enumerate(waits):
            bound_s = min(30.0, 0.5 * 2**number)
            self.assertTrue(bound_s / 2 <= wait_s <= bound_s + 0.06, (number, wait_s))

    def test_jitter(self) -> None:
        """Two gateways that lost an exit at once do not come back at once."""
        one, other = self.waits(1), self.waits(2)
        alike = sum(abs(a - b) < 0.05 for a, b in zip(one, other, strict=False))
        self.assertLess(alike, len(one) / 10)
