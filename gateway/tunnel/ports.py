"""What this room asks of the others.  Owns: the Protocols Gate and Reach.
Knows: nothing of who fulfils them.  Never: policy, sockets."""

from __future__ import annotations

from typing import Protocol

from gateway.model import Endpoint, FlowKey, Verdict


class Gate(Protocol):
    """The exit's own policy."""

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        """Say what may happen.

        Args:    key: from the gateway's endpoint to the destination that was asked for; payload:
                 one datagram, the first octets of a stream, or None when the flow is asked for.
        Raises:  GatewayError: in doubt; whoever catches it blocks.
        """
        ...


class Reach(Protocol):
    """Where a destination is really dialled."""

    def address(self, destination: Endpoint) -> Endpoint:
        """Give the address to dial: the destination itself in production.

        Raises:  CarryError: not to be dialled.
        """
        ...


class Direct:
    """Every destination is dialled where it is."""

    def address(self, destination: Endpoint) -> Endpoint:
        """Give the destination."""
        return destination
