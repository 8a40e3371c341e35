"""gateway.service: the parts joined, on loopback, with the real reactor."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet import reactor as real_reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import DatagramProtocol, Protocol, ServerFactory
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from gateway import config, starter
from gateway.document import parse
from gateway.errors import CarryError, DataError, InputError
from gateway.flow.apart import Apart
from gateway.model import Endpoint, Form, IdentifierKind
from gateway.outward import Outward, Routes, Scrubbing
from gateway.scrub.days import Days
from gateway.service import ExitServer, Gateway
from gateway.tunnel.interface import InterfaceExit
from gateway.tunnel.nearest import Nearest
from gateway.tunnel.proxies import socks5
from gateway.tunnel.proxy import ProxyExit
from tests.evidence.proving import decided
from tests.support.bundled import world
from tests.support.epochs import PING

reactor: Any = real_reactor

_OVERRIDES = "  overrides: [{network: 203.0.113.0/24, location: US, reason: a test}]\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: www.example.us\r\n\r\n"


class Echo(Protocol):
    """Sends back what comes."""

    transport: ITCPTransport
    is_lost = False

    def connectionLost(self, reason: object = None) -> None:
        """Protocol API."""
        self.is_lost = True

    def dataReceived(self, data: bytes) -> None:
        """Protocol API."""
        self.transport.write(data)


class EchoFactory(ServerFactory[Any]):
    """Echoes on every connection, and keeps them to close."""

    noisy = False

    def __init__(self) -> None:
        self.made: list[Echo] = []

    def buildProtocol(self, addr: object) -> Echo:
        """ServerFactory API."""
        self.made.append(Echo())
        return self.made[-1]


class Client(Protocol):
    """Remembers what it gets."""

    transport: ITCPTransport

    def __init__(self) -> None:
        self.got = b""
        self.is_lost = False

    def dataReceived(self, data: bytes) -> None:
        """Protocol API."""
        self.got += data

    def connectionLost(self, reason: object = None) -> None:
        """Protocol API."""
        self.is_lost = True


class UdpEcho(DatagramProtocol):
    """Remembers what comes, and sends it back."""

    noisy = False

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """DatagramProtocol API."""
        self.got.append(datagram)
        cast(Any, self.transport).write(datagram, addr)


class OneDoor:
    """Dials one loopback port for 203.0.113.0/24, and loopback itself; nothing else."""

    def __init__(self, port: int) -> None:
        self.port = port

    def address(self, destination: Endpoint) -> Endpoint:
        """Reach API."""
        if destination.host.startswith("127."):
            return destination
        if destination.host.startswith("203.0.113."):
            return Endpoint.of("127.0.0.1", self.port)
        raise CarryError(str(destination), "not in this test")


class ServiceTests(TestCase):
    """A gateway with its exit carries out what its policy says, and what the next one says."""

    timeout = 30

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.echo = EchoFactory()
        self.echo_port = reactor.listenTCP(0, self.echo, interface="127.0.0.1")
        self.addCleanup(self.echo_port.stopListening)
        self.addCleanup(self.close_echo)
        reach = OneDoor(self.echo_port.getHost().port)
        self.world = dataclasses.replace(world(), reach=reach)
        any_port = "127.0.0.1:0"
        plan = starter.Plan(
            exit_host="127.0.0.1",
            exit_port=0,
            exit_listen="127.0.0.1",
            socks5=any_port,
            http=any_port,
            overrides=_OVERRIDES,
        )
        starter.write(self.folder, plan, self.world.now())
        self.exit = ExitServer(reactor, config.load(self.folder / "exit.yaml"), self.world)
        self.exit.start()
        self.addCleanup(self.exit.stop)
        path = self.folder / "gateway.yaml"
        path.write_text(path.read_text().replace("127.0.0.1:0/", f"{self.exit.bound}/"))
        self.gateway = Gateway(reactor, config.load(path), self.world)
        self.gateway.start()
        self.addCleanup(self.gateway.stop)

    @inlineCallbacks
    def close_echo(self) -> Generator[Deferred[Any], Any, None]:
        """Cut what is left, and wait until the reactor has seen it."""
        for protocol in self.echo.made:
            if not protocol.is_lost:
                protocol.transport.abortConnection()
        yield self.until(lambda: all(protocol.is_lost for protocol in self.echo.made))

    @inlineCallbacks
    def until(self, holds: Callable[[], bool]) -> Generator[Deferred[Any], Any, None]:
        """Wait for something; trial's timeout bounds it."""
        while not holds():
            yield deferLater(reactor, 0.01)

    @inlineCallbacks
    def connect(self, first: bytes) -> Generator[Deferred[Any], Any, Client]:
        """Open a stream to 203.0.113.7:80 by HTTP CONNECT and say the first octets."""
        at = self.gateway.bound[1]
        client = Client()
        yield connectProtocol(TCP4ClientEndpoint(reactor, at.host, at.port), client)
        self.addCleanup(client.transport.abortConnection)
        client.transport.write(b"CONNECT 203.0.113.7:80 HTTP/1.1\r\n\r\n")
        yield self.until(lambda: b"\r\n\r\n" in client.got)
        self.assertIn(b" 200 ", client.got)
        client.got = b""
        client.transport.write(first)
        return client

    def records(self) -> list[dict[str, Any]]:
        """Read the gateway's decision log."""
        text = (self.folder / "evidence" / "decisions.jsonl").read_text()
        return decided(text)

    @inlineCallbacks
    def up(self) -> Generator[Deferred[Any], Any, None]:
        """Wait for the tunnel."""
        (tunnel,) = self.gateway.outward.tunnels.values()
        yield self.until(lambda: tunnel.up)

    @inlineCallbacks
    def test_stricter_policy(self) -> Generator[Deferred[Any], Any, None]:
        """A stream that is open, direct or wrapped, is cut when a new policy forbids it."""
        yield self.up()
        direct = yield self.connect(REQUEST)
        wrapped = yield self.connect(PING)
        yield self.until(lambda: direct.got == REQUEST and wrapped.got == PING)
        self.assertEqual(
            [one["verdict"]["action"] for one in self.records() if "settled" not in one["verdict"]],
            ["allow", "wrap"],
        )
        (self.folder / "policy.cases.yaml").unlink()
        (self.folder / "policy.yaml").write_text("policy: closed\n")
        self.assertIs(self.successResultOf(self.gateway.core.reload()), True)
        yield self.until(lambda: direct.is_lost and wrapped.is_lost)

    @inlineCallbacks
    def test_same_policy(self) -> Generator[Deferred[Any], Any, None]:
        """A reload that changes nothing for a stream leaves it alone."""
        yield self.up()
        client = yield self.connect(PING)
        yield self.until(lambda: client.got == PING)
        self.assertIs(self.successResultOf(self.gateway.core.reload()), True)
        client.transport.write(b"more")
        yield self.until(lambda: client.got == PING + b"more")
        self.assertFalse(client.is_lost)

    @inlineCallbacks
    def test_stricter_exit(self) -> Generator[Deferred[Any], Any, None]:
        """The exit cuts a stream that its own new policy forbids."""
        yield self.up()
        client = yield self.connect(PING)
        yield self.until(lambda: client.got == PING)
        (self.folder / "exit-policy.yaml").write_text("policy: closed\n")
        self.assertIs(self.successResultOf(self.exit.core.reload()), True)
        yield self.until(lambda: client.is_lost)

    @inlineCallbacks
    def test_scrubbed(self) -> Generator[Deferred[Any], Any, None]:
        """Through the tunnel, edge and exit see a pseudonym and the client its own id again; the
        key is only its owner's, and the next start has the same."""
        yield self.up()
        edge = UdpEcho()
        port = reactor.listenUDP(self.echo_port.getHost().port, edge, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        routes, got = self.gateway.outward.wiring.routes, list[bytes]()
        client = Endpoint.parse("10.1.0.2:5000")
        exit_ = routes.scrubbed("nearest", client)
        flow = exit_.open_udp(Endpoint.parse("203.0.113.7:80"), got.append, lambda _reason: None)
        flow.send(PING)
        yield self.until(lambda: bool(got))
        self.assertEqual(got, [PING])
        self.assertNotIn(PING[10:14], edge.got[0])
        self.assertEqual(self.gateway.outward.scrub_counters, {"scrubbed": 1, "scrub_answers": 1})
        key = self.folder / "state" / "scrub.key"
        self.assertEqual((key.stat().st_mode & 0o777, len(key.read_bytes())), (0o600, 32))
        days = Days(key.read_bytes(), lambda: self.world.now().date())
        names = days.enter(client.address).pseudonyms
        expected = names.instead(PING[10:14], IdentifierKind.USER_ID, Form.U32)
        self.assertEqual(edge.got[0][10:14], expected)

    @inlineCallbacks
    def test_exit_gone(self) -> Generator[Deferred[Any], Any, None]:
        """Without its exit, what must be wrapped goes nowhere, and the log says so."""
        yield self.up()
        yield self.exit.stop()
        (tunnel,) = self.gateway.outward.tunnels.values()
        yield self.until(lambda: not tunnel.up)
        client = yield self.connect(PING)
        yield self.until(lambda: client.is_lost)
        self.assertEqual((client.got, self.echo.made), (b"", []))
        self.assertIn("not_carried", self.records()[-1])


def _no_key() -> Days:
    raise DataError("scrub.key", "Permission denied", "a key file of 32 octets")


class RoutesTests(TestCase):
    """Ways out are found by name, or not at all."""

    def test_unknown(self) -> None:
        """An unknown exit or relay cannot be carried to."""
        nearest = Nearest(reactor, {})
        edge = {"edge": Endpoint.parse("192.0.2.1:1")}
        routes = Routes(OneDoor(1), nearest, edge, {}, Scrubbing(_no_key, Counter()))
        self.assertEqual(routes.relay("edge"), Endpoint.parse("192.0.2.1:1"))
        self.assertRaises(CarryError, routes.relay, "nonesuch")
        self.assertRaises(CarryError, routes.carrier, "nonesuch")
        self.assertRaises(CarryError, routes.carrier, "nearest")
        self.assertRaises(CarryError, routes.scrubbed, "nearest", Endpoint.parse("10.1.0.2:1"))

    def test_no_key(self) -> None:
        """Without a key for pseudonyms there is no way that needs them."""
        exits = {"us": cast(InterfaceExit, object())}
        scrubbing = Scrubbing(_no_key, Counter())
        routes = Routes(OneDoor(1), Nearest(reactor, {}), {}, exits, scrubbing)
        client = Endpoint.parse("10.1.0.2:1")
        error = self.assertRaises(CarryError, routes.scrubbed, "us", client)
        self.assertIn("Permission denied", str(error))

    def test_plaintext(self) -> None:
        """To an exit that does not encrypt a flow is rerouted, and not wrapped."""
        door = OneDoor(1)
        proxy = ProxyExit(reactor, socks5("p", "192.0.2.1", 1, None), door, random=Random(1))
        scrubbing = Scrubbing(_no_key, Counter())
        nearest = Nearest(reactor, {})
        routes = Routes(door, nearest, {}, {"p": proxy}, scrubbing, plaintext={"p"})
        self.assertIs(routes.rerouted("p"), proxy)
        error = self.assertRaises(CarryError, routes.carrier, "p")
        self.assertIn("nothing is wrapped to it", str(error))


class RoundTripTests(TestCase):
    """What answers bound is told to the flow table, by who measured it."""

    def test_bounds(self) -> None:
        """A direct answer bounds the way from here; one through an exit also the way from there,
        without what it takes to the exit at least, by round trips or by both positions."""
        told: list[tuple[str, bytes, float]] = []

        class Table:
            def answered(self, name: str, address: bytes, rtt_s: float) -> None:
                told.append((name, address, round(rtt_s, 6)))

            def between_s(self, exit_: str) -> float:
                return 0.04

        core = SimpleNamespace(world=world(), table=Table(), apart=Apart())
        outward = Outward(
            reactor, config.from_document(parse("policy: p", "g.yaml")), cast(Any, core)
        )
        to = Endpoint.parse("192.0.2.1:4001")
        outward.wiring.on_round_trip(to, 0.1)
        outward.bound("eu", to, 0.1, 0.03)
        outward.bound("eu", to, 0.1, 0.06)
        here = ("gateway", to.address, 0.1)
        expected = [here, here, ("eu", to.address, 0.06), here, ("eu", to.address, 0.04)]
        self.assertEqual(told, expected)


_BEFORE = """\
policy: policy.yaml
listeners:
  - {{kind: http-connect, address: "127.0.0.1:0"}}
  - {{kind: forward, transport: udp, address: "127.0.0.1:0", to: "203.0.113.7:4001"}}
exits: [{{name: p, kind: {kind}, username: alice, password_file: password}}]
geo: {{{overrides}}}
"""


class ProxyTests(TestCase):
    """A gateway whose exit is a proxy: another gateway's listener."""

    timeout = 30

    def setUp(self) -> None:
        self.echo = EchoFactory()
        port = reactor.listenTCP(0, self.echo, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.world = dataclasses.replace(world(), reach=OneDoor(port.getHost().port))

    def start(self, config_text: str, policy: str) -> Gateway:
        """Start a gateway."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "gateway.yaml").write_text(config_text)
        (folder / "policy.yaml").write_text(policy)
        (folder / "password").write_text("secret\n")
        started = Gateway(reactor, config.load(folder / "gateway.yaml"), self.world)
        started.start()
        self.addCleanup(started.stop)
        self.log = folder / "evidence" / "decisions.jsonl"
        return started

    @inlineCallbacks
    def test_socks5(self) -> Generator[Deferred[Any], Any, None]:
        """TCP goes through the proxy by address; UDP does not, and the log says why."""
        geo = _OVERRIDES.strip()
        listener = '{kind: socks5, address: "127.0.0.1:0", users: {alice: secret}}'
        behind = self.start(
            f"policy: policy.yaml\nlisteners: [{listener}]\ngeo: {{{geo}}}\n",
            "policy: far\ndefault: allow\n",
        )
        kind = f'socks5, address: "{behind.bound[0]}"'
        before = self.start(
            _BEFORE.format(kind=kind, overrides=geo), "policy: near\ndefault: {reroute: p}\n"
        )
        client = Client()
        at, forward = before.bound
        yield connectProtocol(TCP4ClientEndpoint(reactor, at.host, at.port), client)
        self.addCleanup(client.transport.abortConnection)
        client.transport.write(b"CONNECT 203.0.113.7:80 HTTP/1.1\r\n\r\n")
        yield self.until(lambda: b"\r\n\r\n" in client.got)
        self.assertIn(b" 200 ", client.got)
        client.transport.write(REQUEST)
        yield self.until(lambda: client.got.endswith(REQUEST))
        sender = DatagramProtocol()
        port = reactor.listenUDP(0, sender, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        port.write(PING, (forward.host, forward.port))
        yield self.until(lambda: any("not_carried" in one for one in self.records()))
        (record,) = [one for one in self.records() if "not_carried" in one]
        self.assertIn("SOCKS 5 carries TCP only, no UDP", record["not_carried"])

    def test_password(self) -> None:
        """A password that cannot be read is a fault of the configuration, at its exit."""
        kind = 'socks5, address: "127.0.0.1:1"'
        text = _BEFORE.format(kind=kind, overrides="").replace(": password", ": nonesuch")
        error = self.assertRaises(InputError, self.start, text, "policy: p\n")
        self.assertIn("nonesuch: No such file", str(error))
        self.assertIn("gateway.yaml:5:", str(error))

    def records(self) -> list[dict[str, Any]]:
        """Read the last gateway's decision log."""
        return decided(self.log.read_text()) if self.log.exists() else []

    @inlineCallbacks
    def until(self, holds: Callable[[], bool]) -> Generator[Deferred[Any], Any, None]:
        """Wait for something; trial's timeout bounds it."""
        while not holds():
            yield deferLater(reactor, 0.01)


class RefusalTests(TestCase):
    """What cannot work is refused before anything is opened."""

    def test_no_listeners(self) -> None:
        """A gateway without listeners is refused."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "g.yaml").write_text("policy: p.yaml\n")
        error = self.assertRaises(
            InputError, Gateway, reactor, config.load(folder / "g.yaml"), world()
        )
        self.assertIn('needs "listeners"', str(error))

    def test_two_on_one_port(self) -> None:
        """Two listeners on one port are refused."""
        folder = Path(self.mktemp())
        folder.mkdir()
        listener = '{kind: http-connect, address: "127.0.0.1:3128"}'
        text = f"policy: p.yaml\nlisteners: [{listener}, {listener}]\n"
        (folder / "g.yaml").write_text(text)
        error = self.assertRaises(
            InputError, Gateway, reactor, config.load(folder / "g.yaml"), world()
        )
        self.assertIn("another listener's already", str(error))
