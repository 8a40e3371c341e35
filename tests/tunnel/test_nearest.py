"""gateway.tunnel.nearest: exits that fail under way, on loopback."""

from __future__ import annotations

from functools import partial

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.client import Tunnel
from gateway.tunnel.ledger import Ledger
from gateway.tunnel.nearest import Nearest
from gateway.tunnel.reactor import Address
from gateway.tunnel.udpflow import UdpFlow
from tests.tunnel.world import Binder, Forwarder, UdpEcho, World, ignore, reactor, until


class Path(Forwarder):
    """A way to an exit that can be cut."""

    is_cut = False

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """DatagramProtocol API."""
        if not self.is_cut:
            super().datagramReceived(datagram, addr)


class NearestTests(World):
    """Two exits, one destination."""

    async def two(self) -> tuple[Nearest, list[Path], list[Tunnel]]:
        """Start two exits, each behind a path of its own, and wait for both."""
        paths, tunnels = [], []
        for _ in range(2):
            _, at = self.exit()
            path = Path(at)
            tunnel, _ = self.tunnel(self.udp(path))
            paths.append(path)
            tunnels.append(tunnel)
        await until(lambda: all(one.up for one in tunnels), "both")
        nearest = Nearest(reactor, {"one": tunnels[0], "two": tunnels[1]})
        nearest.start()
        self.addCleanup(nearest.stop)
        return nearest, paths, tunnels

    def open(self, nearest: Nearest, target: Endpoint) -> tuple[UdpFlow, list[bytes], list[str]]:
        """Open a flow; give what comes back, and why it ended."""
        got: list[bytes] = []
        ends: list[str] = []
        return nearest.open_udp(target, got.append, ends.append), got, ends

    async def pinged(self, nearest: Nearest, target: Endpoint) -> list[str]:
        """Have three pings answered on a new flow; give why it ended, if it did."""
        flow, got, ends = self.open(nearest, target)
        for number in range(3):
            flow.send(bytes.fromhex("000100002112a442") + bytes(11) + bytes((number,)))
        await until(lambda: len(got) == 3, "three answers")
        return ends

    async def test_silent(self) -> None:
        """An exit whose path is cut is left within two seconds, also by flows that are open; the
        flow's next datagram takes the other."""
        nearest, paths, tunnels = await self.two()
        target = self.udp(UdpEcho())
        flow, got, ends = self.open(nearest, target)
        flow.send(b"before")
        await until(lambda: got, "the first echo")
        at = 0 if nearest.choose() == "one" else 1
        paths[at].is_cut = True
        cut_s = reactor.seconds()
        flow.send(b"lost")
        await until(lambda: ends, "the move")
        self.assertLess(reactor.seconds() - cut_s, 2.0)
        self.assertIn("silent", ends[0])
        self.assertTrue(tunnels[at].up)  # it is not given up: it may be back in a moment
        self.assertEqual((nearest.moved, nearest.chosen), (1, "two" if at == 0 else "one"))
        self.assertGreaterEqual(nearest.changes, 2)
        again, got, ends = self.open(nearest, target)
        again.send(b"after")
        await until(lambda: got == [b"after"], "the echo by the other")
        paths[at].is_cut = False
        await until(lambda: not tunnels[at].is_silent, "its return")
        self.assertEqual(ends, [])

    async def test_by_answers(self) -> None:
        """By the ledger a flow tries each exit by its own pings, and stays where both are known
        and none is better by much."""
        ledger, tunnels = Ledger(), {}
        for name in ("one", "two"):
            tell = partial(ledger.answered, name)
            tunnels[name], _ = self.tunnel(self.exit()[1], on_round_trip=tell)
        await until(lambda: all(one.up for one in tunnels.values()), "both")
        nearest, target = Nearest(reactor, tunnels, ledger), self.udp(Binder())
        near = {name: one.rtt_s for name, one in tunnels.items()}
        ends = [await self.pinged(nearest, target) for _ in ("one", "two")]
        self.assertIn("nearer by another exit", ends[0][0])
        routes = ledger.account(target, near, ()).routes
        self.assertEqual({one.exit for one in routes}, {"one", "two"})
        self.assertEqual([one.far.samples for one in routes], [3, 3])

    async def test_all_silent(self) -> None:
        """Where no exit answers flows stay where they are, and go on when it does."""
        nearest, paths, tunnels = await self.two()
        target = self.udp(UdpEcho())
        flow, got, ends = self.open(nearest, target)
        other = tunnels[1 if nearest.choose() == "one" else 0]
        asks = other.open_udp(target, ignore, ignore)
        flow.send(b"before")
        await until(lambda: got, "the first echo")
        for path in paths:
            path.is_cut = True
        asks.send(b"lost")
        await until(lambda: other.is_silent, "the other's silence")
        flow.send(b"lost")
        await until(lambda: all(one.is_silent for one in tunnels), "their silence")
        nearest.look()
        self.assertEqual(ends, [])
        for path in paths:
            path.is_cut = False
        await until(lambda: flow.send(b"again") and len(got) > 1, "an echo")

    async def test_stopped(self) -> None:
        """An exit that says goodbye is left at once; with none left there is no way."""
        nearest, _, tunnels = await self.two()
        _, _, ends = self.open(nearest, self.udp(UdpEcho()))
        at = 0 if nearest.choose() == "one" else 1
        await tunnels[at].stop()
        self.assertEqual(len(ends), 1)
        self.assertEqual(nearest.choose(), ("two", "one")[at])
        await tunnels[1 - at].stop()
        with self.assertRaises(CarryError):
            nearest.open_udp(Endpoint.of("192.0.2.1", 9), ignore, ignore)

    async def test_own_end(self) -> None:
        """A flow that its owner closes is forgotten: nobody is told."""
        nearest, _, _ = await self.two()
        flow, _, ends = self.open(nearest, self.udp(UdpEcho()))
        flow.close()
        self.assertEqual((ends, len(nearest._flows)), ([], 0))
