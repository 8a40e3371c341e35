"""UDP ports that write quickly do what Twisted's do."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import TestCase

from gateway.udp_ports import QuickPort, listen_udp
from tests.support.rows import rows

reactor = cast(Any, _reactor)


class Hearing(DatagramProtocol):
    """Keeps what it hears."""

    noisy = False

    def __init__(self) -> None:
        self.heard: Deferred[tuple[bytes, str]] = Deferred()

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """DatagramProtocol API."""
        self.heard.callback((datagram, addr[0]))


@rows(carries={"IPv4": ("127.0.0.1",), "IPv6": ("::1",)})
class PortTests(TestCase):
    """On loopback."""

    def open(self, host: str, port: int = 0) -> tuple[Any, Hearing]:
        """Open a port until the test's end."""
        protocol = Hearing()
        opened = listen_udp(reactor, port, protocol, host, 8192)
        self.addCleanup(opened.stopListening)
        return opened, protocol

    async def check_carries(self, host: str) -> None:
        """A datagram goes from one to another."""
        to, hearing = self.open(host)
        _, speaking = self.open(host)
        cast(Any, speaking.transport).write(b"hello", (host, to.getHost().port))
        self.assertEqual(await hearing.heard, (b"hello", host))

    def test_too_long(self) -> None:
        """What is too long for the network is the same error as Twisted's."""
        to, _ = self.open("127.0.0.1")
        _, speaking = self.open("127.0.0.1")
        address = "127.0.0.1", to.getHost().port
        transport = cast(Any, speaking.transport)
        self.assertRaises(MessageLengthError, transport.write, bytes(70_000), address)

    def test_taken(self) -> None:
        """A port that is taken cannot be listened on."""
        taken, _ = self.open("127.0.0.1")
        self.assertRaises(CannotListenError, self.open, "127.0.0.1", taken.getHost().port)

    def test_another_reactor(self) -> None:
        """A reactor that is not Twisted's own opens its own ports."""

        class Standing:
            def listenUDP(self, *arguments: Any) -> object:
                return arguments

        protocol = Hearing()
        opened = listen_udp(cast(Any, Standing()), 7, protocol, "192.0.2.1", 9)
        self.assertEqual(opened, (7, protocol, "192.0.2.1", 9))
        self.assertIsInstance(self.open("127.0.0.1")[0], QuickPort)
