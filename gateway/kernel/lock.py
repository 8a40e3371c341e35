"""The lock on a table.  Owns: that only one gateway keeps a table of one name.
Knows: abstract UNIX sockets (unix(7)), which belong to a network namespace as tables do, and go
with their process.  Never: the table."""

from __future__ import annotations

import errno
import socket

from gateway.errors import CarryError


class Lock:
    """Held from `take` to `release` or the process's end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._socket: socket.socket | None = None

    def take(self) -> None:
        """Take it; nothing, if it is ours already.

        Raises:  CarryError: another process has it.
        """
        if self._socket is not None:
            return
        held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            held.bind(f"\0rtc-gateway/{self._name}")
        except OSError as error:
            held.close()
            if error.errno != errno.EADDRINUSE:
                raise CarryError(self._name, f"no lock: {error.strerror}") from error
            raise CarryError(self._name, "another gateway keeps the table of this name") from None
        self._socket = held

    def release(self) -> None:
        """Give it back; may be called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
