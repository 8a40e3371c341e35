"""One direction of a stream, moved by the kernel.  Owns: Splice.
Knows: splice(2); Twisted's IReadDescriptor, IWriteDescriptor, IPullProducer.
Never: verdicts, how much was moved already, the other direction.

Its octets go from socket to pipe to socket and never come here.  What it does is what the source's
doRead and the target's doWrite do while they are its own; all else stays with the two transports:
they learn of an end and of a reset as ever, and half-close, close and abort as ever.

1. The source is paused until all that was written to the target has left.
2. Reading fills the pipe, and moves it on at once.  While the pipe holds anything the source is
   paused, so a stalled reader's bytes wait in its peer's kernel.
3. Writing empties the pipe, and then does what a transport does that has written all: it stops, or
   half-closes, or closes."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from typing import Protocol, cast

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Connection

from gateway.listeners.pipes import Pipe, Pipes
from gateway.listeners.stream_sides import Side

# Before others get a turn: octets, and fillings of the pipe, which may be of few octets each.  With
# one filling a turn throughput is some 0.7 of what it is with 16; more octets gain little.
_FILLING_LEN = 1024 * 1024
_TURN_LEN = 2 * _FILLING_LEN
_TURN_FILLINGS = 16
# What only says that these octets cannot be spliced.  EAGAIN: the socket is readable and yields
# nothing, as before urgent data (RFC 9293 section 3.8.5); asking again would be a busy loop.
_UNABLE = (errno.EAGAIN, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)

Do = Callable[[], BaseException | None]


class _Descriptor(Protocol):
    """The part of twisted.internet.tcp.Connection that is used here."""

    doRead: Do
    doWrite: Do

    def fileno(self) -> int: ...
    def startWriting(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool, /) -> None: ...
    def unregisterProducer(self) -> None: ...


def is_plain(side: Side) -> bool:
    """Whether it is the kernel's socket and nothing else: no tunnel's stream, no TLS."""
    return isinstance(side.transport, Connection) and not side.transport.TLS


class Splice:
    """Moves one direction, until it has ended or cannot be spliced any more."""

    def __init__(
        self,
        source: Side,
        target: Side,
        pipes: Pipes,
        *,
        moved: Callable[[int], None],
        unable: Callable[[], None],
    ) -> None:
        """Make it, without a pipe.

        Args:    source, target: plain ones; moved: gets how many octets were read each time;
                 unable: is called when the source's octets are to be copied from now on.
        """
        self._source = source
        self._in = cast(_Descriptor, source.transport)
        self._out = cast(_Descriptor, target.transport)
        self._pipes = pipes
        self._moved, self._unable = moved, unable
        self._pipe: Pipe | None = None
        self._held_len = 0
        self._is_waiting = False
        self._read_in, self._write_out = self._in.doRead, self._out.doWrite

    def begin(self) -> bool:
        """Take over, once what was written to the target has left; False: there is no pipe.

        Something must have been written to the target just now.
        """
        self._pipe = self._pipes.open()
        if self._pipe is None:
            return False
        self._source.pauseProducing()
        self._source.stop_producing()
        self._out.registerProducer(self, False)
        return True

    def resumeProducing(self) -> None:
        """IPullProducer API: called when it is registered, and when all that was written left."""
        if not self._is_waiting:
            self._is_waiting = True
            return
        self._out.unregisterProducer()
        if self._source.has_ended or self._source.is_lost:
            self.close()
            self._out.startWriting()  # it may have been told to half-close meanwhile
            return
        self._in.doRead, self._out.doWrite = self._read, self._write
        self._source.resumeProducing()

    def stopProducing(self) -> None:
        """IPullProducer API: the target is gone; `close` follows."""

    def close(self) -> None:
        """Give the pipe back, with what is in it, and reading and writing too; may be repeated."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            self._pipes.close(pipe)
            self._held_len = 0
            self._in.doRead, self._out.doWrite = self._read_in, self._write_out

    def _read(self) -> BaseException | None:
        """IReadDescriptor API (doRead)."""
        if self._pipe is None or self._held_len:
            return None
        turn_len = 0
        for filling in range(_TURN_FILLINGS):
            try:
                length = _move(self._in.fileno(), self._pipe.into, _FILLING_LEN)
            except OSError as error:
                if error.errno not in _UNABLE:
                    return CONNECTION_LOST
                return None if filling else self._give_up()
            if not length:
                return CONNECTION_DONE
            self._moved(length)
            self._held_len = length
            turn_len += length
            if not self._pass_on(self._pipe) or turn_len >= _TURN_LEN:
                return None
        return None

    def _pass_on(self, pipe: Pipe) -> bool:
        """Move on what was just read; False: not all of it, and the source is paused."""
        # An error of the target is no error of the source: the target's writing meets it again.
        with contextlib.suppress(OSError):
            self._empty(pipe)
        if self._held_len:
            self._source.pauseProducing()
            self._out.startWriting()
        return not self._held_len

    def _write(self) -> BaseException | None:
        """IWriteDescriptor API (doWrite)."""
        if self._pipe is not None and self._held_len:
            try:
                self._empty(self._pipe)
            except OSError:
                return CONNECTION_LOST
            if self._held_len:
                return None
            self._source.resumeProducing()
        if self._source.has_ended or self._source.is_lost:
            self.close()
        return self._write_out()

    def _empty(self, pipe: Pipe) -> None:
        """Move on what the pipe holds, as far as there is room for it.

        Raises:  OSError: the target is gone.
        """
        with contextlib.suppress(BlockingIOError):
            self._held_len -= _move(pipe.out_of, self._out.fileno(), self._held_len)

    def _give_up(self) -> BaseException | None:
        """Copy from now on; the pipe is empty."""
        self.close()
        self._unable()
        return self._read_in()


def _move(source: int, target: int, length: int) -> int:
    return os.splice(source, target, length, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
