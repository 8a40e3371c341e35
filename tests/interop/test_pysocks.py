"""PySocks, another library's SOCKS 5 client: UDP ASSOCIATE and CONNECT through our front door."""

from __future__ import annotations

import importlib
import socket
from typing import Protocol, cast
from unittest import skipIf

from twisted.internet.threads import deferToThread

from gateway.listeners.socks5 import Socks5Listener
from gateway.model import Endpoint, pack
from tests.listeners.case import ListenerCase
from tests.listeners.fakes import ALLOW, BLOCK, LOOPBACK


class _PySocks(Protocol):
    """The part of PySocks that is used here; it ships no types."""

    SOCKS5: int

    def socksocket(self, family: int, kind: int, /) -> socket.socket: ...


try:
    _socks: _PySocks | None = cast(_PySocks, importlib.import_module("socks"))
except ImportError:
    _socks = None

ONE = Endpoint.parse("192.0.2.1:4001")
TWO = Endpoint.parse("192.0.2.2:4002")


def _open(kind: int, proxy: Endpoint, login: tuple[str, str] | None = None) -> socket.socket:
    assert _socks is not None
    sock = _socks.socksocket(socket.AF_INET, kind)
    user, password = login or (None, None)
    sock.set_proxy(  # type: ignore[attr-defined]  # PySocks adds it
        _socks.SOCKS5, proxy.host, proxy.port, rdns=True, username=user, password=password
    )
    sock.settimeout(10)
    return sock


@skipIf(_socks is None, "PySocks is not installed")
class PySocksTests(ListenerCase):
    """A blocking client, in a thread."""

    async def test_udp_associate(self) -> None:
        """Two destinations over one association, and a name; answers as from the asked-for."""
        one = self.udp_edge(str(ONE), ALLOW, echo=b"1:")
        self.udp_edge(str(TWO), ALLOW, echo=b"2:")
        self.resolver.names["edge.example"] = (pack(TWO.host),)
        at = self.open(Socks5Listener(LOOPBACK, self.wiring(), users={"alice": "secret"}))

        def talk() -> list[tuple[bytes, tuple[str, int]]]:
            with _open(socket.SOCK_DGRAM, at, ("alice", "secret")) as sock:
                answers = []
                for host, port in ((ONE.host, 4001), (TWO.host, 4002), ("edge.example", 4002)):
                    sock.sendto(b"hello", (host, port))
                    answers.append(sock.recvfrom(2048))
                return answers

        answers = await deferToThread(talk)
        first, second = (ONE.host, ONE.port), (TWO.host, TWO.port)
        self.assertEqual(answers, [(b"1:hello", first), (b"2:hello", second), (b"2:hello", second)])
        self.assertEqual(len(one.senders), 1)

    async def test_connect(self) -> None:
        """A stream by name."""
        self.tcp_edge(str(ONE), ALLOW, greeting=b"220 ready")
        self.resolver.names["edge.example"] = (pack(ONE.host),)
        at = self.open(Socks5Listener(LOOPBACK, self.wiring()))

        def talk() -> bytes:
            with _open(socket.SOCK_STREAM, at) as sock:
                sock.connect(("edge.example", ONE.port))
                return sock.recv(2048)

        self.assertEqual(await deferToThread(talk), b"220 ready")

    async def test_blocked(self) -> None:
        """A blocked stream is refused with the ruleset's reply."""
        self.gate.on[ONE] = BLOCK
        at = self.open(Socks5Listener(LOOPBACK, self.wiring()))

        def talk() -> str:
            with _open(socket.SOCK_STREAM, at) as sock:
                try:
                    sock.connect((ONE.host, ONE.port))
                except OSError as error:
                    return str(error)
            return "connected"

        self.assertIn("not allowed by ruleset", await deferToThread(talk))
