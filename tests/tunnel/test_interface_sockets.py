"""An exit that is an interface: real sockets that are bound to loopback."""

from __future__ import annotations

import errno
import os
import socket
from typing import Protocol as Typed
from typing import cast

from twisted.internet import reactor as _reactor
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionLost,
    ConnectionRefusedError,
    NoProtocol,
)
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import AddressError
from gateway.model import Endpoint
from gateway.tunnel.bound import Reactor
from gateway.tunnel.interface import InterfaceExit
from gateway.tunnel.link import Bell, Link
from gateway.tunnel.reactor import Port
from tests.support.rows import rows
from tests.tunnel.test_interface import FakeReaders
from tests.tunnel.world import UdpEcho, World, ignore, pause, send, until


class _RealReactor(Reactor, Typed):
    """Trial's reactor."""

    def listenUDP(self, port: int, protocol: DatagramProtocol, interface: str) -> Port: ...


reactor = cast(_RealReactor, _reactor)


class _Handled(Typed):
    """Twisted's TCP transport: how its socket is reached."""

    def getHandle(self) -> socket.socket: ...


@rows(
    impossible={
        "nothing, which would unbind a socket": ("",),
        "16 octets, of which the kernel would take 15": ("a" * 16,),
        "a slash": ("a/b",),
        "an address's label": ("eth0:1",),
        "white space": ("wg 0",),
        "a NUL, which would end it early": ("lo\0x",),
        "two dots": ("..",),
        "not ASCII": ("wgü",),
    }
)
class LinkTests(SynchronousTestCase):
    """One interface of this host: loopback, which every host has."""

    def link(self, name: str = "lo") -> Link:
        """Watch an interface."""
        link = Link(name)
        link.watch(FakeReaders(), lambda: None)
        self.addCleanup(link.unwatch)
        return link

    def check_impossible(self, name: str) -> None:
        """What cannot be an interface's name is refused."""
        self.assertRaises(AddressError, Link, name)

    def test_loopback_carries(self) -> None:
        """An interface that is up is no fault, and its sockets are bound to it from the start."""
        link = self.link()
        self.assertIsNone(link.fault())
        self.assertIsNone(link.lacks(socket.AF_INET))
        with link.open(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            self.assertEqual(_bound_to(opened), b"lo")
            self.assertFalse(opened.getblocking())
            self.assertIsNone(link.lost(opened))

    def test_no_such_interface(self) -> None:
        """An interface that is not there is a fault, has no address, and binds no socket."""
        link = self.link("nowhere0")
        self.assertEqual(link.fault(), "there is no interface nowhere0")
        self.assertEqual(link.lacks(socket.AF_INET), "the interface nowhere0 has no IPv4 address")
        self.assertEqual(link.lacks(socket.AF_INET6), "the interface nowhere0 has no IPv6 address")
        error = self.assertRaises(OSError, link.open, socket.AF_INET, socket.SOCK_STREAM)
        self.assertEqual(error.errno, errno.ENODEV)

    def test_a_host_scope_address_is_no_source(self) -> None:
        """::1 is not an address that anything could leave with."""
        self.assertIsNotNone(self.link().lacks(socket.AF_INET6))

    def test_who_does_not_look_does_not_know(self) -> None:
        """Unwatched, before or after, is a fault."""
        link = Link("lo")
        self.assertEqual(link.fault(), "the interface lo is not watched")
        link.watch(FakeReaders(), lambda: None)
        link.unwatch()
        link.unwatch()
        self.assertEqual(link.fault(), "the interface lo is not watched")
        self.assertIsNotNone(link.lacks(socket.AF_INET))
        self.assertIsNotNone(link.lacks(socket.AF_INET6))

    def test_a_socket_that_is_not_bound(self) -> None:
        """A socket that the kernel did not bind, or bound to another, is seen to be lost."""
        link = Link("wg0")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
            self.assertEqual(link.lost(opened), "a socket of wg0 is bound to no interface")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
            self.assertEqual(link.lost(opened), "a socket of wg0 is bound to lo")
        self.assertIn("does not tell", link.lost(opened) or "")

    def test_without_privileges(self) -> None:
        """Nobody in particular may watch an interface and bind sockets to it (Linux 5.7)."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setresgid(65534, 65534, 65534)
                    os.setresuid(65534, 65534, 65534)
                link = Link("lo")
                link.watch(FakeReaders(), lambda: None)
                opened = link.open(socket.AF_INET, socket.SOCK_DGRAM)
                fine = (link.fault(), link.lacks(socket.AF_INET), link.lost(opened))
                status = 0 if fine == (None, None, None) else 2
            finally:
                os._exit(status)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)

    def test_a_deaf_bell_rings_once_more(self) -> None:
        """When no change would be heard any more, that itself is told, and is a fault."""
        readers, rung = FakeReaders(), list[str]()
        link = Link("lo")
        link.watch(readers, lambda: rung.append("now"))
        self.addCleanup(link.unwatch)
        (bell,) = readers.readers
        bell.doRead()  # nothing waits: nothing bad comes of it
        self.assertIsNone(link.fault())
        bell.connectionLost(connectionDone)
        self.assertEqual((len(rung), readers.readers), (2, set()))
        self.assertEqual(link.fault(), "the interface lo is not watched")

    def test_a_bell_whose_socket_breaks(self) -> None:
        """A read error closes the bell and rings it."""
        readers, rung = FakeReaders(), list[str]()
        bell = Bell(readers, lambda: rung.append("now"))
        with open(os.devnull) as no_socket:
            os.dup2(no_socket.fileno(), bell.fileno())
        bell.doRead()
        self.assertEqual((bell.is_closed, rung, readers.readers), (True, ["now"], set()))


class Caller(Protocol):
    """A client's protocol that remembers what it hears."""

    def __init__(self) -> None:
        self.heard = b""
        self.lost: BaseException | None = None

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason.value


class TcpEcho(Protocol):
    """Says what it is told."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


def caller() -> Factory[Caller]:
    """Give a factory of clients."""
    return Factory.forProtocol(Caller)


class LoopbackTests(World):
    """Real sockets that are bound to loopback."""

    def start(self, name: str = "lo", connect_s: float = 10.0) -> InterfaceExit:
        """Start an exit over an interface of this host."""
        exit_ = InterfaceExit(reactor, "local", name, connect_s=connect_s)
        exit_.start()
        self.addCleanup(exit_.stop)
        return exit_

    async def test_udp(self) -> None:
        """A datagram and its answer pass; a stranger's does not."""
        exit_, echo, got = self.start(), UdpEcho(), list[bytes]()
        flow = exit_.open_udp(self.udp(echo), got.append, ignore)
        self.assertTrue(flow.send(bytes(8_000)))
        await until(lambda: got, "the echo")
        self.assertEqual(got, [bytes(8_000)])
        stranger = DatagramProtocol()
        self.udp(stranger)
        send(stranger, b"boo", echo.received[0][1])
        await until(lambda: exit_.counters.get("datagrams_of_strangers"), "the stranger")
        self.assertEqual(len(got), 1)
        self.assertFalse(flow.send(bytes(65_508)))
        self.assertEqual(exit_.counters["datagrams_too_long"], 1)

    async def test_an_icmp_error_does_not_end_a_flow(self) -> None:
        """A destination that does not listen yet is heard when it does."""
        exit_, got, ended = self.start(), list[bytes](), list[str]()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
        flow = exit_.open_udp(Endpoint.of("127.0.0.1", port), got.append, ended.append)
        for _ in range(3):
            self.assertTrue(flow.send(b"early"))
        listening = reactor.listenUDP(port, UdpEcho(), "127.0.0.1")
        self.addCleanup(listening.stopListening)
        flow.send(b"hello")
        await until(lambda: got, "the echo")
        self.assertEqual(ended, [])

    async def test_tcp(self) -> None:
        """Octets pass both ways through a transport of Twisted's, whose socket is bound."""
        exit_ = self.start()
        endpoint = exit_.stream_endpoint(self.tcp(TcpEcho))
        client = cast(Caller, await endpoint.connect(caller()))
        assert client.transport is not None
        self.assertEqual(_bound_to(cast(_Handled, client.transport).getHandle()), b"lo")
        client.transport.write(bytes(300_000))
        await until(lambda: len(client.heard) == 300_000, "the echo")
        client.transport.loseConnection()
        await until(lambda: client.lost, "the end")

    async def test_a_stop_cuts_connections(self) -> None:
        """With the exit end its connections, and their protocols learn why."""
        exit_ = self.start()
        endpoint = exit_.stream_endpoint(self.tcp(TcpEcho))
        client = cast(Caller, await endpoint.connect(caller()))
        await exit_.stop()
        self.assertIsInstance(client.lost, ConnectionLost)
        self.assertIn("stopped", str(client.lost))

    async def test_a_destination_that_refuses(self) -> None:
        """That the destination refuses is not the exit's fault, and is told as it is."""
        endpoint = self.start().stream_endpoint(Endpoint.of("127.0.0.1", 1))
        with self.assertRaises(ConnectionRefusedError):
            await endpoint.connect(caller())

    async def test_cancelling(self) -> None:
        """An attempt that is given up leaves nothing behind."""
        exit_ = self.start()
        connecting = exit_.stream_endpoint(self.tcp(TcpEcho)).connect(caller())
        connecting.cancel()
        with self.assertRaises(ConnectingCancelledError):
            await connecting
        await exit_.stop()  # fires only when every socket is closed

    async def test_a_factory_that_builds_nothing(self) -> None:
        """Whoever wants no connection any more leaves none open."""
        exit_ = self.start()

        class Nothing(Factory[Caller]):
            def buildProtocol(self, addr: object) -> None:
                return None

        connecting = exit_.stream_endpoint(self.tcp(TcpEcho)).connect(Nothing())
        with self.assertRaises(NoProtocol):
            await connecting
        await pause(0)  # Twisted closes after it has told
        await exit_.stop()


def _bound_to(opened: socket.socket) -> bytes:
    told = opened.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
    return told.partition(b"\0")[0]
