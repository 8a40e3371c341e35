"""gateway.tunnel.ledger, and what an app that ranks servers by its pings sees through exits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.flow.round_trips import Timing
from gateway.model import Endpoint
from gateway.tunnel.client import Tunnel
from gateway.tunnel.ledger import DIRECT, MAX_ENDPOINTS, Ledger
from gateway.tunnel.nearest import Nearest
from tests.wire import captures

PING, PONG = captures.first("PPing1_v7"), captures.first("PPong1_v7")
EDGE = Endpoint.parse("203.0.113.7:4001")
Point = tuple[float, float]
"""Milliseconds of round trip from the middle of the world."""


def server(number: int) -> Endpoint:
    """Give one of several servers."""
    return Endpoint(bytes((203, 0, 113, number)), 4001)


class LedgerTests(SynchronousTestCase):
    """What pings took, by endpoint and exit."""

    def setUp(self) -> None:
        self.ledger = Ledger()

    def test_account(self) -> None:
        """The account has the fastest route, the fastest allowed one, and what the fence costs."""
        for name, total_s, near_s in ((DIRECT, 0.030, 0.0), ("us", 0.050, 0.020), ("eu", 0.2, 0.1)):
            self.ledger.answered(name, EDGE, total_s, near_s)
        near = {DIRECT: 0.0, "us": 0.025, "eu": 0.1, "down": None}
        account = self.ledger.account(EDGE, near, {"us", "eu"})
        assert account.fastest is not None and account.fastest_allowed is not None
        self.assertEqual((account.fastest.exit, account.fastest_allowed.exit), (DIRECT, "us"))
        assert account.cost_s is not None
        self.assertAlmostEqual(account.cost_s, 0.025)
        self.assertEqual([one.exit for one in account.routes], [DIRECT, "us", "eu"])
        self.assertEqual(self.ledger.accounts(near, {"us"}, 10)[0].endpoint, EDGE)

    def test_unmeasured(self) -> None:
        """Without a measured route, or an allowed one, no cost is claimed."""
        self.assertIsNone(self.ledger.account(EDGE, {"us": 0.01}, {"us"}).cost_s)
        self.ledger.answered(DIRECT, EDGE, 0.03, 0.0)
        self.assertIsNone(self.ledger.account(EDGE, {DIRECT: 0.0, "us": 0.01}, {"us"}).cost_s)
        self.ledger.answered("us", EDGE, 0.03, 0.01)
        self.assertIsNone(self.ledger.account(EDGE, {"us": None}, {"us"}).fastest)

    def test_smoothed(self) -> None:
        """The least and the smoothed time are kept; a ping faster than its tunnel took nothing."""
        for total_s in (0.050, 0.130, 0.050):
            self.ledger.answered("us", EDGE, total_s, 0.010)
        (route,) = self.ledger.account(EDGE, {"us": 0.01}, {"us"}).routes
        self.assertAlmostEqual(route.far.least_s, 0.040)
        self.assertAlmostEqual(route.far.smoothed_s, 0.040 + 0.010 * 7 / 8)
        self.assertEqual(route.far.samples, 3)
        self.ledger.answered("eu", EDGE, 0.001, 0.010)
        self.assertEqual(self.ledger.account(EDGE, {"eu": 0.01}, {}).routes[0].far.least_s, 0.0)

    def test_bounded(self) -> None:
        """Endpoints that were pinged last are remembered, and only so many."""
        for number in range(MAX_ENDPOINTS + 5):
            endpoint = Endpoint(number.to_bytes(4, "big"), 1)
            self.ledger.answered("us", endpoint, 0.05, 0.01)
        self.assertEqual(len(self.ledger), MAX_ENDPOINTS)
        self.assertEqual(len(self.ledger.accounts({"us": 0.01}, {"us"}, 7)), 7)

    def test_tries(self) -> None:
        """Every exit is tried before one is chosen; where nothing answers, it is the nearest."""
        near: Mapping[str, float | None] = {"far": 0.2, "near": 0.1, "unknown": None}
        chosen = [self.ledger.choose(EDGE, near) for _ in range(9)]
        self.assertEqual({name: chosen.count(name) for name in near}, dict.fromkeys(near, 3))
        self.assertEqual(self.ledger.choose(EDGE, near), "near")
        self.assertIsNone(self.ledger.choose(EDGE, {}))

    def test_keeps(self) -> None:
        """A flow stays while its exit is tried, leaves for those not tried, and stays on what is as
        good as any."""
        near: Mapping[str, float | None] = {"one": 0.1, "two": 0.1}
        self.assertTrue(self.ledger.keeps("one", EDGE, near))
        self.ledger.answered("one", EDGE, 0.150, 0.1)
        self.assertFalse(self.ledger.keeps("one", EDGE, near))
        self.ledger.answered("two", EDGE, 0.148, 0.1)
        self.assertTrue(self.ledger.keeps("one", EDGE, near))
        self.ledger.answered("three", EDGE, 0.103, 0.1)
        self.assertFalse(self.ledger.keeps("one", EDGE, {**near, "three": 0.1}))
        self.assertFalse(self.ledger.keeps("gone", EDGE, near))
        self.assertTrue(self.ledger.keeps("gone", EDGE, {}))


class FarFlow:
    """A flow of which every ping is answered after a while."""

    def __init__(self, clock: Clock, took_s: float | None, timing: Timing, give: Any) -> None:
        self._clock, self._took_s, self._give = clock, took_s, give
        self.timing = timing
        self.is_closed = False
        self.on_own_close: Callable[[], None] = lambda: None
        self.on_ping_answered: Callable[[], None] = lambda: None

    def send(self, payload: bytes) -> bool:
        """UdpFlow API."""
        self.timing.sent(payload)
        if self._took_s is not None:
            self._clock.callLater(self._took_s, self._answer, PONG[:14] + payload[14:16])
        return True

    def close(self) -> None:
        """UdpFlow API."""
        self.is_closed = True
        self.on_own_close()

    def _answer(self, payload: bytes) -> None:
        if not self.is_closed:
            self.timing.got(payload)
            self._give(payload)
            self.on_ping_answered()


class FarExit:
    """An exit somewhere."""

    up, is_silent = True, False

    def __init__(self, world: World, name: str, at: Point) -> None:
        self._world, self._name, self._at = world, name, at
        self.rtt_s = math.dist(world.client, at) / 1000

    def open_udp(self, destination: Endpoint, give: Any, lose: Any) -> FarFlow:
        """Tunnel API."""
        world, rtt_s = self._world, self.rtt_s
        far = world.servers.get(destination)
        took_s = None if far is None else rtt_s + math.dist(self._at, far) / 1000

        def tell(total_s: float) -> None:
            world.ledger.answered(self._name, destination, total_s, rtt_s)

        return FarFlow(world.clock, took_s, Timing(world.clock.seconds, tell), give)


class World:
    """A client, servers that its app ranks by its pings, and exits; points of a plane, where no way
    round is shorter than the straight one."""

    def __init__(self, client: Point, servers: list[Point], exits: list[Point]) -> None:
        self.client = client
        self.servers = {server(number): at for number, at in enumerate(servers, 1)}
        self.clock = Clock()
        self.ledger = Ledger()
        self.exits = {
            f"exit-{number}": FarExit(self, f"exit-{number}", at) for number, at in enumerate(exits)
        }

    def direct(self) -> list[Endpoint]:
        """Rank the servers as they are."""
        return sorted(self.servers, key=lambda one: math.dist(self.client, self.servers[one]))

    def go_on(self, for_s: float) -> None:
        """Let time pass, from one event to the next: each sees its own time."""
        end_s = self.clock.seconds() + for_s
        while self.clock.calls and (next_s := self.clock.calls[0].getTime()) <= end_s:
            self.clock.advance(next_s - self.clock.seconds())
        self.clock.advance(end_s - self.clock.seconds())

    def seen(self, *, by_answer: bool, pings: int = 40) -> dict[Endpoint, float]:
        """Give what an app's last pings of each server took, ms; two a second are sent."""
        tunnels = cast(dict[str, Tunnel], self.exits)
        ledger = self.ledger if by_answer else None
        nearest = Nearest(cast(Any, self.clock), tunnels, ledger)
        apps = {one: App(self.clock, nearest, one) for one in self.servers}
        for number in range(pings):
            for app in apps.values():
                app.ping(number)
            self.go_on(0.5)
            nearest.look()
        self.go_on(10)
        return {one: app.took_ms for one, app in apps.items()}


class App:
    """What pings one server, and opens its way anew when it was closed, as a listener does."""

    def __init__(self, clock: Clock, nearest: Nearest, to: Endpoint) -> None:
        self._clock, self._nearest, self._to = clock, nearest, to
        self._flow: Any = None
        self._sent: dict[bytes, float] = {}
        self.took_ms = math.inf

    def ping(self, number: int) -> None:
        """Send one."""
        if self._flow is None:
            self._flow = self._nearest.open_udp(self._to, self._got, self._closed)
        name = number.to_bytes(2, "little")
        self._sent[name] = self._clock.seconds()
        self._flow.send(PING[:14] + name + PING[16:])

    def _got(self, payload: bytes) -> None:
        self.took_ms = (self._clock.seconds() - self._sent[payload[14:16]]) * 1000

    def _closed(self, _reason: str) -> None:
        self._flow = None


NEAR, GAP, ANGLE = st.floats(-2, 2), st.floats(12, 80), st.floats(0, math.tau)


class HonestTests(SynchronousTestCase):
    """What an app's ranking by its pings is worth, through exits."""

    def test_one_exit(self) -> None:
        """With one exit the app sees the way to it and what is behind it: the order of the servers
        as the exit has it, by one constant more."""
        world = World((0, 0), [(100, 0), (40, 0), (0, 90)], [(30, 0)])
        seen = world.seen(by_answer=False)
        behind = [math.dist((30, 0), at) for at in world.servers.values()]
        constants = [took - far for took, far in zip(seen.values(), behind, strict=True)]
        self.assertAlmostEqual(max(constants), min(constants), places=6)
        self.assertAlmostEqual(constants[0], 30, places=6)

    def test_nearest_misleads(self) -> None:
        """Where all go by the nearest exit, an app may rank wrongly: the server next to the exit
        wins."""
        world = World((0, 0), [(-50, 0), (60, 0)], [(40, 0), (-51, 0)])
        seen = world.seen(by_answer=False)
        self.assertEqual(world.direct(), [server(1), server(2)])
        self.assertEqual(sorted(seen, key=lambda one: seen[one]), [server(2), server(1)])
        honest = World((0, 0), [(-50, 0), (60, 0)], [(40, 0), (-51, 0)])
        seen = honest.seen(by_answer=True)
        self.assertEqual(sorted(seen, key=lambda one: seen[one]), [server(1), server(2)])

    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.tuples(GAP, ANGLE, NEAR, NEAR), min_size=2, max_size=4), st.randoms())
    def test_ranks_right(self, drawn: list[tuple[float, ...]], random: Random) -> None:
        """By answer-rtt, with an exit within 3 ms of each server, an app's ranking is right for
        servers that differ by more than the detours and by what is not worth a move."""
        places, away = [], 5.0
        for gap, angle, east, north in drawn:
            x, y = away * math.cos(angle), away * math.sin(angle)
            places.append(((x, y), (x + east, y + north)))
            away = 1.2 * away + gap
        random.shuffle(places)
        world = World((0, 0), [at for at, _ in places], [exit_ for _, exit_ in places])
        seen = world.seen(by_answer=True)
        self.assertEqual(sorted(seen, key=lambda one: seen[one]), world.direct())
        for one, took_ms in seen.items():
            direct = math.dist((0, 0), world.servers[one])
            self.assertGreaterEqual(took_ms, direct - 1e-6)

    def test_no_answers(self) -> None:
        """A server that answers nobody is tried by each exit, and then left in peace."""
        world = World((0, 0), [], [(40, 0), (-51, 0), (60, 0)])
        silent = server(9)
        tunnels = cast(dict[str, Tunnel], world.exits)
        nearest = Nearest(cast(Any, world.clock), tunnels, world.ledger)
        app = App(world.clock, nearest, silent)
        flows = []
        for number in range(60):
            app.ping(number)
            flows.append(app._flow)
            world.clock.advance(0.5)
            nearest.look()
        self.assertTrue(all(one is flows[-1] for one in flows[-30:]))
        self.assertEqual(len({id(one) for one in flows}), len(world.exits))
