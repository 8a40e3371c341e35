"""An exit that is an interface, with fakes."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.error import (
    MessageLengthError,
)
from twisted.internet.interfaces import IReadDescriptor, IUDPTransport
from twisted.internet.protocol import DatagramProtocol, Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.bound import BoundFlow
from gateway.tunnel.interface import InterfaceExit
from gateway.tunnel.link import Link
from tests.support.rows import rows
from tests.tunnel.world import ignore

V4 = Endpoint.of("192.0.2.1", 4001)
V6 = Endpoint.of("2001:db8::1", 4001)


class FakeReaders:
    """IReactorFDSet of which the test is the event loop."""

    def __init__(self) -> None:
        self.readers: set[IReadDescriptor] = set()

    def addReader(self, reader: IReadDescriptor) -> None:
        self.readers.add(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        self.readers.discard(reader)


class FakePort:
    """IListeningPort and IUDPTransport; `refusal` is what writing raises."""

    def __init__(self, protocol: DatagramProtocol) -> None:
        self.written: list[tuple[bytes, tuple[str, int]]] = []
        self.refusal: Exception | None = None
        self.is_closed = False
        self._protocol = protocol
        self._handle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def getHandle(self) -> socket.socket:
        return self._handle

    def write(self, packet: bytes, addr: tuple[str, int]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.written.append((packet, addr))

    def stopListening(self) -> None:
        if not self.is_closed:  # IListeningPort may be told twice
            self.is_closed = True
            self._handle.close()
            self._protocol.doStop()


class FakeReactor(Clock, FakeReaders):
    """A reactor without sockets."""

    def __init__(self) -> None:
        super().__init__()
        FakeReaders.__init__(self)
        self.ports: list[FakePort] = []

    def adoptDatagramPort(
        self, fd: int, family: int, protocol: DatagramProtocol, maxPacketSize: int
    ) -> FakePort:
        assert maxPacketSize >= 65507, "the longest payload fits"
        assert not os.get_blocking(fd)
        port = FakePort(protocol)
        protocol.makeConnection(cast(IUDPTransport, port))
        self.ports.append(port)
        return port


class FakeLink(Link):
    """An interface that is what the test says; its sockets are bound to nothing."""

    def __init__(self, interface: str = "wg0") -> None:
        super().__init__(interface)
        self.says: str | None = None
        self.has_lost: str | None = None
        self.families = {socket.AF_INET, socket.AF_INET6}
        self.refusal: OSError | None = None
        self.is_watched = False
        self.is_late = False
        self.changed: Callable[[], None] = lambda: None

    @property
    def is_changing(self) -> bool:
        return self.is_late

    def watch(self, readers: object, changed: Callable[[], None]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.is_watched, self.changed = True, changed

    def unwatch(self) -> None:
        self.is_watched = False

    def fault(self) -> str | None:
        return self.says if self.is_watched else "not watched"

    def lacks(self, family: int) -> str | None:
        return None if family in self.families else f"no address of {family}"

    def lost(self, bound: socket.socket) -> str | None:
        assert bound.fileno() >= 0, "it is open"
        return self.has_lost

    def open(self, family: int, kind: int) -> socket.socket:
        if self.refusal is not None:
            raise self.refusal
        opened = socket.socket(family, kind)
        opened.setblocking(False)
        return opened


@rows(
    refused={
        "too long": (MessageLengthError("message too long"), "datagrams_too_long"),
        "buffer full": (OSError(errno.ENOBUFS, "full"), "datagrams_unsendable"),
        "a firewall": (OSError(errno.EPERM, "no"), "datagrams_unsendable"),
        "no key for it": (OSError(errno.ENOKEY, "no key"), "datagrams_unsendable"),
    },
    no_way={
        "down": (errno.ENETDOWN,),
        "no route": (errno.ENETUNREACH,),
        "an unreachable route": (errno.EHOSTUNREACH,),
        "gone": (errno.ENODEV,),
        "no address": (errno.EADDRNOTAVAIL,),
    },
    too_early={
        "down": (V4, {"says": "the interface wg0 is down"}, "is down"),
        "no IPv4": (V4, {"families": {socket.AF_INET6}}, "no address"),
        "no IPv6": (V6, {"families": {socket.AF_INET}}, "no address"),
    },
)
class CarrierTests(SynchronousTestCase):
    """The exit over an interface that does what the test says."""

    def setUp(self) -> None:
        """Start one."""
        self.reactor, self.link = FakeReactor(), FakeLink()
        self.said: list[tuple[bool, str]] = []
        self.exit = InterfaceExit(
            self.reactor,
            "eu",
            "wg0",
            link=lambda _: self.link,
            on_change=lambda *what: self.said.append(what),
        )
        self.exit.start()
        self.got: list[bytes] = []
        self.reasons: list[str] = []

    def flow(self, to: Endpoint = V4) -> tuple[BoundFlow, FakePort]:
        """Open a flow; give it and its port."""
        flow = self.exit.open_udp(to, self.got.append, self.reasons.append)
        return flow, self.reactor.ports[-1]

    def test_before_the_start_and_after_the_stop_it_is_down(self) -> None:
        """Nothing is carried by an exit whose interface nobody watches."""
        other = InterfaceExit(self.reactor, "eu", "wg0", link=FakeLink)
        self.assertEqual((other.up, other.sentence), (False, "not started"))
        self.assertRaises(CarryError, other.open_udp, V4, ignore, ignore)
        self.assertTrue(self.exit.up)
        self.successResultOf(self.exit.stop())
        self.assertEqual((self.exit.up, self.exit.sentence), (False, "stopped"))
        self.assertRaises(CarryError, self.exit.open_udp, V4, ignore, ignore)

    def check_too_early(self, to: Endpoint, is_: dict[str, object], says: str) -> None:
        """What the interface cannot carry is refused before there is a socket."""
        for name, value in is_.items():
            setattr(self.link, name, value)
        endpoint = self.exit.stream_endpoint
        for call in (lambda: self.exit.open_udp(to, ignore, ignore), lambda: endpoint(to)):
            error = self.assertRaises(CarryError, call)
            self.assertIn(says, str(error))
            self.assertTrue(str(error).startswith("eu: "))
        self.assertEqual(self.reactor.ports, [])

    def test_an_endpoint_looks_again_when_it_connects(self) -> None:
        """An interface that went down after the endpoint was given connects nothing."""
        endpoint = self.exit.stream_endpoint(V4)
        self.link.says = "the interface wg0 is down"
        self.failureResultOf(cast(Deferred[object], endpoint.connect(Factory())), CarryError)

    def test_an_option_that_is_refused(self) -> None:
        """A kernel that does not bind a socket to the interface carries nothing."""
        self.link.refusal = OSError(errno.EPERM, "Operation not permitted")
        error = self.assertRaises(CarryError, self.exit.open_udp, V4, ignore, ignore)
        self.assertEqual(str(error), "eu: no socket that is bound to wg0: Operation not permitted")
        connecting = self.exit.stream_endpoint(V4).connect(Factory())
        self.reactor.advance(0)
        failure = self.failureResultOf(cast(Deferred[object], connecting), CarryError)
        self.assertEqual(failure.getErrorMessage(), str(error))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_interfaces_that_cannot_be_watched(self) -> None:
        """An exit that would not hear of changes stays down, and says why."""
        link = FakeLink()
        link.refusal = OSError(errno.EPERM, "Operation not permitted")
        exit_ = InterfaceExit(self.reactor, "eu", "wg0", link=lambda _: link)
        exit_.start()
        self.assertFalse(exit_.up)
        self.assertEqual(exit_.sentence, "interfaces cannot be watched: Operation not permitted")

    def test_changes_are_told_once(self) -> None:
        """Each change of state is told, and the same state is not told again."""
        self.link.says = "the interface wg0 is down"
        self.link.changed()
        self.link.changed()
        self.link.says = None
        self.link.changed()
        self.assertEqual(
            self.said,
            [
                (True, "exit eu: up"),
                (False, "exit eu: the interface wg0 is down"),
                (True, "exit eu: up"),
            ],
        )

    def test_only_the_destination_is_heard(self) -> None:
        """An answer passes from the destination's address and port, and from nobody else."""
        flow, port = self.flow()
        self.assertTrue(flow.send(b"ping"))
        self.assertEqual(port.written, [(b"ping", ("192.0.2.1", 4001))])
        for addr in (("192.0.2.1", 4002), ("192.0.2.2", 4001), ("192.0.2.1", 4001)):
            flow.datagramReceived(b"%d" % addr[1], addr)
        self.assertEqual(self.got, [b"4001"])
        self.assertEqual(self.exit.counters["datagrams_of_strangers"], 2)

    def test_an_address_is_spelled_as_the_kernel_spells_it(self) -> None:
        """The answer from an address that has two spellings in text is known."""
        flow, _ = self.flow(Endpoint(bytes(12) + b"\1\2\3\4", 9))
        flow.datagramReceived(b"pong", ("::1.2.3.4", 9))
        self.assertEqual(self.got, [b"pong"])

    def check_refused(self, error: Exception, counter: str) -> None:
        """What the kernel does not take of one datagram is counted, and the flow goes on."""
        flow, port = self.flow()
        port.refusal = error
        self.assertFalse(flow.send(b"x"))
        self.assertEqual(self.exit.counters[counter], 1)
        port.refusal = None
        self.assertTrue(flow.send(b"y"))
        self.assertEqual((flow.unsent, self.reasons), (0, []))

    def check_no_way(self, number: int) -> None:
        """A flow that the interface has no way for ends after the call, once, with the reason."""
        flow, port = self.flow()
        port.refusal = OSError(number, os.strerror(number))
        self.assertTrue(flow.send(b"x"))
        self.assertTrue(flow.send(b"y"))
        self.assertEqual((self.reasons, port.is_closed), ([], False))
        self.reactor.advance(0)
        self.assertEqual(self.reasons, [f"wg0: {os.strerror(number)}"])
        self.assertEqual((flow.unsent, port.is_closed), (2, True))
        self.assertFalse(flow.send(b"z"))
        self.assertEqual(self.exit.counters["datagrams_without_flow"], 1)

    def test_a_renamed_interface_gets_no_more_datagrams(self) -> None:
        """A socket that is of another name now sends nothing, before any change is told."""
        flow, port = self.flow()
        self.link.has_lost, self.link.is_late = "a socket of wg0 is bound to old0", True
        self.assertTrue(flow.send(b"x"))
        self.assertEqual((port.written, flow.unsent), ([], 1))
        self.link.changed()
        self.reactor.advance(0)
        self.assertEqual(self.reasons, ["a socket of wg0 is bound to old0"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_change_ends_what_it_concerns(self) -> None:
        """With its last IPv6 address the interface's IPv6 flows end, and no others."""
        four, _ = self.flow(V4)
        six, _ = self.flow(V6)
        six_handle = self.reactor.ports[1]
        six_handle.getHandle().close()
        six_handle._handle = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.link.families = {socket.AF_INET}
        self.link.changed()
        self.assertEqual(len(self.reasons), 1)
        self.assertTrue(four.send(b"x"))
        self.assertFalse(six.send(b"x"))
        self.assertEqual(self.exit.counters["flows_lost"], 1)

    def test_close(self) -> None:
        """A closed flow tells nothing, sends nothing and hears nothing; twice is once."""
        flow, port = self.flow()
        port.refusal = OSError(errno.ENETDOWN, "down")
        flow.send(b"x")
        flow.close()
        flow.close()
        self.assertEqual((port.is_closed, self.reactor.getDelayedCalls()), (True, []))
        flow.datagramReceived(b"late", ("192.0.2.1", 4001))
        self.link.says = "down"
        self.link.changed()
        self.assertEqual((self.got, self.reasons), ([], []))
        self.assertFalse(flow.send(b"y"))

    def test_a_socket_that_the_system_closed(self) -> None:
        """A flow whose port fails in the reactor ends with a reason."""
        flow, port = self.flow()
        port.stopListening()
        self.assertEqual(self.reasons, ["the system closed the socket"])
        self.assertFalse(flow.send(b"x"))

    def test_stop_ends_every_flow(self) -> None:
        """With the exit end its flows, each with the reason."""
        self.flow()
        self.flow()
        self.successResultOf(self.exit.stop())
        self.assertEqual(self.reasons, ["stopped", "stopped"])
        self.assertTrue(all(port.is_closed for port in self.reactor.ports))
