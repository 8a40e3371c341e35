"""The ways out of a process.  Owns: its tunnels and exits, the ways by name, what listeners are
plugged into.  Knows: tunnel, listeners' wiring.  Never: who comes in, deciding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from functools import partial
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from zope.interface import implementer

from gateway import config as sections
from gateway.config import Config, ExitServer, MasqueExit, Socks5Exit
from gateway.core import Core, Reach, World
from gateway.errors import AddressError, CarryError, DataError
from gateway.evidence.keys import load_secret
from gateway.flow.apart import Apart
from gateway.flow.discs import HERE
from gateway.listeners.interfaces import Carrier, Wiring
from gateway.listeners.limits import Limits
from gateway.listeners.nowhere import Nowhere
from gateway.model import Endpoint, FlowKey, pack
from gateway.scrub.carrier import Scrubbed
from gateway.scrub.days import KEY_LEN, Days
from gateway.tunnel.client import Tunnel
from gateway.tunnel.credentials import Credentials
from gateway.tunnel.interface import InterfaceExit
from gateway.tunnel.ledger import DIRECT, Account, Ledger
from gateway.tunnel.masque import ExitAddress
from gateway.tunnel.nearest import Nearest
from gateway.tunnel.proxies import http_connect, read_login, socks5, tls_to
from gateway.tunnel.proxy import Proxy, ProxyExit


class Outward:
    """Everything behind the listeners of one process."""

    def __init__(self, reactor: Any, config: Config, core: Core) -> None:
        """Build it; nothing is opened before `start`."""
        world = core.world
        self._table = core.table
        self.ledger = Ledger()
        self.tunnels = {
            one.name: Tunnel(
                reactor,
                ExitAddress(one.name, one.url),
                credentials(config, one),
                world.reach,
                random=Random(world.random_octets(16)),
                on_round_trip=partial(self.ledger.answered, one.name),
                on_bound=partial(self.bound, one.name),
            )
            for one in config.tunnels
        }
        self.interfaces = {
            one.name: InterfaceExit(reactor, one.name, one.interface)
            for one in config.interface_exits
        }
        self.proxies = {
            one.name: ProxyExit(
                reactor, proxy(config, one), world.reach, random=Random(world.random_octets(16))
            )
            for one in config.proxies
        }
        ledger = self.ledger if config.nearest == "answer-rtt" else None
        self.nearest = Nearest(reactor, self.tunnels, ledger)
        self.scrub_counters: Counter[str] = Counter()
        relays = {one.name: Endpoint.parse(one.address) for one in config.relays}
        self.wiring = Wiring(
            reactor=reactor,
            gate=core.table,
            routes=Routes(
                world.reach,
                self.nearest,
                relays,
                self.exits,
                Scrubbing(lambda: _days(config, world), self.scrub_counters),
                plaintext={one.name for one in config.proxies if one.is_plaintext},
            ),
            resolver=NameResolver(reactor),
            apart=partial(_apart, core.apart),
            limits=Limits(udp_idle_timeout_s=config.limits.udp_idle_timeout_s),
            on_round_trip=self._answered_directly,
        )

    def _answered_directly(self, to: Endpoint, took_s: float) -> None:
        self.ledger.answered(DIRECT, to, took_s, 0.0)
        self._table.answered(HERE, to.address, took_s)

    def bound(self, name: str, to: Endpoint, total_s: float, least_s: float) -> None:
        """Take note of what an answer through an exit bounds: the way from us and, without what it
        takes to the exit at least, the way from there."""
        self._table.answered(HERE, to.address, total_s)
        near_s = max(least_s, self._table.between_s(name))
        self._table.answered(name, to.address, total_s - near_s)

    @property
    def exits(self) -> Mapping[str, Tunnel | InterfaceExit | ProxyExit]:
        """Every exit, by name."""
        return {**self.tunnels, **self.interfaces, **self.proxies}

    def accounts(self, most: int) -> tuple[Account, ...]:
        """Say how long the ways to the endpoints that were pinged last take."""
        near = {name: one.rtt_s for name, one in self.tunnels.items()}
        allowed = {name for name, one in self.tunnels.items() if one.up}
        return self.ledger.accounts({DIRECT: 0.0, **near}, allowed, most)

    def start(self) -> None:
        """Begin to connect the tunnels, to watch the interfaces, to look at the proxies."""
        for one in self.exits.values():
            one.start()
        self.nearest.start()

    def stop(self) -> Deferred[object]:
        """Close every way; fires when all are closed."""
        self.nearest.stop()
        closing: list[Deferred[Any]] = [one.stop() for one in self.exits.values()]
        return DeferredList(closing, consumeErrors=True).addCallback(lambda _all: None)


def _apart(apart: Apart, key: FlowKey) -> Nowhere | None:
    """Give the ways out of a canary."""
    return Nowhere(partial(apart.took, key)) if key.client in apart else None


class Routes:
    """The ways out, by the names that verdicts use."""

    def __init__(
        self,
        reach: Reach,
        nearest: Nearest,
        relays: Mapping[str, Endpoint],
        exits: Mapping[str, Carrier],
        scrubbing: Scrubbing,
        plaintext: Collection[str] = (),
    ) -> None:
        """Take them all.

        Args:    plaintext: names of exits that do not encrypt what goes to them.
        """
        self.reach = reach
        self._scrubbing = scrubbing
        self._nearest = nearest
        self._relays = relays
        self._exits = exits
        self._plaintext = frozenset(plaintext)

    def carrier(self, target: str | None) -> Carrier:
        """Give the exit of a name, or for "nearest" what chooses among the tunnels.

        Raises:  CarryError: no exit has this name, or none is up, or it does not encrypt.
        """
        if target is None or target == "nearest":
            self._nearest.choose()
            return self._nearest
        if target in self._plaintext:
            # Refused when a policy is loaded; but the file may say now what it did not then.
            raise CarryError(target, "the way to this proxy is plaintext: nothing is wrapped to it")
        return self.rerouted(target)

    def rerouted(self, target: str) -> Carrier:
        """Give the exit of a name.

        Raises:  CarryError: no exit has this name.
        """
        try:
            return self._exits[target]
        except KeyError:
            raise CarryError(target, "no exit has this name") from None

    def scrubbed(self, target: str, client: Endpoint) -> Carrier:
        """Give the same exit, to be given pseudonyms instead of a client's identifiers.

        Raises:  CarryError: as `carrier`; or the key cannot be read.
        """
        return self._scrubbing.towards(self.carrier(target), client)

    def relay(self, target: str) -> Endpoint:
        """Give a relay's address.

        Raises:  CarryError: no relay has this name.
        """
        try:
            return self._relays[target]
        except KeyError:
            raise CarryError(target, "no relay has this name") from None


class Scrubbing:
    """What gives exits pseudonyms; its key is read, or made, when the first flow needs it."""

    def __init__(self, days: Callable[[], Days], counters: Counter[str]) -> None:
        """Begin.

        Args:    days: raises DataError; counters: of datagrams, by what became of them.
        """
        self._load = days
        self._days: Days | None = None
        self._counters = counters

    def towards(self, an_exit: Carrier, client: Endpoint) -> Carrier:
        """Give an exit as one client's flows may use it.

        Raises:  CarryError: the key cannot be read or made; the next flow tries again.
        """
        if self._days is None:
            try:
                self._days = self._load()
            except DataError as error:
                raise CarryError("scrub", str(error)) from error
        return Scrubbed(an_exit, self._days, client, self._counters)


def _days(config: Config, world: World) -> Days:
    path = config.path(config.state.path) / "scrub.key"
    return Days(load_secret(path, KEY_LEN, world.random_octets), lambda: world.now().date())


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


def credentials(config: Config, section: MasqueExit | ExitServer) -> Credentials:
    """Give the files of a section's keys and certificates."""
    return Credentials(
        ca=config.path(section.ca),
        certificate=config.path(section.certificate),
        key=config.path(section.key),
    )


def proxy(config: Config, section: sections.ProxyExit) -> Proxy:
    """Give the proxy of a section.

    Raises:  CarryError: a file that it names cannot be used.
    """
    login = None
    if section.username is not None and section.password_file is not None:
        login = read_login(section.username, config.path(section.password_file))
    host, port = section.at
    if isinstance(section, Socks5Exit):
        return socks5(section.name, host, port, login)
    ca = None if section.ca is None else config.path(section.ca)
    tls = None if section.is_plaintext else tls_to(host, ca)
    return http_connect(section.name, host, port, login, tls)
