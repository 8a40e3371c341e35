"""Ways out that lead nowhere.  Owns: Nowhere: it says which way was asked for, and opens none.
Knows: Routes.  Never: a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IStreamClientEndpoint

from gateway.errors import CarryError
from gateway.model import Endpoint


class Nowhere:
    """The ways of who must not leave, a canary (Routes, Reach and Carrier API)."""

    def __init__(self, took: Callable[[str], None]) -> None:
        """Begin.

        Args:    took: is told the way that was asked for: "allow", "reroute" or "wrap".
        """
        self._took = took

    @property
    def reach(self) -> Nowhere:
        """Routes API."""
        return self

    def address(self, destination: Endpoint) -> Endpoint:
        """Reach API."""
        raise self._refused("allow")

    def relay(self, target: str) -> Endpoint:
        """Routes API."""
        raise self._refused("reroute")

    def rerouted(self, target: str) -> Nowhere:
        """Routes API."""
        raise self._refused("reroute")

    def carrier(self, target: str | None) -> Nowhere:
        """Routes API."""
        return self

    def scrubbed(self, target: str, client: Endpoint) -> Nowhere:
        """Routes API."""
        return self.carrier(target)

    def open_udp(
        self,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> _Hole:
        """Carrier API."""
        return _Hole(self._took)

    def stream_endpoint(self, destination: Endpoint) -> IStreamClientEndpoint:
        """Carrier API."""
        return cast(IStreamClientEndpoint, _DeadEnd(self._took))

    def _refused(self, way: str) -> CarryError:
        self._took(way)
        return CarryError(way, "a canary is sent nowhere")


class _DeadEnd:
    """Connects nobody, as a destination that refuses does (IStreamClientEndpoint)."""

    def __init__(self, took: Callable[[str], None]) -> None:
        self._took = took

    def connect(self, protocolFactory: object) -> Deferred[object]:
        self._took("wrap")
        refused = ConnectionRefusedError("a canary is sent nowhere")  # type: ignore[no-untyped-call]  # Twisted has no type for it
        return fail(refused)


class _Hole:
    """A tunnel's flow that takes everything, and says so each time (UdpFlow)."""

    unsent = 0

    def __init__(self, took: Callable[[str], None]) -> None:
        self._took = took

    def send(self, payload: bytes) -> bool:
        self._took("wrap")
        return True

    def close(self) -> None:
        """UdpFlow API."""
