"""An exit that is somebody's proxy: SOCKS 5, or HTTP CONNECT, with or without TLS.
Owns: whether it answers, flows through it, ending them.  Knows: Twisted's TCP endpoints, TLS.
Never: which flow takes it, UDP: these proxies carry TCP only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, NoReturn, cast

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

# zope ships no types; its marker says what the class is.
from zope.interface import implementer

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.asking import Asking
from gateway.tunnel.means import Sockets
from gateway.tunnel.ports import Reach
from gateway.tunnel.proxy_stream import ProxyStream, TlsFactory, sentence_of
from gateway.tunnel.reactor import ByteFactory, DelayedCall, Reactor
from gateway.tunnel.resolve import resolve
from gateway.tunnel.stream import address_of

_log = Logger(namespace="gateway.tunnel")

# A proxy has no heartbeat of its own; each look costs it one connection.
_LOOK_S, _LOOK_WHILE_DOWN_S = 15.0, 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy, and how it is asked."""

    name: str
    """What the configuration calls it."""
    host: str
    """Name or address."""
    port: int
    kind: str
    """For people: "SOCKS 5" or "HTTP CONNECT"."""
    ask: Callable[[Endpoint | None], Asking | None]
    """Give the conversation for a destination; for None one that only shows whether we may, or
    None where there is no such."""
    tls: IOpenSSLClientConnectionCreator | None = None
    """None: what is asked and sent is in plaintext on the way to the proxy."""


class ProxyExit:
    """One exit, as the gateway sees it, with client.Tunnel's face."""

    def __init__(
        self,
        reactor: Reactor,
        proxy: Proxy,
        reach: Reach,
        *,
        random: Random,
        on_change: Callable[[bool, str], None] = lambda is_up, sentence: None,
        connect_s: float = 10.0,
    ) -> None:
        """Prepare; nothing is dialled before start().

        Args:    reach: where the proxy's own address is dialled; random: so that gateways do not
                 look at it all at once; connect_s: from dialling to the proxy's answer.
        """
        self._reactor = reactor
        self._proxy = proxy
        self._reach = reach
        self._random = random
        self._on_change = on_change
        self._connect_s = connect_s
        self._counters: Counter[str] = Counter()
        self._streams: set[ProxyStream] = set()
        self._sockets = Sockets()
        self._looking: Deferred[Any] | None = None
        self._next_look: DelayedCall | None = None
        self._is_started = self._is_up = False
        self._rtt_s: float | None = None
        self._sentence = "not started"

    @property
    def up(self) -> bool:
        """Did the proxy answer when it was last looked at?"""
        return self._is_up

    @property
    def rtt_s(self) -> float | None:
        """How long it took to connect to it last; None: not measured."""
        return self._rtt_s if self._is_up else None

    @property
    def sentence(self) -> str:
        """What was last said about it."""
        return self._sentence

    @property
    def counters(self) -> dict[str, int]:
        """What happened since the start: counts by name, names that never happened absent."""
        return dict(self._counters)

    def start(self) -> None:
        """Look at it now and then, for ever; flows are tried whatever came of that."""
        if not self._is_started:
            self._is_started = True
            self._look()

    def stop(self) -> Deferred[None]:
        """Cut every flow; fires when every socket is closed."""
        self._is_started = False
        if self._next_look is not None and self._next_look.active():
            self._next_look.cancel()
        if self._looking is not None:
            self._looking.cancel()
        for one in tuple(self._streams):
            one.abort()
        self._say(False, "stopped")
        return self._sockets.all_closed()

    def open_udp(
        self,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> NoReturn:
        """Refuse.

        Raises:  CarryError: always.
        """
        self._counters["udp_flows_refused"] += 1
        raise CarryError(self._proxy.name, f"{self._proxy.kind} carries TCP only, no UDP")

    def stream_endpoint(self, destination: Endpoint) -> IStreamClientEndpoint:
        """Give the IStreamClientEndpoint of a TCP flow; its Deferred fails with CarryError."""
        return cast(IStreamClientEndpoint, _ProxyEndpoint(self, destination))

    def connect(self, destination: Endpoint, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, as the endpoint does."""
        if not self._is_started:
            return fail(CarryError(self._proxy.name, self._sentence))
        self._counters["tcp_flows"] += 1
        connecting = self._ask(self._proxy.ask(destination))
        connecting.addErrback(self._count_failure)
        return connecting.addCallback(self._attach, destination, factory)

    def _attach(
        self, stream: ProxyStream, destination: Endpoint, factory: IProtocolFactory
    ) -> IProtocol:
        protocol = cast(ByteFactory, factory).buildProtocol(address_of(destination))
        if protocol is None:
            stream.abort()
            raise CarryError(self._proxy.name, "nobody wants the connection any more")
        stream.attach(protocol)
        return cast(IProtocol, protocol)

    def _count_failure(self, failure: Failure) -> Failure:
        if failure.check(CarryError):  # type: ignore[no-untyped-call]  # Twisted has not typed it
            self._counters["flows_refused"] += 1
        return failure

    # --- reaching it

    def _ask(self, asking: Asking | None) -> Deferred[ProxyStream]:
        """Dial the proxy and ask; fails with CarryError, or CancelledError."""

        def too_late(_: object, timeout_s: float) -> NoReturn:
            raise CarryError(self._proxy.name, f"no answer of the proxy in {timeout_s:g} s")

        asked = Deferred.fromCoroutine(self._dial_and_ask(asking))
        return asked.addTimeout(
            self._connect_s, cast(IReactorTime, self._reactor), onTimeoutCancel=too_late
        )

    async def _dial_and_ask(self, asking: Asking | None) -> ProxyStream:
        proxy = self._proxy
        stream = ProxyStream(
            proxy.name,
            asking,
            is_tls=proxy.tls is not None,
            opened=self._opened,
            closed=self._closed,
        )
        factory: Factory[Any] = _One(stream)
        if proxy.tls is not None:
            clock = cast(IReactorTime, self._reactor)
            factory = TlsFactory(proxy.tls, True, cast(IProtocolFactory, factory), clock)
        try:
            at = self._reach.address(await resolve(self._reactor, proxy.host, proxy.port))
            kind = TCP4ClientEndpoint if len(at.address) == 4 else TCP6ClientEndpoint
            began_s = self._reactor.seconds()
            endpoint = kind(self._reactor, at.host, at.port, self._connect_s)
            await endpoint.connect(cast(IProtocolFactory, factory))
            self._rtt_s = self._reactor.seconds() - began_s
        except (ConnectError, OSError) as error:  # OSError: its name is not found
            raise CarryError(proxy.name, sentence_of(error)) from error
        return await stream.answered

    def _opened(self, stream: ProxyStream) -> None:
        self._sockets.opened(stream)
        self._streams.add(stream)
        if not self._is_started:
            stream.abort()

    def _closed(self, stream: ProxyStream) -> None:
        self._streams.discard(stream)
        self._sockets.closed(stream)

    # --- looking at it

    def _look(self) -> None:
        self._looking = self._ask(self._proxy.ask(None))
        self._looking.addCallbacks(self._answered, self._unanswered)

    def _answered(self, stream: ProxyStream) -> None:
        stream.abort()
        self._say(True, "up")
        self._look_later(_LOOK_S)

    def _unanswered(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, CancelledError | ConnectingCancelledError):
            return  # stopped
        if not isinstance(error, CarryError):
            _log.failure("a defect of ours", failure=failure)
        self._counters["looks_failed"] += 1
        self._say(False, sentence_of(error))
        self._look_later(_LOOK_WHILE_DOWN_S)

    def _look_later(self, delay_s: float) -> None:
        self._looking = None
        if self._is_started:
            delay_s *= self._random.uniform(0.75, 1.25)
            self._next_look = self._reactor.callLater(delay_s, self._look)

    def _say(self, is_up: bool, sentence: str) -> None:
        self._is_up = is_up
        if sentence == self._sentence:
            return
        self._sentence = sentence
        log = _log.info if is_up or sentence == "stopped" else _log.warn
        log("exit {exit}: {sentence}", exit=self._proxy.name, sentence=sentence)
        self._on_change(is_up, f"exit {self._proxy.name}: {sentence}")


class _One(Factory[ProxyStream]):
    """Builds the one connection of one flow."""

    noisy = False

    def __init__(self, stream: ProxyStream) -> None:
        self._stream = stream

    def buildProtocol(self, addr: object) -> ProxyStream:
        """IProtocolFactory API."""
        return self._stream


@implementer(IStreamClientEndpoint)
class _ProxyEndpoint:
    """A TCP destination behind the proxy."""

    def __init__(self, carrier: ProxyExit, destination: Endpoint) -> None:
        self._carrier = carrier
        self._destination = destination

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """IStreamClientEndpoint API."""
        return self._carrier.connect(self._destination, factory)
