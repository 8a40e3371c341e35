"""What a proxy is asked before a stream is open.  Owns: the Protocol Asking, Login.
Knows: nothing of any one proxy.  Never: sockets, files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are, to a proxy."""

    username: bytes
    password: bytes = field(repr=False)


class Asking(Protocol):
    """One conversation with a proxy, octets in and octets out."""

    @property
    def is_done(self) -> bool:
        """Whether the proxy said yes, and the stream begins."""

    @property
    def rest(self) -> bytes:
        """What came behind the proxy's answer: the destination's first octets."""

    def begin(self) -> bytes:
        """Give what is said first."""

    def receive(self, data: bytes) -> bytes:
        """Read what the proxy said; give what is said next.

        Raises:  CarryError: it said no, or nothing that can be read.
        """
