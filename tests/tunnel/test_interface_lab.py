"""An exit that is an interface, in network namespaces: what leaves, by which interface, and what
does not when that one is gone.

The gateway's default route is its uplink; the exit is wg0, a link of its own to the same internet.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost, NoRouteError, TimeoutError
from twisted.internet.interfaces import IProtocol
from twisted.trial.unittest import TestCase

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.bound import BoundFlow
from gateway.tunnel.interface import InterfaceExit
from gateway.tunnel.link import Link
from tests.lab import namespaces
from tests.lab.case import LabCase
from tests.lab.topology import Space
from tests.lab.wire import Wire
from tests.support.rows import rows
from tests.tunnel.test_interface_sockets import Caller, caller, reactor
from tests.tunnel.world import ignore, pause, until

Result = TypeVar("Result")

_OWN = {4: "10.9.0.1", 16: "2001:db8:9::1"}
_FAR = {4: "10.9.0.2", 16: "2001:db8:9::2"}
_TO = {4: Endpoint.parse("203.0.113.7:4001"), 16: Endpoint.parse("[2001:db8:ffff::7]:4001")}
_FAMILIES = {"IPv4": (4,), "IPv6": (16,)}

_ANOTHER = ("link add wg0 type veth peer name far0", "link set far0 up", "link set wg0 up")
# How the exit's interface can go away: commands in the gateway, and what is said then.
_ENDS = {
    "down": (("link set wg0 down",), "the interface wg0 is down"),
    "deleted": (("link delete wg0",), "there is no interface wg0"),
    "renamed": (("link set wg0 down", "link set wg0 name old0", "link set old0 up"), "wg0"),
    "renamed while up": (("link set wg0 name old0",), "there is no interface wg0"),
    "replaced by another": (
        (
            "link set wg0 name old0",
            *_ANOTHER,
            "address add 10.9.9.1/24 dev wg0",
            "address add 2001:db8:99::1/64 dev wg0",
        ),
        "a socket of wg0 is bound to old0",
    ),
    "made anew": (
        (
            "link delete wg0",
            *_ANOTHER,
            "address add 10.9.0.1/24 dev wg0",
            "address add 2001:db8:9::1/64 dev wg0",
        ),
        "what a socket of wg0 was bound to is gone",
    ),
    "without an address": (("address flush dev wg0",), "the interface wg0 has no"),
}
_CASES = {
    f"{end}, {family}": (octets, lines, says)
    for end, (lines, says) in _ENDS.items()
    for family, (octets,) in _FAMILIES.items()
}


class InterfaceCase(LabCase, TestCase):
    """A lab whose gateway has a second way to the internet."""

    timeout = 60

    def setUp(self) -> None:
        """Lay the link, start the exit, capture both ways."""
        super().setUp()
        near, far = self.lab.name(Space.GATEWAY), self.lab.name(Space.INTERNET)
        link = (
            f"link add name wg0 index 41 netns {near} type veth peer name eu index 40 netns {far}"
        )
        namespaces.command(["ip", "-batch", "-"], text=link)
        for space, name, own in ((Space.INTERNET, "eu", _FAR), (Space.GATEWAY, "wg0", _OWN)):
            self.ip(
                space,
                f"address add {own[4]}/24 dev {name}",
                f"address add {own[16]}/64 dev {name}",
                f"link set {name} up",
            )
        self.in_gateway(lambda: namespaces.wait_running("wg0"))
        # Behind the default route, which is the uplink's: only who is bound to wg0 finds it.
        self.ip(
            Space.GATEWAY,
            *(f"route add default via {a} dev wg0 metric 5000" for a in _FAR.values()),
        )
        self.uplink = self.wire(Space.GATEWAY, "uplink")
        self.exit = self.start()

    def ip(self, space: Space, *lines: str) -> None:
        """Run lines of `ip` in a namespace."""
        argv = ["ip", "-netns", self.lab.name(space), "-batch", "-"]
        namespaces.command(argv, text="\n".join(lines))

    def in_gateway(self, function: Callable[[], Result]) -> Result:
        """Call what opens sockets in the gateway's namespace; the reactor waits meanwhile."""
        return self.lab.call(Space.GATEWAY, function)

    def start(self, interface: str = "wg0", connect_s: float = 10.0) -> InterfaceExit:
        """Start an exit in the gateway."""
        exit_ = InterfaceExit(reactor, "eu", interface, connect_s=connect_s)
        self.in_gateway(exit_.start)
        self.addCleanup(exit_.stop)
        return exit_

    def flow(
        self,
        to: Endpoint,
        on_datagram: Callable[[bytes], None] = ignore,
        on_closed: Callable[[str], None] = ignore,
    ) -> BoundFlow:
        """Open a UDP flow."""
        return self.in_gateway(lambda: self.exit.open_udp(to, on_datagram, on_closed))

    def connecting(self, to: Endpoint, exit_: InterfaceExit | None = None) -> Deferred[IProtocol]:
        """Begin a TCP connection."""
        endpoint = (exit_ or self.exit).stream_endpoint(to)
        return self.in_gateway(lambda: endpoint.connect(caller()))

    def assertNothingBy(self, wire: Wire, to: Endpoint) -> None:
        """What passed an interface, until now, has nothing of a destination."""
        wire.stop()
        self.assertEqual(wire.missed, 0)
        self.assertEqual(wire.between(to.host), [])


@rows(
    udp=_FAMILIES,
    tcp=_FAMILIES,
    unbound=_FAMILIES,
    no_address=_FAMILIES,
)
class CarryingTests(InterfaceCase):
    """Flows leave by the named interface, though the default route points elsewhere."""

    def setUp(self) -> None:
        """Capture the exit's link too."""
        super().setUp()
        self.far = self.wire(Space.INTERNET, "eu")

    def check_unbound(self, octets: int) -> None:
        """What is not bound leaves by the uplink; else the other tests would prove nothing."""
        family = socket.AF_INET if octets == 4 else socket.AF_INET6
        self.internet()
        with self.lab.socket(Space.GATEWAY, family, socket.SOCK_DGRAM) as plain:
            plain.settimeout(5.0)
            plain.sendto(b"hello", (_TO[octets].host, _TO[octets].port))
            self.assertEqual(plain.recv(100), b"hello")
        self.uplink.stop()
        self.assertEqual(len(self.uplink.between(_TO[octets].host)), 2)
        self.assertNothingBy(self.far, _TO[octets])

    async def check_udp(self, octets: int) -> None:
        """Datagrams leave by the exit's interface with its own address, and answers come back."""
        internet, got, to = self.internet(), list[bytes](), _TO[octets]
        flow = self.flow(to, got.append)
        self.assertTrue(flow.send(b"hello"))
        await until(lambda: got, "the answer")
        (arrival,) = internet.arrived()
        self.assertEqual((arrival.source.host, arrival.destination), (_OWN[octets], to))
        self.far.stop()
        self.assertEqual(len(self.far.between(to.host)), 2)
        self.assertNothingBy(self.uplink, to)

    async def check_tcp(self, octets: int) -> None:
        """A connection leaves by the exit's interface with its own address, both ways."""
        internet, to = self.internet(), _TO[octets]
        client = cast(Caller, await self.connecting(to))
        assert client.transport is not None
        client.transport.write(b"hello")
        await until(lambda: client.heard == b"hello", "the answer")
        client.transport.loseConnection()
        await until(lambda: client.lost, "the end")
        self.assertEqual({one.source.host for one in internet.arrived()}, {_OWN[octets]})
        self.assertNothingBy(self.uplink, to)

    async def test_a_stranger_is_not_heard(self) -> None:
        """What somebody else on the exit's side sends to a flow's port does not pass."""
        internet, got, to = self.internet(), list[bytes](), _TO[4]
        self.flow(to, got.append).send(b"hello")
        await until(lambda: got, "the answer")
        (arrival,) = internet.arrived()
        with self.lab.socket(Space.INTERNET, socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind((_FAR[4], 4001))
            stranger.sendto(b"boo", (arrival.source.host, arrival.source.port))
            await until(lambda: self.exit.counters.get("datagrams_of_strangers"), "the stranger")
        self.assertEqual(got, [b"hello"])

    def check_no_address(self, octets: int) -> None:
        """An interface without an address of the family carries none, not with another's."""
        self.ip(Space.GATEWAY, f"address flush dev wg0 {'scope global' if octets == 16 else ''}")
        if octets == 16:
            self.ip(Space.GATEWAY, f"address add {_OWN[4]}/24 dev wg0")
        error = self.assertRaises(CarryError, self.flow, _TO[octets])
        self.assertIn(f"wg0 has no IPv{4 if octets == 4 else 6} address", str(error))
        self.assertRaises(CarryError, self.exit.stream_endpoint, _TO[octets])

    async def test_a_route_that_is_missing(self) -> None:
        """Where no route leads out of the interface, the flow ends with that reason: the default
        route is none of its."""
        self.ip(Space.GATEWAY, f"route delete default via {_FAR[16]} dev wg0 metric 5000")
        reasons: list[str] = []
        flow = self.flow(_TO[16], on_closed=reasons.append)
        self.assertTrue(flow.send(b"hello"))
        await until(lambda: reasons, "the end")
        self.assertEqual((reasons, flow.unsent), (["wg0: Network is unreachable"], 1))
        with self.assertRaises(NoRouteError):
            await self.connecting(_TO[16])
        self.assertNothingBy(self.uplink, _TO[16])

    async def test_an_answer_that_never_comes(self) -> None:
        """A destination that does not answer is given up after the connect timeout."""
        exit_ = self.start(connect_s=0.1)
        with self.assertRaises(TimeoutError):
            await self.connecting(Endpoint.of("10.9.0.77", 4001), exit_)
        await exit_.stop()
        self.assertNothingBy(self.uplink, Endpoint.of("10.9.0.77", 4001))

    async def test_an_interface_that_comes_and_goes(self) -> None:
        """An exit whose interface is not there yet is down, and up as soon as it is there."""
        exit_ = self.start("wg1")
        self.assertEqual((exit_.up, exit_.sentence), (False, "there is no interface wg1"))
        self.assertRaises(CarryError, exit_.open_udp, _TO[4], ignore, ignore)
        self.assertRaises(CarryError, exit_.stream_endpoint, _TO[4])
        self.ip(Space.GATEWAY, "link add wg1 type veth peer name far1", "link set far1 up")
        await until(lambda: exit_.sentence == "the interface wg1 is down", "its coming")
        self.ip(Space.GATEWAY, "link set wg1 up")
        await until(lambda: exit_.sentence == "up", "its coming up")
        self.assertTrue(exit_.up)
        self.ip(Space.GATEWAY, "link delete wg1")
        self.assertFalse(exit_.up)
        await until(lambda: exit_.sentence == "there is no interface wg1", "its going")

    def test_another_name_of_an_interface(self) -> None:
        """An alternative name is not the interface's own, and carries nothing."""
        self.ip(Space.GATEWAY, "link property add dev wg0 altname office")
        exit_ = self.start("office")
        for to in _TO.values():
            self.assertRaises(CarryError, exit_.stream_endpoint, to)
        opening = self.assertRaises(OSError, self.in_gateway, lambda: Link("office").open(2, 2))
        self.assertEqual(opening.strerror, "a socket of office is bound to wg0")


@rows(udp=_CASES, tcp=_CASES, tcp_connecting=_CASES)
class EndingTests(InterfaceCase):
    """When the interface goes away nothing leaves by the default route, and flows end."""

    async def check_udp(self, octets: int, lines: tuple[str, ...], says: str) -> None:
        """A UDP flow whose interface goes away sends nothing by any other, and ends."""
        internet = self.internet()
        got, reasons, to = list[bytes](), list[str](), _TO[octets]
        flow = self.flow(to, got.append, reasons.append)
        flow.send(b"before")
        await until(lambda: got, "the answer")
        self.ip(Space.GATEWAY, *lines)
        for _ in range(3):
            flow.send(b"after")  # before the reactor could hear of it
        await until(lambda: reasons, "the end")
        self.assertFalse(flow.send(b"late"))
        await pause(0.1)
        self.assertEqual(len(reasons), 1)
        self.assertNothingBy(self.uplink, to)
        self.assertEqual([one.payload for one in internet.arrived()], [b"before"])

    async def check_tcp(self, octets: int, lines: tuple[str, ...], says: str) -> None:
        """A connection whose interface goes away sends nothing by any other, and is cut."""
        self.internet()
        to = _TO[octets]
        client = cast(Caller, await self.connecting(to))
        assert client.transport is not None
        client.transport.write(b"before")
        await until(lambda: client.heard, "the answer")
        self.ip(Space.GATEWAY, *lines)
        client.transport.write(b"after")
        await until(lambda: client.lost, "the end")
        self.assertIsInstance(client.lost, ConnectionLost)
        self.assertIn(says, str(client.lost))
        await pause(0.1)
        self.assertNothingBy(self.uplink, to)

    async def check_tcp_connecting(self, octets: int, lines: tuple[str, ...], says: str) -> None:
        """An attempt whose interface goes away fails by that, and is made by no other."""
        to = Endpoint.of(_FAR[octets][:-1] + "77", 4001)  # nobody: the attempt goes on
        connecting = self.connecting(to)
        await pause(0.01)
        self.ip(Space.GATEWAY, *lines)
        with self.assertRaises(CarryError) as caught:
            await connecting
        self.assertIn(says, str(caught.exception))
        await pause(0.1)
        self.assertNothingBy(self.uplink, to)

    async def test_a_link_without_its_other_end(self) -> None:
        """An interface that is up and has no carrier carries nothing, and its flows end."""
        reasons: list[str] = []
        self.flow(_TO[4], on_closed=reasons.append)
        self.ip(Space.INTERNET, "link set eu down")
        await until(lambda: reasons, "the end")
        self.assertEqual(reasons, ["the interface wg0 has no carrier"])
        self.assertFalse(self.exit.up)
