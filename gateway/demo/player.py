"""The player.  Owns: a SOCKS5 client that says what a capture's clients said.
Knows: RFC 1928 as a client.  Never: judging, or any destination but through the gateway."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectBindError
from twisted.internet.interfaces import IListeningPort, ITCPTransport, IUDPTransport
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

from gateway.demo.conversation import Conversation, Said
from gateway.model import Endpoint, FlowKey, Transport

_LOOPBACK = "127.0.0.1"
_CONNECT, _ASSOCIATE = 1, 3
# After a stream's last words, its client waits this long for an answer before it hangs up.
_LAST_ANSWER_S = 1.0


def _address(endpoint: Endpoint) -> bytes:
    """Write ATYP, address and port (RFC 1928 section 5)."""
    kind = b"\x01" if len(endpoint.address) == 4 else b"\x04"
    return kind + endpoint.address + endpoint.port.to_bytes(2, "big")


def _read_address(octets: bytes) -> tuple[Endpoint, bytes] | None:
    """Read ATYP, address and port, and give what is behind them."""
    size = {1: 4, 4: 16}.get(octets[0] if octets else 0)
    if size is None or len(octets) < 3 + size:
        return None
    port = int.from_bytes(octets[1 + size : 3 + size], "big")
    return Endpoint(octets[1 : 1 + size], port), octets[3 + size :]


class Player:
    """Plays conversations through one SOCKS5 listener."""

    def __init__(
        self,
        reactor: Any,
        socks5: Endpoint,
        conversations: Iterable[Conversation],
        *,
        fast: bool,
        progress: Callable[[int], None],
    ) -> None:
        """Prepare to play.

        Args:    fast: say everything as quickly as it goes, instead of at the capture's pace;
                 progress: told how many datagrams and pieces of streams were said so far.
        """
        self._reactor = reactor
        self._socks5 = socks5
        self._fast = fast
        self._progress = progress
        self._sockets: dict[Endpoint, _Socket] = {}
        self._ports: list[IListeningPort] = []
        self._streams: list[_Stream] = []
        self._association: _Association | None = None
        self._steps: deque[tuple[float, Callable[[], None]]] = deque(self._plan(conversations))
        self._began_s = 0.0
        self._done: Deferred[None] = Deferred()
        self.said = 0
        self.answers: Counter[FlowKey] = Counter()
        self.refused: set[FlowKey] = set()
        self.other_ports = 0
        """Sockets whose port in the capture was taken here."""

    @property
    def steps(self) -> int:
        """How many datagrams and pieces of streams there are to say."""
        return len(self._steps)

    def play(self) -> Deferred[None]:
        """Play everything; fires when the last word is said, fails if SOCKS5 does not answer."""
        association = self._association = _Association(self._associated, self._done)
        factory = ClientFactory.forProtocol(lambda: association)
        self._reactor.connectTCP(self._socks5.host, self._socks5.port, factory)
        return self._done

    def stop(self) -> None:
        """Hang up everywhere."""
        for stream in self._streams:
            stream.hang_up()
        for port in self._ports:
            port.stopListening()
        if self._association is not None and self._association.connected:
            self._association.transport.abortConnection()

    def _plan(
        self, conversations: Iterable[Conversation]
    ) -> list[tuple[float, Callable[[], None]]]:
        steps: list[tuple[float, Callable[[], None]]] = []
        for conversation in conversations:
            words = conversation.of_client()
            if conversation.key.transport is Transport.UDP:
                steps += [(said.at_s, self._datagram(conversation.key, said)) for said in words]
            else:
                steps.append((words[0].at_s, self._stream(conversation.key, words)))
        return sorted(steps, key=lambda step: step[0])

    def _datagram(self, key: FlowKey, said: Said) -> Callable[[], None]:
        def say() -> None:
            self._socket(key.client).say(key.destination, said.payload)

        return say

    def _stream(self, key: FlowKey, words: list[Said]) -> Callable[[], None]:
        def say() -> None:
            stream = _Stream(self, key, words, 0.0 if self._fast else 1.0)
            self._streams.append(stream)
            self._connect(stream, key.client.port)

        return say

    def _connect(self, stream: _Stream, port: int) -> None:
        at = (self._socks5.host, self._socks5.port)
        self._reactor.connectTCP(
            *at, _StreamFactory(self, stream), 10.0, bindAddress=(_LOOPBACK, port)
        )

    def port_was_taken(self, stream: _Stream) -> None:
        """Connect from any port instead: an earlier run may still hold the capture's."""
        self.other_ports += 1
        self._connect(stream, 0)

    def _socket(self, client: Endpoint) -> _Socket:
        socket = self._sockets.get(client)
        if socket is None:
            assert self._association is not None, "play() comes first"
            socket = self._sockets[client] = _Socket(self, client, self._association.relay)
            try:
                port = self._reactor.listenUDP(client.port, socket, _LOOPBACK, 65_535)
            except CannotListenError:
                self.other_ports += 1
                port = self._reactor.listenUDP(0, socket, _LOOPBACK, 65_535)
            self._ports.append(port)
        return socket

    def _associated(self) -> None:
        self._began_s = self._reactor.seconds()
        self._next()

    def _next(self) -> None:
        now_s = self._reactor.seconds() - self._began_s
        while self._steps and (self._fast or self._steps[0][0] <= now_s):
            self._steps.popleft()[1]()
            self.said += 1
            self._progress(self.said)
            if self._fast:
                break  # one a turn of the reactor, so that the sockets' buffers keep up
        if not self._steps:
            self._done.callback(None)
            return
        wait_s = 0.0 if self._fast else max(0.0, self._steps[0][0] - now_s)
        self._reactor.callLater(wait_s, self._next)


class _Association(Protocol):
    """The control connection of a UDP association."""

    transport: ITCPTransport

    def __init__(self, ready: Callable[[], None], failed: Deferred[None]) -> None:
        self._ready = ready
        self._failed = failed
        self._received = b""
        self._greeted = False
        self.relay = ("", 0)

    def connectionMade(self) -> None:
        """Protocol API."""
        self.transport.write(b"\x05\x01\x00")

    def dataReceived(self, data: bytes) -> None:
        """Protocol API."""
        self._received += data
        if not self._greeted and len(self._received) >= 2:
            self._greeted, self._received = True, self._received[2:]
            self.transport.write(bytes([5, _ASSOCIATE, 0]) + _address(Endpoint(bytes(4), 0)))
        if self._greeted and len(self._received) >= 4 and not self.relay[1]:
            found = _read_address(self._received[3:])
            if self._received[1] == 0 and found is not None:
                self.relay = (found[0].host, found[0].port)
                self._ready()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Protocol API."""
        if not self._failed.called:
            self._failed.errback(reason)


class _Socket(DatagramProtocol):
    """One UDP socket of a captured client."""

    transport: IUDPTransport

    def __init__(self, player: Player, client: Endpoint, relay: tuple[str, int]) -> None:
        self._player = player
        self._client = client
        self._relay = relay

    def say(self, destination: Endpoint, payload: bytes) -> None:
        """Send one datagram through the association."""
        self.transport.write(b"\0\0\0" + _address(destination) + payload, self._relay)

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """DatagramProtocol API."""
        found = _read_address(datagram[3:])
        if found is not None:
            self._player.answers[FlowKey(Transport.UDP, self._client, found[0])] += 1


class _StreamFactory(ClientFactory):
    """Connects one TCP flow, from its own port if that is free."""

    noisy = False

    def __init__(self, player: Player, stream: _Stream) -> None:
        self._player = player
        self._stream = stream

    def buildProtocol(self, addr: object) -> _Stream:
        """ClientFactory API."""
        return self._stream

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        """ClientFactory API."""
        if isinstance(reason.value, ConnectBindError):
            self._player.port_was_taken(self._stream)


class _Stream(Protocol):
    """One TCP flow of a captured client."""

    transport: ITCPTransport

    def __init__(self, player: Player, key: FlowKey, words: list[Said], pace: float) -> None:
        self._player = player
        self._key = key
        self._words = words
        self._pace = pace
        self._received = b""
        self._stage = 0

    def connectionMade(self) -> None:
        """Protocol API."""
        self.transport.write(b"\x05\x01\x00")

    def dataReceived(self, data: bytes) -> None:
        """Protocol API."""
        self._received += data
        if self._stage == 0 and len(self._received) >= 2:
            self._stage, self._received = 1, self._received[2:]
            self.transport.write(bytes([5, _CONNECT, 0]) + _address(self._key.destination))
        if self._stage == 1 and len(self._received) >= 4:
            if self._received[1] != 0:
                self._player.refused.add(self._key)
                self.hang_up()
                return
            found = _read_address(self._received[3:])
            if found is not None:
                self._stage, self._received = 2, found[1]
                self._say()
        elif self._stage == 2:
            self._player.answers[self._key] += 1

    def hang_up(self) -> None:
        """Close the connection."""
        if self.connected:
            self.transport.loseConnection()

    def _say(self) -> None:
        later = self._player._reactor.callLater
        began_s = self._words[0].at_s
        for said in self._words:
            later((said.at_s - began_s) * self._pace, self._write, said.payload)
        later((self._words[-1].at_s - began_s) * self._pace + _LAST_ANSWER_S, self.hang_up)

    def _write(self, payload: bytes) -> None:
        if self.connected:
            self.transport.write(payload)
