"""Replaying a capture's client side.  Owns: sockets with the capture's own addresses and ports, in
the client's namespace, saying what its clients said.  Knows: Conversation.
Never: what should arrive."""

from __future__ import annotations

import errno
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

from gateway.demo.conversation import Conversation, Said
from gateway.model import Endpoint, FlowKey, Transport
from tests.lab.doors import Door, Router
from tests.lab.topology import Lab, Space

_TIMEOUT_S = 3.0
_MAX_STREAMS = 64
_SO_RCVBUFFORCE = 33
_BUFFER_LEN = 16 * 1024 * 1024
_TAKEN = frozenset({errno.EADDRINUSE, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the clients experienced."""

    sent: Counter[FlowKey] = field(default_factory=Counter)
    """Datagrams, and pieces of streams, by flow."""
    answers: Counter[FlowKey] = field(default_factory=Counter)
    """Datagrams, and pieces of streams as they were read."""
    refused: dict[FlowKey, str] = field(default_factory=dict)
    """Streams that were not opened or broke, and why."""
    moved: set[FlowKey] = field(default_factory=set)
    """Streams whose source port in the capture was taken."""


def replay(
    lab: Lab,
    conversations: Iterable[Conversation],
    *,
    door: Door | None = None,
    speed: float = 1.0,
    silence_s: float = 1.0,
) -> Replayed:
    """Say in the client's namespace what a capture's clients said.

    Each UDP flow leaves from the capture's own address and port; each TCP flow is a connection
    from there.  Answers are counted while it goes on, and after the last word until none has come
    for a while.

    Args:    door: omitted: the client's router.  speed: 1 is the capture's own pace, 20 plays 15
             seconds in less than one, with everything still in the same order.  silence_s: how
             long nothing may come before nothing more is waited for.
    Raises:  OSError: the door does not open.
    """
    talks = list(conversations)
    for host in sorted({talk.key.client.host for talk in talks}):
        lab.carry(host)
    stage = _Stage(lab, door or Router(), speed, silence_s)
    try:
        return stage.play(talks)
    finally:
        stage.close()


class _Stage:
    """One replay."""

    def __init__(self, lab: Lab, door: Door, speed: float, silence_s: float) -> None:
        self._lab, self._door = lab, door
        self._speed, self._silence_s = speed, silence_s
        self._sockets: dict[Endpoint, socket.socket] = {}
        self._clients: dict[int, tuple[socket.socket, Endpoint]] = {}
        self._poll = select.poll()
        self._counting = threading.Lock()
        self._replayed = Replayed()

    def play(self, talks: list[Conversation]) -> Replayed:
        for address in {talk.key.client.address for talk in talks}:
            self._door.open(self._tcp(Endpoint(address, 0)))
        for talk in talks:
            if talk.key.transport is Transport.UDP:
                self._open(talk.key.client)
        self._began_s = time.monotonic()
        with ThreadPoolExecutor(_MAX_STREAMS) as pool:
            streams = [talk for talk in talks if talk.key.transport is Transport.TCP]
            ended = [pool.submit(self._stream, talk) for talk in streams]
            self._datagrams([talk for talk in talks if talk.key.transport is Transport.UDP])
        for future in ended:
            future.result()  # a defect of ours is not silent
        return self._replayed

    def close(self) -> None:
        self._door.close()
        for each in self._sockets.values():
            each.close()

    def _tcp(self, client: Endpoint) -> socket.socket:
        """Open a TCP socket at a client's address; OSError if its port is taken."""
        family = socket.AF_INET if len(client.address) == 4 else socket.AF_INET6
        opened = self._lab.socket(Space.CLIENT, family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.settimeout(_TIMEOUT_S)
        try:
            opened.bind((client.host, client.port))
        except OSError:
            opened.close()
            raise
        return opened

    def _open(self, client: Endpoint) -> None:
        if client in self._sockets:
            return
        family = socket.AF_INET if len(client.address) == 4 else socket.AF_INET6
        opened = self._lab.socket(Space.CLIENT, family, socket.SOCK_DGRAM)
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_LEN)
        opened.bind((client.host, client.port))
        self._sockets[client] = opened
        self._clients[opened.fileno()] = opened, client
        self._poll.register(opened, select.POLLIN)

    def _datagrams(self, talks: list[Conversation]) -> None:
        steps = [(said.at_s, talk.key, said.payload) for talk in talks for said in talk.of_client()]
        for at_s, key, payload in sorted(steps, key=lambda step: step[0]):
            self._hear_until(self._began_s + at_s / self._speed)
            octets, to = self._door.outward(key, payload)
            self._sockets[key.client].sendto(octets, (to.host, to.port))
            with self._counting:
                self._replayed.sent[key] += 1
        end_s = time.monotonic() + _TIMEOUT_S
        while self._heard(self._silence_s) and time.monotonic() < end_s:
            pass

    def _hear_until(self, end_s: float) -> None:
        """Count answers until a moment."""
        while True:
            left_s = max(0.0, end_s - time.monotonic())
            self._heard(left_s)
            if left_s == 0.0:
                return

    def _heard(self, timeout_s: float) -> bool:
        """Wait for answers and count them; say whether there were any."""
        ready = self._poll.poll(timeout_s * 1000)
        for descriptor, _ in ready:
            self._hear(*self._clients[descriptor])
        return bool(ready)

    def _hear(self, opened: socket.socket, client: Endpoint) -> None:
        octets, sender = opened.recvfrom(65_536)
        _, source = self._door.inward(octets, Endpoint.of(sender[0], sender[1]))
        with self._counting:
            self._replayed.answers[FlowKey(Transport.UDP, client, source)] += 1

    def _stream(self, talk: Conversation) -> None:
        words = talk.of_client()
        time.sleep(max(0.0, self._began_s + words[0].at_s / self._speed - time.monotonic()))
        try:
            with self._connected(talk.key) as stream:
                self._say(stream, talk.key, words)
        except OSError as error:
            with self._counting:
                self._replayed.refused[talk.key] = str(error)

    def _say(self, stream: socket.socket, key: FlowKey, words: list[Said]) -> None:
        for said in words:
            self._hear_stream(stream, key, self._began_s + said.at_s / self._speed)
            stream.settimeout(_TIMEOUT_S)
            stream.sendall(said.payload)
            with self._counting:
                self._replayed.sent[key] += 1
        stream.shutdown(socket.SHUT_WR)
        self._hear_stream(stream, key, time.monotonic() + self._silence_s)

    def _connected(self, key: FlowKey) -> socket.socket:
        """Connect from the capture's port; from any other if an earlier stream still holds it."""
        try:
            return self._connect(key.client, key.destination)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
        with self._counting:
            self._replayed.moved.add(key)
        return self._connect(Endpoint(key.client.address, 0), key.destination)

    def _connect(self, client: Endpoint, destination: Endpoint) -> socket.socket:
        with ExitStack() as closing:
            stream = closing.enter_context(self._tcp(client))
            self._door.connect(stream, destination)
            closing.pop_all()
        return stream

    def _hear_stream(self, stream: socket.socket, key: FlowKey, end_s: float) -> None:
        """Count answers until a moment, or the stream's end."""
        while (left_s := end_s - time.monotonic()) > 0:
            stream.settimeout(left_s)
            try:
                octets = stream.recv(65_536)
            except TimeoutError:
                return
            if not octets:
                return
            with self._counting:
                self._replayed.answers[key] += 1
