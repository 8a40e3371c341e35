"""An exit that is a proxy, on loopback, against proxies that a test writes."""

from __future__ import annotations

from random import Random
from typing import Any, cast
from typing import Protocol as Typed

from twisted.internet import reactor as _reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import KeyPair, PrivateCertificate
from twisted.protocols.tls import TLSMemoryBIOFactory

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.ports import Direct
from gateway.tunnel.proxies import http_connect, socks5, tls_to
from gateway.tunnel.proxy import Proxy, ProxyExit
from gateway.tunnel.proxy_stream import TlsFactory
from gateway.tunnel.reactor import Port
from tests.support.rows import rows
from tests.tunnel.test_tcp import Talker
from tests.tunnel.world import World, credentials, ignore, pki, reactor, until

TARGET = Endpoint.parse("192.0.2.1:443")
_ASKED = b"CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: 192.0.2.1:443\r\n\r\n"
_YES = b"HTTP/1.1 200 Connection established\r\n\r\n"


class _Tcp(Typed):
    def listenTCP(self, port: int, factory: object, interface: str) -> Port: ...


class Scripted(Talker):
    """A proxy's connection: remembers what it hears; its test says what it says."""

    def __init__(self, all_of_them: list[Scripted], greeting: bytes) -> None:
        super().__init__()
        self._greeting = greeting
        self._all = all_of_them

    def connectionMade(self) -> None:
        self._all.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if b"\r\n\r\n" in self.heard and self._greeting:
            greeting, self._greeting = self._greeting, b""
            self.tcp.write(greeting)


class ProxyCase(World):
    """A proxy with a script, and an exit that is this proxy."""

    def proxy(self, answer: bytes = _YES, stem: str | None = None) -> Endpoint:
        """Open a proxy; its connections are in `self.served`.  `stem`: of a certificate."""
        self.served: list[Scripted] = []
        factory: Factory[Any] = Factory.forProtocol(lambda: Scripted(self.served, answer))
        if stem is not None:
            at = credentials(stem)
            key = KeyPair.load(at.key.read_bytes(), 1)
            certificate = PrivateCertificate.load(at.certificate.read_bytes(), key, 1)
            options = cast(IOpenSSLServerConnectionCreator, certificate.options())
            factory = TlsFactory(options, False, cast(IProtocolFactory, factory))
        return self.serve(factory)

    def serve(self, factory: object) -> Endpoint:
        """Open a TCP server on loopback."""
        port = cast(_Tcp, _reactor).listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return Endpoint.of("127.0.0.1", cast(IPv4Address, port.getHost()).port)

    def carrier(self, proxy: Proxy, connect_s: float = 5.0) -> ProxyExit:
        """Start an exit; it is stopped with the test."""
        self.said: list[tuple[bool, str]] = []
        carrier = ProxyExit(
            reactor,
            proxy,
            Direct(),
            random=Random(1),
            on_change=lambda is_up, sentence: self.said.append((is_up, sentence)),
            connect_s=connect_s,
        )
        carrier.start()
        self.addCleanup(carrier.stop)
        return carrier

    def http(self, at: Endpoint, ca: str | None = None, connect_s: float = 5.0) -> ProxyExit:
        """Start an exit that is an HTTP proxy; `ca`: with TLS."""
        tls = None if ca is None else tls_to(at.host, pki() / f"{ca}.pem")
        return self.carrier(http_connect("p", at.host, at.port, None, tls), connect_s)

    async def connect(self, carrier: ProxyExit, target: Endpoint = TARGET) -> Talker:
        """Open a stream."""
        factory = cast(IProtocolFactory, Factory.forProtocol(Talker))
        talker = await carrier.stream_endpoint(target).connect(factory)
        assert isinstance(talker, Talker)
        return talker

    async def failure(self, carrier: ProxyExit) -> str:
        """Fail to open a stream; give why."""
        with self.assertRaises(CarryError) as raised:
            await self.connect(carrier)
        return str(raised.exception)


_KINDS = {"in plaintext": (None, None), "in TLS": ("exit", "ca")}


@rows(
    asked=_KINDS,
    half_close=_KINDS,
    cut=_KINDS,
    server_end=_KINDS,
    slow=_KINDS,
    refused=_KINDS,
    trust={
        "another authority": ("exit-rogue", "ca", "no TLS with the proxy: "),
        "another name": ("exit-other-name", "ca", "the proxy's certificate is of another name"),
        "expired": ("exit-expired", "ca", "no TLS with the proxy: certificate"),
        "no TLS at all": (None, "ca", "the proxy"),
    },
)
class HttpConnectTests(ProxyCase):
    """An HTTP proxy as an exit."""

    async def check_asked(self, stem: str | None, ca: str | None) -> None:
        """The address is asked for, and octets behind the proxy's yes are the destination's."""
        carrier = self.http(self.proxy(_YES + b"first", stem), ca)
        talker = await self.connect(carrier)
        talker.tcp.write(b"question")
        (served,) = [one for one in self.served if one.heard]
        await until(lambda: served.heard == _ASKED + b"question", "the question")
        await until(lambda: talker.heard == b"first", "what came with the yes")
        served.tcp.write(b" answer")
        await until(lambda: talker.heard == b"first answer", "the answer")
        await until(lambda: carrier.up, "up")
        self.assertIsNotNone(carrier.rtt_s)
        self.assertEqual(carrier.counters, {"tcp_flows": 1})

    async def check_half_close(self, stem: str | None, ca: str | None) -> None:
        """A client that says no more still hears, all of it, and what it said last has arrived."""
        carrier = self.http(self.proxy(stem=stem), ca)
        talker = await self.connect(carrier)
        (served,) = [one for one in self.served if one.heard]
        talker.tcp.write(bytes(300_000))
        talker.tcp.loseWriteConnection()
        await until(lambda: len(served.heard) == len(_ASKED) + 300_000, "the last octets")
        if stem is None:  # Twisted's TLS on the far side would end both directions
            await until(lambda: served.has_heard_end, "the end")
            served.tcp.write(b"still here")
            await until(lambda: talker.heard == b"still here", "the answer")
            served.tcp.loseConnection()
        await until(lambda: talker.lost, "the end of all")
        assert talker.lost is not None
        self.assertTrue(talker.lost.check(type(connectionDone.value)), talker.lost)

    async def check_server_end(self, stem: str | None, ca: str | None) -> None:
        """The destination's end arrives behind its last octets, and is no reset."""
        carrier = self.http(self.proxy(stem=stem), ca)
        talker = await self.connect(carrier)
        (served,) = [one for one in self.served if one.heard]
        served.tcp.write(bytes(300_000))
        served.tcp.loseConnection()
        await until(lambda: talker.has_heard_end or talker.lost, "the end")
        self.assertEqual(len(talker.heard), 300_000)
        talker.tcp.loseConnection()
        await until(lambda: talker.lost, "the end of all")
        assert talker.lost is not None
        self.assertTrue(talker.lost.check(type(connectionDone.value)), talker.lost)

    async def check_cut(self, stem: str | None, ca: str | None) -> None:
        """A reset is a reset, not an end; and stop() cuts, and waits until all is closed."""
        carrier = self.http(self.proxy(stem=stem), ca)
        one, other = await self.connect(carrier), await self.connect(carrier)
        first = next(one for one in self.served if one.heard)
        first.tcp.abortConnection()
        await until(lambda: one.lost or other.lost, "the reset")
        lost = one.lost or other.lost
        assert lost is not None
        self.assertFalse(lost.check(type(connectionDone.value)))
        await carrier.stop()
        self.assertTrue(one.lost and other.lost)
        self.assertIn("p: stopped", await self.failure(carrier))

    async def check_slow(self, stem: str | None, ca: str | None) -> None:
        """A proxy that does not answer is given up, and its connection is closed."""
        carrier = self.http(self.proxy(b"", stem), ca, connect_s=1.5)
        self.assertIn("p: no answer of the proxy in 1.5 s", await self.failure(carrier))
        await until(lambda: all(one.lost for one in self.served), "closed")

    async def check_refused(self, stem: str | None, ca: str | None) -> None:
        """A no is passed on in words, and the exit is up all the same."""
        carrier = self.http(self.proxy(b"HTTP/1.1 403 Not there\r\n\r\n", stem), ca)
        self.assertIn("p: the proxy refused with 403 Not there", await self.failure(carrier))
        await until(lambda: carrier.up, "up")
        self.assertEqual(carrier.counters, {"tcp_flows": 1, "flows_refused": 1})

    async def check_trust(self, stem: str | None, ca: str, sentence: str) -> None:
        """A proxy that does not prove who it is gets no question at all."""
        carrier = self.http(self.proxy(stem=stem), ca, connect_s=1.0)
        self.assertIn(sentence, await self.failure(carrier))
        await until(lambda: self.said, "said")
        self.assertFalse(carrier.up)
        self.assertNotIn(b"CONNECT", b"".join(one.heard for one in self.served))

    async def test_old_tls(self) -> None:
        """TLS 1.2 shows certificates in plaintext: there is none."""
        at = credentials("exit")
        key = KeyPair.load(at.key.read_bytes(), 1)
        options = PrivateCertificate.load(at.certificate.read_bytes(), key, 1).options()
        options.getContext().set_max_proto_version(0x0303)
        inner = cast(IProtocolFactory, Factory.forProtocol(Talker))
        factory = TLSMemoryBIOFactory(options, False, inner)
        carrier = self.http(self.serve(factory), "ca")
        self.assertIn("no TLS with the proxy: ", await self.failure(carrier))

    async def test_cancelled(self) -> None:
        """An attempt that nobody waits for any more leaves no connection behind."""
        carrier = self.http(self.proxy(b""))
        factory = cast(IProtocolFactory, Factory.forProtocol(Talker))
        attempt: Deferred[object] = carrier.stream_endpoint(TARGET).connect(factory)  # type: ignore[assignment]
        attempt.addErrback(lambda _: None)
        await until(lambda: any(one.heard for one in self.served), "asked")
        attempt.cancel()
        await until(lambda: all(one.lost for one in self.served), "closed")

    async def test_nobody_wants_it(self) -> None:
        """A factory that builds nothing ends the connection."""
        carrier = self.http(self.proxy())

        class Nothing(Factory[Protocol]):
            def buildProtocol(self, addr: object) -> None:
                return None

        with self.assertRaises(CarryError):
            await carrier.stream_endpoint(TARGET).connect(cast(IProtocolFactory, Nothing()))
        await until(lambda: all(one.lost for one in self.served), "closed")

    async def test_udp(self) -> None:
        """A UDP flow is refused, with the reason."""
        carrier = self.http(self.proxy())
        with self.assertRaises(CarryError) as raised:
            carrier.open_udp(TARGET, ignore, ignore)
        self.assertEqual(str(raised.exception), "p: HTTP CONNECT carries TCP only, no UDP")
        self.assertEqual(carrier.counters["udp_flows_refused"], 1)

    async def test_nobody_there(self) -> None:
        """A proxy that is not there is down, and up again when it is back."""
        at = self.proxy()
        carrier = self.http(Endpoint.of("127.0.0.1", 1))
        self.assertIn("the proxy cannot be reached: ", await self.failure(carrier))
        await until(lambda: self.said, "said")
        self.assertEqual(carrier.counters["looks_failed"], 1)
        self.assertFalse(carrier.up)
        self.assertIsNone(carrier.rtt_s)
        carrier._proxy = http_connect("p", at.host, at.port, None, None)
        await until(lambda: carrier.up, "up")
        self.assertEqual(self.said[-1], (True, "exit p: up"))


class Socks5Server(Talker):
    """Takes no login and says what its test wants."""

    answer = bytes.fromhex("0500 05000001000000000000")

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if len(self.heard) == 3:
            self.tcp.write(self.answer[:2])
        elif len(self.heard) == 13:
            self.tcp.write(self.answer[2:])


class Socks5Tests(ProxyCase):
    """A SOCKS 5 proxy as an exit."""

    async def test_asked(self) -> None:
        """The address is asked for; the first look says nothing of any destination."""
        servers: list[Socks5Server] = []

        def serve() -> Socks5Server:
            servers.append(Socks5Server())
            return servers[-1]

        at = self.tcp(serve)
        carrier = self.carrier(socks5("p", at.host, at.port, None))
        await until(lambda: carrier.up, "up")
        self.assertEqual(bytes(servers[0].heard), bytes.fromhex("050100"))
        talker = await self.connect(carrier)
        talker.tcp.write(b"hello")
        expected = bytes.fromhex("050100 05010001c000020101bb") + b"hello"
        await until(lambda: bytes(servers[1].heard) == expected, "the question")

    async def test_ended(self) -> None:
        """A proxy that ends the connection instead of an answer is a no."""

        class Rude(Socks5Server):
            def dataReceived(self, data: bytes) -> None:
                self.tcp.loseConnection()

        at = self.tcp(Rude)
        carrier = self.carrier(socks5("p", at.host, at.port, None))
        self.assertIn("p: the proxy ended the connection", await self.failure(carrier))

    async def test_login(self) -> None:
        """A proxy that wants a login that there is not is down, and the sentence says why."""

        class Strict(Socks5Server):
            answer = bytes.fromhex("05ff")

        at = self.tcp(Strict)
        carrier = self.carrier(socks5("p", at.host, at.port, None))
        await until(lambda: self.said, "said")
        self.assertEqual(self.said, [(False, "exit p: the proxy wants a login, and there is none")])
        self.assertFalse(carrier.up)
