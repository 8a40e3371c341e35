"""A small world on loopback for tunnel tests.  Owns: certificates, gates, echo servers, waiting.
Knows: trial's reactor.  Never: anything beyond loopback."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Protocol as Typed
from typing import cast

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from gateway.model import Action, Endpoint, FlowKey, Verdict
from gateway.tunnel.authority import Authority, Identity, Role
from gateway.tunnel.client import Patience, Tunnel
from gateway.tunnel.credentials import Credentials, Transfer
from gateway.tunnel.exit import Exit
from gateway.tunnel.masque import WELL_KNOWN, ExitAddress
from gateway.tunnel.means import ExitLimits
from gateway.tunnel.ports import Direct
from gateway.tunnel.reactor import Address, DatagramTransport, Port, Reactor

reactor = cast(Reactor, _reactor)
LOOPBACK = Endpoint.of("127.0.0.1", 0)
QUICK = Patience(connect_s=5.0, first_retry_s=0.05, last_retry_s=0.1)

LIMITS, TRANSFER, DIRECT = ExitLimits(), Transfer(), Direct()

_DAY = timedelta(days=1)


@cache
def pki() -> Path:
    """A directory with the certificates of one operator, and some that are wrong."""
    directory = Path(tempfile.mkdtemp(prefix="pki-", dir=Path.cwd()))  # trial's own directory
    now = datetime.now(UTC)
    ours, rogue = (Authority.create(n, now=now, lifetime=_DAY) for n in ("ours", "rogue"))

    def issue(stem: str, by: Authority, role: Role, name: str, at: datetime = now) -> None:
        by.issue(role, [name], now=at, lifetime=_DAY).write(directory, stem)

    ours.identity.write(directory, "ca")
    rogue.identity.write(directory, "rogue-ca")
    issue("exit", ours, Role.EXIT, "127.0.0.1")
    issue("exit-v6", ours, Role.EXIT, "::1")
    issue("exit-named", ours, Role.EXIT, "exit.test")
    issue("exit-other-name", ours, Role.EXIT, "198.51.100.7")
    issue("exit-rogue", rogue, Role.EXIT, "127.0.0.1")
    issue("exit-expired", ours, Role.EXIT, "127.0.0.1", now - 3 * _DAY)
    issue("gateway", ours, Role.GATEWAY, "gateway-1.test")
    issue("gateway-other-name", ours, Role.GATEWAY, "gateway-2.test")
    issue("gateway-rogue", rogue, Role.GATEWAY, "gateway-1.test")
    issue("gateway-expired", ours, Role.GATEWAY, "gateway-1.test", now - 3 * _DAY)
    # Certificates that a gateway signed, which is no authority; with its own, as a chain.
    leaf = Authority(Identity(*((directory / f"gateway.{k}").read_bytes() for k in ("pem", "key"))))
    for stem, role, name in (
        ("gateway-by-leaf", Role.GATEWAY, "gateway-1.test"),
        ("exit-by-leaf", Role.EXIT, "127.0.0.1"),
    ):
        issued = leaf.issue(role, [name], now=now, lifetime=_DAY)
        chained = replace(issued, certificate=issued.certificate + leaf.identity.certificate)
        chained.write(directory, stem)
    return directory


def credentials(stem: str, ca: str = "ca") -> Credentials:
    """Name three files of pki()."""
    at = pki()
    return Credentials(at / f"{ca}.pem", at / f"{stem}.pem", at / f"{stem}.key")


class _Tcp(Typed):
    def listenTCP(self, port: int, factory: Factory[Protocol], interface: str) -> Port: ...


def send(protocol: DatagramProtocol, datagram: bytes, to: Address) -> None:
    """Send a datagram from a protocol's port."""
    cast(DatagramTransport, protocol.transport).write(datagram, to)


def allow(key: FlowKey, payload: bytes | None) -> Verdict:
    """Allow everything."""
    return Verdict(Action.ALLOW, "all", "a test")


def ignore(_: object) -> None:
    """Take a datagram or a reason that the test does not care for."""


class ScriptedGate:
    """A gate that answers by a function, and remembers what it was asked."""

    def __init__(self, answer: Callable[[FlowKey, bytes | None], Verdict] = allow) -> None:
        self.asked: list[tuple[FlowKey, bytes | None]] = []
        self.answer = answer

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        self.asked.append((key, payload))
        return self.answer(key, payload)


class MappedReach:
    """Dials a stand-in for each destination that it knows, and the others as they are."""

    def __init__(self, mapping: dict[Endpoint, Endpoint]) -> None:
        self._mapping = mapping

    def address(self, destination: Endpoint) -> Endpoint:
        return self._mapping.get(destination, destination)


class UdpEcho(DatagramProtocol):
    """Answers each datagram with itself, and remembers them."""

    def __init__(self, prefix: bytes = b"") -> None:
        self.received: list[tuple[bytes, Address]] = []
        self._prefix = prefix

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        self.received.append((datagram, addr))
        send(self, self._prefix + datagram, addr)


class Binder(DatagramProtocol):
    """Answers each datagram as a STUN server does a Binding request."""

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """DatagramProtocol API."""
        send(self, b"\1\1" + datagram[2:], addr)


class Forwarder(DatagramProtocol):
    """Stands between a client and an exit, and records every packet; one client at a time."""

    def __init__(self, to: Endpoint) -> None:
        self.packets: list[bytes] = []
        self._exit = (to.host, to.port)
        self._client: Address | None = None

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        self.packets.append(datagram)
        if addr != self._exit:
            self._client = addr
        to = self._client if addr == self._exit else self._exit
        assert to is not None, "the exit does not speak first"
        send(self, datagram, to)


class World(TestCase):
    """A test case that cleans up what it opened, the last first."""

    timeout = 30

    def exit(
        self,
        gate: ScriptedGate | None = None,
        *,
        stem: str = "exit",
        at: Endpoint = LOOPBACK,
        gateways: tuple[str, ...] = ("gateway-1.test",),
        limits: ExitLimits = LIMITS,
        transfer: Transfer = TRANSFER,
        reach: Direct | MappedReach = DIRECT,
    ) -> tuple[Exit, Endpoint]:
        """Start an exit; give it and where it listens."""
        exit_ = Exit(
            reactor,
            at,
            credentials(stem),
            gate or ScriptedGate(),
            reach,
            gateways=gateways,
            limits=limits,
            transfer=transfer,
        )
        endpoint = exit_.listen()
        self.addCleanup(self.check_balance, exit_)
        self.addCleanup(exit_.stop)
        return exit_, endpoint

    def check_balance(self, exit_: Exit) -> None:
        """Assert that each datagram that came out of a tunnel went somewhere, once."""
        ways = dict(exit_.packets)
        self.assertEqual(ways.pop("packets: in", 0), sum(ways.values()), exit_.counters)

    def tunnel(
        self,
        at: Endpoint,
        *,
        stem: str = "gateway",
        ca: str = "ca",
        transfer: Transfer = TRANSFER,
        on_round_trip: Callable[[Endpoint, float, float], None] = lambda to, total_s, near_s: None,
        on_bound: Callable[[Endpoint, float, float], None] = lambda to, total_s, least_s: None,
    ) -> tuple[Tunnel, list[tuple[bool, str]]]:
        """Start a tunnel to an exit; give it and what it says."""
        said: list[tuple[bool, str]] = []
        tunnel = Tunnel(
            reactor,
            ExitAddress("us-east", f"https://{at}{WELL_KNOWN}"),
            credentials(stem, ca),
            Direct(),
            random=Random(1),
            on_change=lambda is_up, sentence: said.append((is_up, sentence)),
            on_round_trip=on_round_trip,
            on_bound=on_bound,
            patience=QUICK,
            transfer=transfer,
        )
        tunnel.start()
        self.addCleanup(tunnel.stop)
        return tunnel, said

    def udp(self, protocol: DatagramProtocol, host: str = "127.0.0.1") -> Endpoint:
        """Open a UDP port on loopback."""
        port = reactor.listenUDP(0, protocol, host)
        self.addCleanup(port.stopListening)
        bound = cast(IPv4Address, port.getHost())
        return Endpoint.of(bound.host, bound.port)

    def tcp(self, protocol: Callable[[], Protocol], host: str = "127.0.0.1") -> Endpoint:
        """Open a TCP server on loopback."""
        factory = Factory.forProtocol(protocol)
        port = cast(_Tcp, _reactor).listenTCP(0, factory, interface=host)
        self.addCleanup(port.stopListening)
        return Endpoint.of(host, cast(IPv4Address, port.getHost()).port)


async def until(condition: Callable[[], object], what: str, within_s: float = 15.0) -> None:
    """Wait until a condition holds, looking every few milliseconds."""
    end = reactor.seconds() + within_s
    while not condition():
        assert reactor.seconds() < end, f"never came: {what}"
        await pause(0.005)


def pause(seconds: float) -> Deferred[None]:
    """Let the reactor work for a while."""
    return deferLater(cast(IReactorTime, _reactor), seconds)
