"""What a listener needs of the world.  Owns: the interfaces that service fits together, Wiring.
Knows: the words of model, Twisted's names.  Never: an implementation of any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint

from gateway.listeners.limits import Limits
from gateway.listeners.reactor import Reactor
from gateway.model import Endpoint, FlowKey, Verdict


class Gate(Protocol):
    """Who decides.  It always answers: doubt is a block, never an exception."""

    @property
    def epoch_number(self) -> int:
        """The number of the policy in force: what was judged by another is to be judged again."""

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        """Judge one datagram, or one stream.

        Every datagram from a client is judged.  A stream is judged with None once its destination
        is known, and again with its first bytes if that verdict is not `settled`.

        Args:    payload: the whole datagram; the first bytes of the stream; None: not seen yet.
                 names: what the client called the destination, lower case, no final dot.
        """

    def wants_more(self, first: bytes) -> bool:
        """Tell whether the first bytes of a stream are too few to recognise it."""

    def bars(self, client: Endpoint, name: str) -> Verdict | None:
        """Tell whether a name alone is forbidden: it must not even be resolved.

        Args:    name: lower case, no final dot.
        Returns: the verdict that blocks; None: resolve it.
        """

    def not_carried(self, key: FlowKey, reason: str) -> None:
        """Learn that a verdict could not be carried out, or a datagram it let pass not be sent."""

    def forget(self, key: FlowKey) -> None:
        """Learn that a TCP flow, or a UDP session's use of one destination, has ended."""


class UdpFlow(Protocol):
    """One destination's datagrams through a tunnel."""

    def send(self, payload: bytes) -> bool:
        """Send one datagram; False if it was dropped: too long, or the flow is closed.

        Raises:  CarryError: it must not be sent, and was not.
        """

    @property
    def unsent(self) -> int:
        """Datagrams that it took and dropped when the exit refused it."""

    def close(self) -> None:
        """Give the flow up; may be called twice."""


class Carrier(Protocol):
    """An exit that is reached by a tunnel."""

    def open_udp(
        self,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> UdpFlow:
        """Open a flow to one destination.

        Args:    on_datagram: gets each answer; on_closed: gets, once, why the flow ended, if not
                 by its close().
        Raises:  CarryError: the exit is down or full.
        """

    def stream_endpoint(self, destination: Endpoint) -> IStreamClientEndpoint:
        """Give what connects to a TCP destination.

        Its transports support what reactor.StreamTransport lists; its Deferred may fail with
        CarryError.

        Raises:  CarryError: the exit is down or carries no streams.
        """


class Reach(Protocol):
    """Where the direct path really dials: identity in production, a stand-in in the demo."""

    def address(self, destination: Endpoint) -> Endpoint:
        """Map the destination that was asked for and judged to the one that is dialled.

        Raises:  CarryError: it must not be dialled.
        """


class Routes(Protocol):
    """The ways out, by the names that verdicts use."""

    @property
    def reach(self) -> Reach:
        """The direct path."""

    def carrier(self, target: str | None) -> Carrier:
        """Find the exit of a wrap verdict: a name, or "nearest" (None means that too).

        Raises:  CarryError: unknown, or none is up, or what goes there is not encrypted.
        """

    def rerouted(self, target: str) -> Carrier:
        """Find the exit of a reroute verdict, which need not encrypt.

        Raises:  CarryError: unknown, or none is up.
        """

    def scrubbed(self, target: str, client: Endpoint) -> Carrier:
        """Find the same exit, to be given pseudonyms instead of a client's identifiers.

        Raises:  CarryError: unknown, none is up, or there is no key.
        """

    def relay(self, target: str) -> Endpoint:
        """Find the address of a reroute's relay.

        Raises:  CarryError: no relay has this name.
        """


class Resolver(Protocol):
    """Who resolves the names that clients send."""

    def resolve(self, name: str) -> Deferred[tuple[bytes, ...]]:
        """Resolve a name to packed addresses, 4 or 16 octets each; fails with CarryError."""


class Listener(Protocol):
    """One front door, as service sees it."""

    def listen(self) -> Endpoint:
        """Open the door; give the endpoint it is bound to.

        Raises:  twisted.internet.error.CannotListenError: the address is taken or not ours.
        """

    def stop(self) -> Deferred[None]:
        """Stop accepting and close everything; fires when every socket is closed."""

    def rejudge(self) -> None:
        """Judge every flow by the policy that has just come into force; end what it forbids."""

    @property
    def counters(self) -> Mapping[str, int]:
        """What was carried and what was dropped so far, by name (see tally)."""

    @property
    def packets(self) -> Mapping[str, int]:
        """Where clients' datagrams went so far, by name (see packets); empty: none came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What service plugs into every listener."""

    reactor: Reactor
    gate: Gate
    routes: Routes
    resolver: Resolver
    limits: Limits = field(default_factory=Limits)
    apart: Callable[[FlowKey], Routes | None] = lambda key: None
    """Gives the ways out of a flow of the gateway's own, a canary's; None: it is a client's."""
    on_round_trip: Callable[[Endpoint, float], None] = lambda to, took_s: None
    """Told of each answered ping that went directly: its destination, and what it took, s."""
