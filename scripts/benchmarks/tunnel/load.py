"""Datagrams that are sent and come back.  Owns: flows, windows, paces, round trips.
Knows: UDP sockets.  Never: what is between the two ends.

A datagram begins with its flow's number and its own; the rest is `FILL`, which nothing recognises.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from gateway.model import Endpoint

_HEAD = struct.Struct("!HI")
_FILL = b"\x9d"
"""An octet that no signature begins with would do; this one looks like nothing at all."""
_LOST_S = 1.0
"""What has not come back by then is sent anew, and counted."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one trial."""

    answered: int
    """Round trips: each is two datagrams for whoever stands between."""
    lost: int
    took_s: float
    trips_s: tuple[float, ...]
    """Each round trip's time; of paced trials only."""


class Flows:
    """Some flows to one address, each from a socket of its own."""

    def __init__(self, to: Endpoint, count: int, octets: int) -> None:
        self._to = to.host, to.port
        self._rest = _FILL * (octets - _HEAD.size)
        self._sockets = [self._open(number) for number in range(count)]
        self._poll = select.epoll()
        self._by_fd = {one.fileno(): number for number, one in enumerate(self._sockets)}
        for fd in self._by_fd:
            self._poll.register(fd, select.EPOLLIN)
        self._number = 0

    @staticmethod
    def _open(number: int) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setblocking(False)
        # More clients than one, for a gateway bounds what one client may hold.
        opened.bind((f"127.0.1.{1 + number % 200}", 0))
        return opened

    def close(self) -> None:
        """Close the sockets."""
        self._poll.close()
        for one in self._sockets:
            one.close()

    def open(self, within_s: float) -> bool:
        """Send on each flow until it has been answered once; say whether all were in time."""
        waiting = set(range(len(self._sockets)))
        deadline = time.monotonic() + within_s
        while waiting and time.monotonic() < deadline:
            for flow in sorted(waiting)[:50]:
                self._send(flow)
            until = time.monotonic() + 0.2
            while waiting and (left_s := until - time.monotonic()) > 0:
                waiting.difference_update(flow for flow, _ in self._answers(left_s))
        return not waiting

    def closed_loop(self, window: int, for_s: float) -> Result:
        """Keep so many datagrams under way, and send another for each that comes back."""
        lost = answered = 0
        flying: set[int] = set()
        begin = heard = time.perf_counter()
        for number in range(window):
            flying.add(self._send(number % len(self._sockets)))
        while (now := time.perf_counter()) - begin < for_s:
            if now - heard > _LOST_S:
                lost += len(flying)
                flying = {self._send(number % len(self._sockets)) for number in range(window)}
                heard = now
            for flow, number in self._answers(0.05):
                heard = now
                if number in flying:
                    flying.remove(number)
                    answered += 1
                    flying.add(self._send(flow))
        took_s = time.perf_counter() - begin
        self._drain()
        return Result(answered, lost, took_s, ())

    def paced(self, rate_hz: float, for_s: float) -> Result:
        """Send at a steady rate, flow after flow, whatever comes back."""
        sent_s: dict[int, float] = {}
        trips_s: list[float] = []
        sent = 0
        begin = time.perf_counter()
        while (now := time.perf_counter() - begin) < for_s:
            while sent < now * rate_hz:
                at = time.perf_counter()
                sent_s[self._send(sent % len(self._sockets))] = at
                sent += 1
            wait_s = max(sent / rate_hz - (time.perf_counter() - begin), 0.0)
            trips_s.extend(self._trips(sent_s, wait_s))
        took_s = time.perf_counter() - begin
        trips_s.extend(self._trips(sent_s, 0.2))
        return Result(len(trips_s), len(sent_s), took_s, tuple(trips_s))

    def _trips(self, sent_s: dict[int, float], wait_s: float) -> Iterator[float]:
        for _, number in self._answers(wait_s):
            at = sent_s.pop(number, None)
            if at is not None:
                yield time.perf_counter() - at

    def _send(self, flow: int) -> int:
        self._number += 1
        head = _HEAD.pack(flow, self._number & 0xFFFFFFFF)
        self._sockets[flow].sendto(head + self._rest, self._to)
        return self._number

    def _answers(self, wait_s: float) -> Iterator[tuple[int, int]]:
        # epoll counts in milliseconds: what is less is waited for by select.
        if wait_s < 0.002:
            select.select([self._poll], [], [], wait_s)
            wait_s = 0.0
        for fd, _ in self._poll.poll(wait_s):
            one = self._sockets[self._by_fd[fd]]
            while True:
                try:
                    datagram = one.recv(2048)
                except BlockingIOError:
                    break
                yield _HEAD.unpack_from(datagram)

    def _drain(self) -> None:
        """Let what is under way come in, so that it is not the next trial's."""
        until = time.monotonic() + 0.2
        while (left_s := until - time.monotonic()) > 0:
            for _ in self._answers(left_s):
                pass


@contextmanager
def flows(to: Endpoint, count: int, octets: int) -> Iterator[Flows]:
    """Open flows and close them.

    Raises:  RuntimeError: not all were answered.
    """
    opened = Flows(to, count, octets)
    try:
        if not opened.open(30.0):
            raise RuntimeError(f"of {count} flows to {to} not all were answered")
        yield opened
    finally:
        opened.close()
