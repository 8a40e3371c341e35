"""The lab's internet.  Owns: whoever listens at every address and port, and what arrived there.
Knows: nft tproxy, IP_TRANSPARENT, IP_RECVORIGDSTADDR (ip(7)).  Never: what should arrive."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from gateway.model import Endpoint, Transport, canonical
from tests.lab.answers import Answers, Echo
from tests.lab.topology import Lab, Space

# In a namespace of our own any port is as good as another.
_PORT = 9
# What has a way on to another host takes it.  All else is given to the sockets below, which learn
# what it was meant for: the destination stays in the packet, nothing is translated.
_RULES = f"""
table inet lab {{
  chain everyone {{
    type filter hook prerouting priority mangle; policy accept;
    fib daddr oif exists return
    meta nfproto ipv4 meta l4proto {{ tcp, udp }} tproxy ip to :{_PORT} accept
    meta nfproto ipv6 meta l4proto {{ tcp, udp }} tproxy ip6 to :{_PORT} accept
  }}
}}
"""
# linux/in.h and linux/in6.h.
_IPV6_TRANSPARENT = 75
_ORIGINAL = {
    socket.AF_INET: (socket.IPPROTO_IP, 20),  # IP_RECVORIGDSTADDR
    socket.AF_INET6: (socket.IPPROTO_IPV6, 74),  # IPV6_RECVORIGDSTADDR
}
_SO_RCVBUFFORCE = 33
_BUFFER_LEN = 32 * 1024 * 1024
_MAX_STREAMS = 1_000
_STREAM_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """One datagram, or one piece of a stream as it was read."""

    transport: Transport
    source: Endpoint
    destination: Endpoint
    payload: bytes


class Internet:
    """Answers UDP and TCP at every address and port, IPv4 and IPv6, and keeps what arrived."""

    def __init__(
        self, lab: Lab, answers: Answers | None = None, *, max_octets: int = 256 * 1024 * 1024
    ) -> None:
        """Prepare; nobody answers before `start`.

        Args:    answers: what is said; omitted: an echo.  max_octets: what arrives beyond this is
                 answered, and counted as missed.
        """
        self._lab = lab
        self._answers: Answers = answers or Echo()
        self._max_octets = max_octets
        self._octets = 0
        self._arrived: list[Arrival] = []
        self._at: defaultdict[Endpoint, list[Arrival]] = defaultdict(list)
        self._changed = threading.Condition()
        self._bell = -1
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []
        self._streams: set[socket.socket] = set()
        self.missed = 0
        """Arrivals that were not kept, and answers and streams that the kernel or we refused."""

    def __enter__(self) -> Internet:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to answer.

        Raises:  RuntimeError: the kernel takes no tproxy rule.
        """
        done = self._lab.run(Space.INTERNET, ["nft", "-f", "-"], text=_RULES)
        if done.returncode:
            raise RuntimeError(f"nft tproxy is refused: {done.stderr.strip()}")
        self._sockets = self._lab.call(Space.INTERNET, _open)
        self._bell = os.eventfd(0)
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def stop(self) -> None:
        """Answer no more; may be called again."""
        if not self._threads:
            return
        os.eventfd_write(self._bell, 1)
        self._threads[0].join()
        with self._changed:
            for stream in self._streams:
                _shut(stream)
        for thread in self._threads[1:]:
            thread.join()
        for each in self._sockets:
            each.close()
        os.close(self._bell)
        self._threads, self._sockets = [], []

    def arrived(self) -> list[Arrival]:
        """Give what arrived so far, in order."""
        with self._changed:
            return self._arrived[:]

    def arrived_at(self, destination: Endpoint) -> list[Arrival]:
        """Give what arrived so far at one endpoint, in order."""
        with self._changed:
            return self._at[destination][:]

    def count(self, destination: Endpoint) -> int:
        """Give how much arrived so far at one endpoint."""
        with self._changed:
            return len(self._at[destination])

    def wait_quiet(self, silence_s: float = 1.0, timeout_s: float = 15.0) -> None:
        """Wait until nothing has arrived for a while."""
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while self._changed.wait(silence_s) and time.monotonic() < end_s:
                pass

    def _serve(self) -> None:
        self._lab.enter(Space.INTERNET)
        poll = select.poll()
        for descriptor in (self._bell, *(each.fileno() for each in self._sockets)):
            poll.register(descriptor, select.POLLIN)
        doors = {each.fileno(): each for each in self._sockets}
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._bell:
                    return
                door = doors[descriptor]
                hear = self._datagram if door.type == socket.SOCK_DGRAM else self._accept
                with contextlib.suppress(BlockingIOError, ConnectionError):
                    hear(door)  # what made poll() return may be gone: a reset, a bad checksum

    def _datagram(self, door: socket.socket) -> None:
        payload, told, _, sender = door.recvmsg(65_536, socket.CMSG_SPACE(28))
        meant_for = next(octets for level, kind, octets in told if (level, kind) in _CMSGS)
        destination, source = _read_sockaddr(meant_for), Endpoint.of(sender[0], sender[1])
        said = self._keep(Arrival(Transport.UDP, source, destination, payload))
        if not said:
            return
        # A socket for each answer: what is left open would have to be bounded, and closed in time.
        try:
            with _transparent(door.family) as answering:
                answering.bind((destination.host, destination.port))
                for octets in said:
                    answering.sendto(octets, sender)
        except OSError:
            self.missed += 1

    def _accept(self, door: socket.socket) -> None:
        stream, peer = door.accept()
        host, port = stream.getsockname()[:2]
        with self._changed:
            full = len(self._streams) >= _MAX_STREAMS
            self.missed += full
            if full:
                stream.close()
                return
            self._streams.add(stream)
        ends = Endpoint.of(peer[0], peer[1]), Endpoint.of(host, port)
        thread = threading.Thread(target=self._stream, args=[stream, *ends], daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _stream(self, stream: socket.socket, source: Endpoint, destination: Endpoint) -> None:
        """Read one stream to its end.  A thread of its own: nobody waits for who does not read."""
        hear = self._answers.stream(destination)
        with stream:
            try:
                stream.settimeout(_STREAM_TIMEOUT_S)
                while octets := stream.recv(65_536):
                    self._keep(Arrival(Transport.TCP, source, destination, octets))
                    for said in hear(octets):
                        stream.sendall(said)
            except OSError:
                pass  # reset, or silent for too long: what arrived is kept
            finally:
                with self._changed:
                    self._streams.discard(stream)

    def _keep(self, arrival: Arrival) -> Iterable[bytes]:
        """Keep what arrived; give the answers to a datagram."""
        with self._changed:
            if self._octets + len(arrival.payload) > self._max_octets:
                self.missed += 1
            else:
                self._octets += len(arrival.payload)
                self._arrived.append(arrival)
                self._at[arrival.destination].append(arrival)
            self._changed.notify_all()
            if arrival.transport is Transport.UDP:
                return self._answers.datagram(arrival.destination, arrival.payload)
            return ()


_CMSGS = frozenset(_ORIGINAL.values())


def _open() -> list[socket.socket]:
    """Open what hears everything: UDP and TCP, IPv4 and IPv6."""
    doors = []
    for family, original in _ORIGINAL.items():
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            door = _transparent(family, kind)
            door.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_LEN)
            if kind == socket.SOCK_DGRAM:
                door.setsockopt(*original, 1)
            door.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", _PORT))
            if kind == socket.SOCK_STREAM:
                door.listen(1_000)
            door.setblocking(False)
            doors.append(door)
    return doors


def _transparent(family: int, kind: int = socket.SOCK_DGRAM) -> socket.socket:
    """Open a socket that may have any address as its own."""
    opened = socket.socket(family, kind)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        opened.setsockopt(socket.IPPROTO_IP, socket.IP_TRANSPARENT, 1)
    return opened


def _read_sockaddr(octets: bytes) -> Endpoint:
    """Read a sockaddr_in or sockaddr_in6."""
    family = struct.unpack_from("=H", octets)[0]
    port = int.from_bytes(octets[2:4], "big")
    at, size = (8, 16) if family == socket.AF_INET6 else (4, 4)
    return Endpoint(canonical(octets[at : at + size]), port)


def _shut(stream: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side was faster
        stream.shutdown(socket.SHUT_RDWR)
