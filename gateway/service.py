"""The running gateway and the running exit.  Owns: building every part and joining them.
Knows: all rooms; the reactor is an argument.  Never: deciding anything itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, assert_never

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from twisted.logger import Logger
from zope.interface import implementer

from gateway import config as sections
from gateway.config import Config, MasqueExit
from gateway.core import Core, Reach, World
from gateway.errors import AddressError, CarryError, InputError, Problem
from gateway.flow.table import Observer
from gateway.listeners.forward import TcpForwardListener, UdpForwardListener
from gateway.listeners.http_connect import HttpConnectListener
from gateway.listeners.interfaces import Carrier, Listener, Wiring
from gateway.listeners.limits import Limits
from gateway.listeners.socks5 import Socks5Listener
from gateway.model import Endpoint, pack
from gateway.tunnel.checks import check_credentials
from gateway.tunnel.client import Tunnel
from gateway.tunnel.credentials import Credentials
from gateway.tunnel.exit import Exit
from gateway.tunnel.masque import ExitAddress

_log = Logger(namespace="gateway.service")


class Routes:
    """The ways out, by the names that verdicts use."""

    def __init__(
        self, reach: Reach, tunnels: Mapping[str, Tunnel], relays: Mapping[str, Endpoint]
    ) -> None:
        self.reach = reach
        self._tunnels = tunnels
        self._relays = relays

    def carrier(self, target: str | None) -> Carrier:
        """Give the exit of a name, or for "nearest" the first that is up.

        Raises:  CarryError: no exit has this name, or none is up.
        """
        if target is None or target == "nearest":
            for tunnel in self._tunnels.values():
                if tunnel.up:
                    return tunnel
            raise CarryError("nearest", "no exit is up" if self._tunnels else "there is no exit")
        try:
            return self._tunnels[target]
        except KeyError:
            raise CarryError(target, "no exit has this name") from None

    def relay(self, target: str) -> Endpoint:
        """Give a relay's address.

        Raises:  CarryError: no relay has this name.
        """
        try:
            return self._relays[target]
        except KeyError:
            raise CarryError(target, "no relay has this name") from None


class Gateway:
    """A gateway: listeners in front, tunnels behind, the core between."""

    def __init__(
        self, reactor: Any, config: Config, world: World, observers: Iterable[Observer] = ()
    ) -> None:
        """Build everything; open nothing yet.

        Raises:  InputError, DataError: the configuration or what it names is refused.
        """
        problems = [*_listener_faults(config), *_exit_faults(config)]
        if problems:
            raise InputError(problems)
        self.core = Core(reactor, config, world, observers)
        self.tunnels = {
            one.name: Tunnel(
                reactor,
                ExitAddress(one.name, one.url),
                _credentials(config, one),
                world.reach,
                random=Random(world.random_octets(16)),
            )
            for one in config.exits
        }
        relays = {one.name: Endpoint.parse(one.address) for one in config.relays}
        wiring = Wiring(
            reactor=reactor,
            gate=self.core.table,
            routes=Routes(world.reach, self.tunnels, relays),
            resolver=NameResolver(reactor),
            limits=Limits(udp_idle_timeout_s=config.limits.udp_idle_timeout_s),
        )
        self.listeners: list[Listener] = [_listener(one, wiring) for one in config.listeners]
        self.bound: list[Endpoint] = []
        """Where each listener listens, once started; in the configuration's order."""
        self.core.on_adopted += [listener.rejudge for listener in self.listeners]
        if not self.tunnels and any(self.core.table.epoch.policy.targets()):
            _log.warn("there is no exit: what the policy wraps is blocked")

    def start(self) -> None:
        """Open the listeners and start the tunnels.

        Raises:  InputError: a listener that cannot be opened; those opened before are closed.
        """
        config = self.core.config
        for at, listener in enumerate(self.listeners):
            try:
                self.bound.append(listener.listen())
            except CannotListenError as error:
                self.stop()
                reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
                says = f"cannot listen on {config.listeners[at].address}: {reason}"
                raise InputError([config.problem("listeners", at, "address", says=says)]) from error
            section = config.listeners[at]
            _log.info("{kind} on {at}", kind=section.kind, at=str(self.bound[-1]))
        for tunnel in self.tunnels.values():
            tunnel.start()
        self.core.start()

    def stop(self) -> Deferred[object]:
        """Stop accepting, close every flow and tunnel; fires when every socket is closed."""
        closing = [listener.stop() for listener in self.listeners[: len(self.bound)]]
        return _then(DeferredList(closing, consumeErrors=True), self._stop_tunnels, self._stopped)

    def _stop_tunnels(self, result: object) -> Deferred[object]:
        return _then(DeferredList([tunnel.stop() for tunnel in self.tunnels.values()]))

    def _stopped(self, result: object) -> object:
        self.core.stop()
        _log.info("stopped")
        return result


class ExitServer:
    """An exit: the far end of a tunnel, with a policy of its own."""

    def __init__(
        self, reactor: Any, config: Config, world: World, observers: Iterable[Observer] = ()
    ) -> None:
        """Build everything; open nothing yet.

        Raises:  InputError, DataError: the configuration or what it names is refused.
        """
        section = config.exit
        if section is None:
            raise InputError([config.problem(says='an exit needs "exit" with address and keys')])
        problems = list(_credential_faults(config, ("exit",), section))
        if problems:
            raise InputError(problems)
        self.core = Core(reactor, config, world, observers)
        self._exit = Exit(
            reactor,
            Endpoint.parse(section.address),
            _credentials(config, section),
            self.core.table,
            world.reach,
            gateways=section.gateways,
        )
        self.core.on_adopted.append(self._exit.rejudge)
        self.bound: Endpoint | None = None

    def start(self) -> None:
        """Open the exit's port.

        Raises:  InputError: it cannot be opened, or a certificate cannot be used.
        """
        config = self.core.config
        try:
            self.bound = self._exit.listen()
        except CarryError as error:
            self.core.stop()
            raise InputError([config.problem("exit", "address", says=str(error))]) from error
        self.core.start()

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened since the start, by name."""
        return self._exit.counters

    def stop(self) -> Deferred[object]:
        """Say goodbye to every gateway; fires when every socket is closed."""
        return _then(self._exit.stop(), self._stopped)

    def _stopped(self, result: object) -> object:
        self.core.stop()
        _log.info("stopped")
        return result


class NameResolver:
    """Resolves names by the reactor's resolver, which asks what the host is set up to ask."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def resolve(self, name: str) -> Deferred[tuple[bytes, ...]]:
        """Give a name's addresses, packed; fails with CarryError where it has none."""
        found: Deferred[tuple[bytes, ...]] = Deferred()
        self._reactor.nameResolver.resolveHostName(_Receiver(name, found), name)
        return found


@implementer(IResolutionReceiver)
class _Receiver:
    """Gathers the addresses of one name."""

    def __init__(self, name: str, found: Deferred[tuple[bytes, ...]]) -> None:
        self._name = name
        self._found = found
        self._addresses: list[bytes] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """IResolutionReceiver API."""

    def addressResolved(self, address: Any) -> None:
        """IResolutionReceiver API."""
        try:
            packed = pack(address.host)
        except AddressError:
            return  # a link-local address with a zone: of no use here
        if packed not in self._addresses:
            self._addresses.append(packed)

    def resolutionComplete(self) -> None:
        """IResolutionReceiver API."""
        if self._found.called:
            return
        if self._addresses:
            self._found.callback(tuple(self._addresses))
        else:
            self._found.errback(CarryError(self._name, "the name has no address"))


def _then(first: Deferred[Any], *steps: Callable[[object], object]) -> Deferred[object]:
    """Go through steps one after another, whatever came of those before."""
    done: Deferred[object] = first
    for step in steps:
        done = done.addBoth(step)
    return done


def faults(config: Config) -> list[Problem]:
    """Find what a configuration names and cannot be used, short of opening a socket."""
    if config.exit is not None:
        return list(_credential_faults(config, ("exit",), config.exit))
    return [*_listener_faults(config), *_exit_faults(config)]


def _listener_faults(config: Config) -> Iterable[Problem]:
    if not config.listeners:
        yield config.problem(says='a gateway needs "listeners"')
    seen: set[tuple[str, str]] = set()
    for at, one in enumerate(config.listeners):
        transport = one.transport if isinstance(one, sections.ForwardListener) else "tcp"
        if (transport, one.address) in seen and not one.address.endswith(":0"):
            says = f"{one.address} is another listener's already"
            yield config.problem("listeners", at, "address", says=says)
        seen.add((transport, one.address))


def _exit_faults(config: Config) -> Iterable[Problem]:
    """Find exits whose address or credentials cannot be used."""
    for at, one in enumerate(config.exits):
        try:
            ExitAddress(one.name, one.url)
        except AddressError as error:
            yield config.problem("exits", at, "url", says=str(error))
        yield from _credential_faults(config, ("exits", at), one)


def _credential_faults(
    config: Config, steps: tuple[str | int, ...], section: MasqueExit | sections.ExitServer
) -> Iterable[Problem]:
    try:
        check_credentials(_credentials(config, section))
    except CarryError as error:
        yield config.problem(*steps, "certificate", says=error.what)


def _credentials(config: Config, section: MasqueExit | sections.ExitServer) -> Credentials:
    return Credentials(
        ca=config.path(section.ca),
        certificate=config.path(section.certificate),
        key=config.path(section.key),
    )


def _listener(section: sections.Listener, wiring: Wiring) -> Listener:
    address = Endpoint.parse(section.address)
    match section:
        case sections.Socks5Listener():
            return Socks5Listener(address, wiring, section.users)
        case sections.HttpConnectListener():
            return HttpConnectListener(address, wiring)
        case sections.ForwardListener(transport="udp"):
            return UdpForwardListener(address, Endpoint.parse(section.to), wiring)
        case sections.ForwardListener():
            return TcpForwardListener(address, Endpoint.parse(section.to), wiring)
    assert_never(section)
