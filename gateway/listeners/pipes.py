"""The pipes that streams are moved through.  Owns: Pipes: how many there are, their size.
Knows: pipe(7), splice(2).  Never: whose octets are in them."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import dataclass

# Octets.  A pipe holds references to 64 pieces of memory then, and each packet takes at least one:
# the default of 16 is soon full.
_PIPE_LEN = 256 * 1024


@dataclass(frozen=True, slots=True, eq=False)
class Pipe:
    """The two ends of one pipe; neither blocks."""

    out_of: int
    into: int


class Pipes:
    """So many pipes at once, and no more: each takes two of the descriptors that sockets need."""

    def __init__(self, limit: int) -> None:
        """Begin without any."""
        self._left = limit

    def open(self) -> Pipe | None:
        """Open one; None if there are enough, or the system has no more or cannot splice."""
        if self._left <= 0 or not hasattr(os, "splice"):
            return None
        try:
            out_of, into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with contextlib.suppress(OSError):  # then it stays small, and serves too
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _PIPE_LEN)
        self._left -= 1
        return Pipe(out_of, into)

    def close(self, pipe: Pipe) -> None:
        """Close both ends, with what is in it."""
        self._left += 1
        os.close(pipe.out_of)
        os.close(pipe.into)
