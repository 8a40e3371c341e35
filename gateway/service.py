"""The running gateway and the running exit.  Owns: building every part and joining them.
Knows: all rooms; the reactor is an argument.  Never: deciding anything itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, assert_never

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from gateway import config as sections
from gateway.canaries import Canaries
from gateway.canaries.doors import DoorPath, Front
from gateway.canaries.paths import Path
from gateway.config import Config, MasqueExit
from gateway.console.attendance import Attendance
from gateway.console.recent import Seen
from gateway.console.status import Door, Process, sentence
from gateway.console.status import Exit as Way
from gateway.core import Core, World
from gateway.errors import AddressError, CarryError, InputError, Problem
from gateway.flow.table import Observer
from gateway.listeners.forward import TcpForwardListener, UdpForwardListener
from gateway.listeners.http_connect import HttpConnectListener
from gateway.listeners.interfaces import Listener, Wiring
from gateway.listeners.socks5 import Socks5Listener
from gateway.model import Endpoint, Transport
from gateway.outward import Outward, credentials, proxy
from gateway.routing.mode import RouterMode
from gateway.tunnel.checks import check_credentials
from gateway.tunnel.exit import Exit
from gateway.tunnel.masque import ExitAddress

_log = Logger(namespace="gateway.service")


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
        seen = Seen.begin(world.now)
        self._reactor = reactor
        self.core = Core(reactor, config, world, (*seen, *observers))
        self.outward = Outward(reactor, config, self.core)
        wiring = self.outward.wiring
        self.listeners: list[Listener] = [_listener(one, wiring) for one in config.doors]
        self.bound: list[Endpoint] = []
        """Where each listener with an address listens, once started; in the configuration's order.
        """
        self.router = RouterMode(reactor, config, self.core, wiring) if config.transparent else None
        self.core.on_adopted += [listener.rejudge for listener in self.listeners]
        self.canaries = Canaries(reactor, self.core, config.canaries)
        self._attendance = Attendance(reactor, self.core, self._process, seen)
        self.core.counting.append(self._counted)
        if not config.exits and any(self.core.table.epoch.policy.targets()):
            _log.warn("there is no exit: what the policy wraps is blocked")

    def start(self) -> None:
        """Install the rules, open the listeners and start the tunnels.

        Raises:  InputError: a listener that cannot be opened; those opened before are closed.
        """
        config = self.core.config
        if self.router is not None:
            self.router.start()
        for section, listener in zip(config.doors, self.listeners, strict=True):
            try:
                self.bound.append(listener.listen())
            except CannotListenError as error:
                self.stop()
                reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
                says = f"cannot listen on {section.address}: {reason}"
                at = config.listeners.index(section)
                raise InputError([config.problem("listeners", at, "address", says=says)]) from error
            _log.info("{kind} on {at}", kind=section.kind, at=str(self.bound[-1]))
        self.outward.start()
        self.core.start()
        self._begin_canaries()
        self._attendance.start()

    def _begin_canaries(self) -> None:
        """Have them sent by every way that clients come."""
        config = self.core.config
        if config.canaries.sent:
            fronts = (_front(*one) for one in zip(config.doors, self.bound, strict=True))
            paths: list[Path] = [DoorPath(self._reactor, self.core, front) for front in fronts]
            if self.router is not None and self.router.canaries is not None:
                paths.append(self.router.canaries)
            if self.router is not None:
                self.canaries.not_sent = self.router.canaries_lacking
            self.canaries.paths = paths
        self.canaries.start()

    def _process(self) -> Process:
        config = self.core.config
        doors = zip(config.doors, self.bound, self.listeners, strict=False)
        listeners = [
            Door(one.kind, str(at), door.counters, door.packets) for one, at, door in doors
        ]
        listeners += [Door(one.kind, one.interface, {}) for one in config.transparent]
        exits: dict[str, Way] = dict(self.outward.exits)
        nearest = self.outward.nearest if self.outward.tunnels else None
        return Process(
            self.core,
            tuple(listeners),
            exits,
            self.router,
            self.outward.accounts,
            self.outward.scrub_counters,
            self.canaries,
            nearest,
        )

    def sentence(self) -> str:
        """Say how it does, in a line."""
        return sentence(self._attendance.status())

    def stop(self) -> Deferred[object]:
        """Stop accepting, close every flow and tunnel; fires when every socket is closed."""
        self.canaries.stop()
        closing: list[Deferred[Any]] = [
            listener.stop() for listener in self.listeners[: len(self.bound)]
        ]
        closing.append(self._attendance.stop())
        if self.router is not None:
            closing.append(self.router.stop())
        closed = DeferredList(closing, consumeErrors=True)
        return _then(closed, lambda _result: self.outward.stop(), self._stopped)

    def _counted(self) -> Mapping[str, int]:
        """Give what each listener counted since the start, for the log's checkpoints."""
        counts: dict[str, int] = {}
        if self.router is not None:
            counts |= {**self.router.counters, **self.router.packets}
        for section, listener in zip(self.core.config.doors, self.listeners, strict=True):
            where = f"{section.kind} {section.address}"
            counted = {**listener.counters, **listener.packets}
            counts |= {f"{where}: {name}": count for name, count in counted.items()}
        return counts

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
        seen = Seen.begin(world.now)
        self.core = Core(reactor, config, world, (*seen, *observers))
        self._exit = Exit(
            reactor,
            Endpoint.parse(section.address),
            credentials(config, section),
            self.core.table,
            world.reach,
            gateways=section.gateways,
        )
        self.core.on_adopted.append(self._exit.rejudge)
        self._attendance = Attendance(reactor, self.core, self._process, seen)
        self.canaries = Canaries(reactor, self.core, config.canaries)
        self.core.counting.append(lambda: {**self.counters, **self._exit.packets})
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
        self.canaries.start()
        self._attendance.start()

    def _process(self) -> Process:
        door = Door("exit", str(self.bound), self.counters, self._exit.packets)
        return Process(self.core, (door,), {}, None, canaries=self.canaries)

    @property
    def counters(self) -> Mapping[str, int]:
        """What happened since the start, by name."""
        return self._exit.counters

    def sentence(self) -> str:
        """Say how it does, in a line."""
        return sentence(self._attendance.status())

    def stop(self) -> Deferred[object]:
        """Say goodbye to every gateway; fires when every socket is closed."""
        self.canaries.stop()
        stopped = self._attendance.stop()
        return _then(stopped, lambda _result: self._exit.stop(), self._stopped)

    def _stopped(self, result: object) -> object:
        self.core.stop()
        _log.info("stopped")
        return result


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
        if isinstance(one, sections.TransparentListener):
            continue
        transport = one.transport if isinstance(one, sections.ForwardListener) else "tcp"
        if (transport, one.address) in seen and not one.address.endswith(":0"):
            says = f"{one.address} is another listener's already"
            yield config.problem("listeners", at, "address", says=says)
        seen.add((transport, one.address))


def _exit_faults(config: Config) -> Iterable[Problem]:
    """Find exits whose address or credentials cannot be used."""
    for at, one in enumerate(config.exits):
        if isinstance(one, sections.InterfaceExit):
            continue
        if isinstance(one, sections.ProxyExit):
            yield from _proxy_faults(config, at, one)
            continue
        try:
            ExitAddress(one.name, one.url)
        except AddressError as error:
            yield config.problem("exits", at, "url", says=str(error))
        yield from _credential_faults(config, ("exits", at), one)


def _proxy_faults(config: Config, at: int, section: sections.ProxyExit) -> Iterable[Problem]:
    try:
        proxy(config, section)
    except CarryError as error:
        yield config.problem("exits", at, says=error.what)


def _credential_faults(
    config: Config, steps: tuple[str | int, ...], section: MasqueExit | sections.ExitServer
) -> Iterable[Problem]:
    try:
        check_credentials(credentials(config, section))
    except CarryError as error:
        yield config.problem(*steps, "certificate", says=error.what)


def _front(section: sections.DoorListener, at: Endpoint) -> Front:
    """Say what a client must know of a listener."""
    match section:
        case sections.Socks5Listener():
            return Front("socks5", at, users=section.users)
        case sections.HttpConnectListener():
            return Front("http-connect", at)
        case sections.ForwardListener():
            return Front("forward", at, Transport(section.transport), Endpoint.parse(section.to))
    assert_never(section)


def _listener(section: sections.DoorListener, wiring: Wiring) -> Listener:
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
