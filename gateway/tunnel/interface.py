"""An exit that is a network interface.  Owns: whether it is up, ending its flows when it is not.
Knows: IStreamClientEndpoint, Twisted's TCP endpoints.  Never: routing tables, which flow takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import AF_INET, AF_INET6
from typing import cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectBindError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

# zope ships no types; its marker says what the class is.
from zope.interface import implementer

from gateway.errors import CarryError
from gateway.model import Endpoint
from gateway.tunnel.bound import BoundFlow, Dialler, Means, Reactor, family_of
from gateway.tunnel.link import Link

_log = Logger(namespace="gateway.tunnel")


class InterfaceExit:
    """One exit, as the gateway sees it: up or down, and flows through it while it is up.

    It has client.Tunnel's face: start, stop, up, rtt_s, sentence, counters, open_udp,
    stream_endpoint.
    """

    def __init__(
        self,
        reactor: Reactor,
        name: str,
        interface: str,
        *,
        on_change: Callable[[bool, str], None] = lambda is_up, sentence: None,
        connect_s: float = 10.0,
        link: Callable[[str], Link] = Link,
    ) -> None:
        """Prepare; it is down before start().

        Args:    name: the exit's, for people; on_change: told (up, one sentence) at each change;
                 connect_s: for a TCP destination to answer; link: what looks at the interface.
        Raises:  AddressError: no interface can have this name.
        """
        self._means = Means(reactor, name, link(interface))
        self._on_change = on_change
        self._connect_s = connect_s
        self._sentence = "not started"

    @property
    def up(self) -> bool:
        """Can a flow be opened?  The kernel is asked: it is so now."""
        return self._means.link.fault() is None

    @property
    def rtt_s(self) -> None:
        """An interface does not say how far it leads."""
        return None

    @property
    def sentence(self) -> str:
        """What was last said about it."""
        return self._sentence

    @property
    def counters(self) -> dict[str, int]:
        """What happened since the start: counts by name, names that never happened absent."""
        return dict(self._means.counters)

    def start(self) -> None:
        """Watch the interface, which need not be there yet; errors go to the log and on_change."""
        try:
            self._means.link.watch(self._means.reactor, self._look)
        except OSError as error:
            self._means.link.unwatch()
            self._say(False, f"interfaces cannot be watched: {error.strerror}")
        else:
            self._look()

    def stop(self) -> Deferred[None]:
        """End every flow; fires when every socket is closed."""
        self._means.link.unwatch()
        for one in tuple(self._means.open):
            one.cut("stopped")
        self._say(False, "stopped")
        return self._means.sockets.all_closed()

    def open_udp(
        self,
        destination: Endpoint,
        on_datagram: Callable[[bytes], None],
        on_closed: Callable[[str], None],
    ) -> BoundFlow:
        """Open a UDP flow, from a socket and a port of its own.

        Args:    on_datagram: gets each payload that comes from the destination; on_closed: gets the
                 reason, once, when the flow ends otherwise than by its close().
        Raises:  CarryError: the interface is down, or the kernel has no socket that is bound to it.
        """
        self._check(destination)
        try:
            flow = BoundFlow(self._means, destination, on_datagram, on_closed)
        except OSError as error:
            raise CarryError(self._means.name, self._no_socket(error.strerror)) from error
        self._means.counters["udp_flows"] += 1
        return flow

    def stream_endpoint(self, destination: Endpoint) -> IStreamClientEndpoint:
        """Give what connects to a TCP destination; its transports are Twisted's own.

        Its Deferred fails with CarryError where the interface is the reason, and otherwise as those
        of TCP4ClientEndpoint.
        Raises:  CarryError: the interface is down.
        """
        self._check(destination)
        return cast(IStreamClientEndpoint, _Endpoint(self, destination))

    def connect(self, destination: Endpoint, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, as the endpoint does."""
        try:
            self._check(destination)
        except CarryError as error:
            return fail(error)
        kind = TCP4ClientEndpoint if len(destination.address) == 4 else TCP6ClientEndpoint
        endpoint = kind(Dialler(self._means), destination.host, destination.port, self._connect_s)
        self._means.counters["tcp_flows"] += 1
        connected: Deferred[IProtocol] = endpoint.connect(factory)
        return connected.addErrback(self._explain)

    def _check(self, destination: Endpoint) -> None:
        link = self._means.link
        fault = link.fault() or link.lacks(family_of(destination))
        if fault is not None:
            raise CarryError(self._means.name, fault)

    def _explain(self, failure: Failure) -> Failure:
        """Tell what the interface is the reason of from what the destination is."""
        error = failure.value
        if isinstance(error, ConnectBindError):
            raise CarryError(self._means.name, self._no_socket(error.args[0])) from error
        return failure

    def _no_socket(self, why: object) -> str:
        return f"no socket that is bound to {self._means.link.interface}: {why}"

    def _look(self) -> None:
        """End what the interface carries no more."""
        link = self._means.link
        fault = link.fault()
        without = {family: fault or link.lacks(family) for family in (AF_INET, AF_INET6)}
        for one in tuple(self._means.open):
            if one.bound is None:
                continue  # one that was cut before has closed it
            reason = without[one.bound.family] or link.lost(one.bound)
            if reason is not None:
                self._means.counters["flows_lost"] += 1
                one.cut(reason)
        self._say(fault is None, fault or "up")

    def _say(self, is_up: bool, sentence: str) -> None:
        if sentence == self._sentence:
            return
        self._sentence = sentence
        log = _log.info if is_up or sentence == "stopped" else _log.warn
        log("exit {exit}: {sentence}", exit=self._means.name, sentence=sentence)
        self._on_change(is_up, f"exit {self._means.name}: {sentence}")


@implementer(IStreamClientEndpoint)
class _Endpoint:
    """A TCP destination behind the interface."""

    def __init__(self, carrier: InterfaceExit, destination: Endpoint) -> None:
        self._carrier = carrier
        self._destination = destination

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """IStreamClientEndpoint API."""
        return self._carrier.connect(self._destination, factory)
