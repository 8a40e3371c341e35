"""The queue's socket.  Owns: reading packets in bounded batches, sending verdicts in batches.
Knows: NFQUEUE over netlink; Twisted's IReadDescriptor.  Never: what a verdict rests on.

Nothing here opens: a queue that nobody reads, is full or answers late is a drop in the kernel."""

from __future__ import annotations

import errno
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from gateway.errors import CarryError, WireError
from gateway.kernel import queue_messages as messages
from gateway.kernel.outcomes import Outcomes
from gateway.kernel.queue_messages import Queued, Refused

_log = Logger(namespace="gateway.kernel")

# linux/netlink.h; the socket module has only some of them.
_NETLINK_NETFILTER = 12
_SOL_NETLINK, _NETLINK_NO_ENOBUFS = 270, 5
_SO_RCVBUFFORCE = 33
# Attributes of a packet besides its octets: far below this.
_OVERHEAD_LEN = 1024

Judge = Callable[[Queued], int | None]
"""Gives the answer: messages.DROP, or the mark with which the packet goes on; None: later, by
QueueSocket.answer."""


class Batch(Protocol):
    """Who is told of each batch: what is judged together may be written down together."""

    def begin(self) -> None:
        """A batch begins."""

    def end(self) -> bool:
        """It has been judged, and its answers leave next; False: all of it is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """Bounds of a queue."""

    copied_len: int = 65_535
    """Octets of a packet that are copied: all, for lengths are compared and payloads wrapped."""
    max_packets: int = 16_384
    """Packets that wait at most; more are dropped, and counted by the kernel."""
    batch: int = 128
    """Packets a turn of the reactor: other work waits no longer than their judgement takes."""
    buffer_len: int = 16 << 20
    """Octets of the socket's buffer."""


@implementer(IReadDescriptor)
class QueueSocket:
    """One worker's queues, for a reactor's addReader."""

    def __init__(
        self,
        queues: Iterable[int],
        judge: Judge,
        limits: QueueLimits | None = None,
        batch: Batch | None = None,
    ) -> None:
        """Open the queues; the rules must be there already.

        Raises:  CarryError: another process holds one, or this one may not.
        """
        self.counters: Counter[str] = Counter()
        """Packets, verdicts and what went wrong, by name."""
        self.answered = Outcomes()
        self._limits = limits or QueueLimits()
        self._judge = judge
        self._heads = {queue: messages.verdict_head(queue) for queue in queues}
        self._reader = messages.Reader()
        self._buffer = bytearray(self._limits.copied_len + _OVERHEAD_LEN)
        self._batch = batch
        self._answers: list[tuple[int, int, int]] = []
        """Queue, number and answer of what leaves next."""
        self._is_reading = False
        try:
            self._socket = self._open()
        except OSError as error:
            raise CarryError("nfqueue", f"no netlink socket: {error.strerror}") from error
        try:
            for queue in self._heads:
                self._bind(queue)
        except BaseException:
            self._socket.close()
            raise
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """IFileDescriptor API."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """ILoggingContext API."""
        return "nfqueue"

    def connectionLost(self, reason: Failure) -> None:
        """IFileDescriptor API."""
        self.close()

    def close(self) -> None:
        """Close the queues: what waits in them is dropped.  May be called twice."""
        self._socket.close()

    def doRead(self) -> None:
        """IReadDescriptor API: judge what waits, at most one batch."""
        self._is_reading = True
        if self._batch is not None:
            self._batch.begin()
        try:
            for _ in range(self._limits.batch):
                try:
                    length = self._socket.recv_into(self._buffer)
                except BlockingIOError:
                    break
                except OSError as error:
                    self.counters[f"read {errno.errorcode.get(error.errno or 0, '?')}"] += 1
                    break
                self._read(length)
        finally:
            self._is_reading = False
            if self._batch is not None and not self._batch.end():
                self.counters["dropped unwritten"] += len(self._answers)
                self._answers = [
                    (queue, number, messages.DROP) for queue, number, _ in self._answers
                ]
            self._send()

    @property
    def in_hand(self) -> int:
        """Packets whose answer is to be sent with this batch."""
        return len(self._answers)

    def answer(self, queue: int, number: int, answer: int) -> None:
        """Give the verdict on a packet that was held."""
        self._answers.append((queue, number, answer))
        if not self._is_reading:
            self._send()

    def _read(self, length: int) -> None:
        try:
            queued = self._reader.read(self._buffer, length)
        except WireError:
            self.counters["malformed"] += 1
            return
        if not isinstance(queued, Queued):
            if queued is not None:
                # ENOENT: the packet is gone, with its interface or its queue.
                self.counters[f"refused {errno.errorcode.get(queued.errno, '?')}"] += 1
            return
        try:
            answer = self._judge(queued)
        except Exception:  # whatever it is: the reactor would close the queue of all other flows
            if not self.counters["failed"]:
                _log.failure("a packet could not be judged, and is dropped")
            self.counters["failed"] += 1
            answer = messages.DROP
        self.counters["packets"] += 1
        if answer is not None:
            self._answers.append((queued[0], queued[1], answer))

    def _send(self) -> None:
        if not self._answers:
            return
        heads = self._heads
        octets = b"".join(
            [
                messages.verdict(heads[queue], number, answer)
                for queue, number, answer in self._answers
            ]
        )
        answers, self._answers = self._answers, []
        count = len(answers)
        try:
            self._socket.send(octets)
            self.counters["verdicts"] += count
            self.answered.add(answers)
        except OSError as error:
            # The packets stay unanswered, so they do not pass.
            self.counters[f"send {errno.errorcode.get(error.errno or 0, '?')}"] += count
            self.answered.unsent(count)

    def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        try:
            opened.bind((0, 0))
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, self._limits.buffer_len)
            # A full buffer drops packets, which the kernel counts; it need not say so by an error.
            opened.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        except BaseException:
            opened.close()
            raise
        return opened

    def _bind(self, queue: int) -> None:
        self._socket.settimeout(5.0)
        for octets in messages.bind(queue, self._limits.copied_len, self._limits.max_packets):
            self._socket.send(octets)
            self._acknowledged(queue)

    def _acknowledged(self, queue: int) -> None:
        """Wait for the kernel's answer to a setting; a packet that comes before it is dropped."""
        while True:
            try:
                got = messages.read(self._buffer, self._socket.recv_into(self._buffer))
            except TimeoutError:
                raise CarryError(f"queue {queue}", "the kernel gives no answer") from None
            if isinstance(got, Refused):
                raise CarryError(f"queue {queue}", _reason(got.errno))
            if got is None:
                return
            self._socket.send(messages.verdict(self._heads[got.queue], got.number, messages.DROP))
            self.counters["packets"] += 1
            self.answered.add([(got.queue, got.number, messages.DROP)])


def _reason(number: int) -> str:
    if number == errno.EPERM:
        # The kernel says so too where the queue is another process's.
        return "may not be opened: another process holds it, or CAP_NET_ADMIN is missing"
    if number == errno.EBUSY:
        return "another process holds it"
    return os.strerror(number)
