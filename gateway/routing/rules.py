"""The rules of router mode.  Owns: what stands in the kernel, from epoch to epoch, and that it goes
on standing there.  Knows: the kernel room.  Never: a packet, a verdict."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypedDict

from twisted.logger import Logger

from gateway.config import Config
from gateway.errors import CarryError, GatewayError
from gateway.flow.denied import denied
from gateway.flow.epoch import Epoch
from gateway.kernel import conntrack, guard, links, nft, readback, routes, tun
from gateway.kernel.host import missing
from gateway.kernel.lock import Lock
from gateway.kernel.marks import next_epoch
from gateway.kernel.ranges import Ranges
from gateway.kernel.router import CANARIES, OWN, LocalProxy, Queues, Router
from gateway.model import Endpoint, Transport
from gateway.routing.repeating import Repeating
from gateway.routing.targets import Targets, digest

_log = Logger(namespace="gateway.routing")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the kernel was loaded with for an epoch, and does not use yet."""

    state: str
    router: Router
    change: nft.Prepared


_World = tuple[int, int]
"""The number of netfilter's rules, and of changes of interfaces."""


class _Denied(TypedDict):
    """What the kernel denies by itself, as Router has it."""

    denied4: Ranges
    denied6: Ranges
    refused4: Ranges
    refused6: Ranges


class Rules:
    """The table, the routes and the lock on them."""

    def __init__(self, config: Config, targets: Targets) -> None:
        """Take nothing and change nothing yet."""
        self._config = config
        self._targets = targets
        self._lock = Lock("gateway")
        self._nft = nft.Nft()
        self._links = links.Links()
        self.fast_path = Repeating(
            config.router.fast_path,
            spot_check=config.router.spot_check,
            masquerades=_masquerades(config),
        )
        self._router: Router | None = None
        self._mended: _World | None = None
        """How the world was when all was last looked at."""
        self.canaries: tuple[bytes, ...] = ()
        """The addresses of canaries, which no client may have; set before `install`."""
        self.has_canaries = False
        """Whether the interface is there that they come in by."""
        self._closed: _World | None = None
        """How it was when nothing was last seen to be open."""
        self.state = ""
        """Of what is in force: sixteen hexadecimal digits, of policy and data, and of targets."""

    @property
    def router(self) -> Router:
        """What is in force."""
        assert self._router is not None, "not installed"
        return self._router

    def install(self, epoch: Epoch, port: int) -> None:
        """Put everything in place, in the place of whatever is there; blocks for seconds.

        Args:    port: the local proxy's.
        Raises:  CarryError, DataError: another gateway runs, or the kernel refuses.
        """
        self._lock.take()
        for sentence in missing(*interfaces(self._config), self.fast_path.uplinks):
            _log.warn("{sentence}", sentence=sentence)
        self._links.listen()
        self.state = state_of(epoch, self._targets)
        number = self._first_number()
        self.fast_path.open()
        self._router = self._first(epoch, number, port)
        self._follow_links()
        self._fence()
        self._nft.apply(self._router)
        self.fast_path.begin(self._router.epoch)
        try:
            routes.apply(routes.desired(self._router))
        except CarryError as error:
            # It may come yet (a VPN's), and is looked for again; until then nothing leaves by it.
            _log.error("routes: {reason}", reason=str(error))

    def _first_number(self) -> int:
        """Give the first epoch's number.  Flows that the same policy, over the same data, let go to
        the same targets are still let go: a gateway that comes back cuts nobody off."""
        before = self._nft.installed()
        if before is not None and before.epoch and before.policy == self.state:
            _log.info("the rules in the kernel are of this policy: accepted flows go on")
            return before.epoch
        number = next_epoch(before.epoch if before is not None else 0)
        conntrack.forget_epoch(number)
        if before is not None and before.epoch and before.policy[8:] != self.state[8:]:
            conntrack.forget_epoch(before.epoch)  # its flows' marks name what are others now
        return number

    def prepare(self, epoch: Epoch) -> Prepared | None:
        """Load what the kernel needs for an epoch; blocks for seconds: it belongs in a thread.

        Returns: None: it has all of it, for nothing that verdicts rest on differs.
        Raises:  CarryError: the kernel refuses; nothing has changed.
        """
        state = state_of(epoch, self._targets)
        if state == self.state:
            return None
        number = next_epoch(self.router.epoch)
        conntrack.forget_epoch(number)
        routed = replace(self.router, epoch=number, policy=state, **_denied(epoch))
        return Prepared(state, routed, self._nft.prepare(routed))

    def commit(self, prepared: Prepared) -> None:
        """Go over to what was prepared, in one transaction.

        Raises:  CarryError: the kernel refuses; nothing has changed.
        """
        self.fast_path.rest()
        try:
            self._nft.commit(prepared.change)
            self.state, self._router = prepared.state, prepared.router
        finally:
            self.fast_path.begin(self.router.epoch)

    def tidy(self) -> None:
        """Remove what the epoch before left in the kernel, or one that was prepared and will not
        come; it belongs in a thread."""
        self._nft.tidy()

    def _world(self) -> _World:
        return readback.generation(), self._links.changes()

    def is_disturbed(self) -> bool:
        """Say whether anybody has changed netfilter's rules or an interface, ours or others, since
        all was last looked at; it takes microseconds.

        Raises:  CarryError: the kernel does not say.
        """
        return self._world() != self._mended

    def stay_closed(self) -> bool:
        """Lock at once if somebody else's doing lets anything pass, for when there is no time to
        mend: while the rules change.  It takes milliseconds.

        Returns: whether it was so.
        Raises:  CarryError: the kernel does not say, or refuses.
        """
        world = self._world()
        # Looked at twice: what we change ourselves may come between two of the kernel's answers.
        if world == self._closed or self._nft.is_closed() or self._nft.is_closed():
            self._closed = world
            return False
        self._lock_down()
        return True

    def _lock_down(self) -> None:
        self.fast_path.rest()
        self._nft.lock(self.router.clients, self.router.numbers)

    def mend(self) -> bool:
        """Look whether everything still stands, and put it up again where it does not; in a thread.

        Returns: whether rules were missing.
        Raises:  CarryError: the kernel refuses.
        """
        world = self._world()
        is_whole = self._nft.is_untouched()
        if not is_whole:  # at once; all the ranges take seconds
            self._lock_down()
        if self._mended is None or world[1] != self._mended[1]:
            self._follow_links()
        if not is_whole or not self._nft.is_applied(self.router):
            self._nft.apply(self.router)
            self.fast_path.begin(self.router.epoch)
        self._fence()
        self._mended = world
        routes.apply(routes.desired(self.router))
        return not is_whole

    def _follow_links(self) -> None:
        """Have the rules know the clients' interfaces by number too, and their MTUs.  One that has
        lost its name stays shut until there is another of that name."""
        all_ = links.look((*self.router.clients, *self.fast_path.uplinks))
        self.fast_path.follow(all_)
        by_name = {name: link for name, link in all_.items() if name in self.router.clients}
        found = frozenset[int]().union(*(one.numbers for one in by_name.values()))
        if gone := [name for name in self.router.clients if name not in by_name]:
            found |= set(self.router.numbers)
            _log.error(
                "there is no interface {names}: what comes by one that had the name goes nowhere",
                names=", ".join(gone),
            )
        known = self.router.mtu_by_client
        mtus = tuple(by_name[name].mtu if name in by_name else known[name] for name in known)
        numbers = tuple(sorted(found))
        if (numbers, mtus) != (self.router.numbers, self.router.mtus):
            self._router = replace(self.router, numbers=numbers, mtus=mtus)

    def _fence(self) -> None:
        guard.apply(self.router.clients if self._config.router.fence else ())

    def release(self) -> None:
        """Let another gateway keep the table; it stays as it is."""
        self._links.close()
        self.fast_path.close()
        self._lock.release()

    def _first(self, epoch: Epoch, number: int, port: int) -> Router:
        options = self._config.router
        return Router(
            clients=(*interfaces(self._config)[0], *((CANARIES,) if self.has_canaries else ())),
            epoch=number,
            policy=self.state,
            queues=Queues(options.first_queue, options.workers),
            has_nft_queue=nft.has_queue(),
            spot_check=options.spot_check,
            canaries=self.canaries,
            relays=self._targets.relays,
            exits=self._targets.exits,
            proxy=LocalProxy(self._targets.proxy, port),
            masquerade=_masquerades(self._config),
            marks_pieces=self.fast_path.is_open,
            own=tuple(dict.fromkeys((*OWN, *options.admits, *_doors(self._config)))),
            **_denied(epoch),
        )


def _denied(epoch: Epoch) -> _Denied:
    blocked = denied(epoch)
    return {
        "denied4": blocked.silent4,
        "denied6": blocked.silent6,
        "refused4": blocked.refused4,
        "refused6": blocked.refused6,
    }


def state_of(epoch: Epoch, targets: Targets) -> str:
    """Give what verdicts and marks rest on: sixteen hexadecimal digits, the first eight of policy
    and data, the others of the targets."""
    policy = epoch.policy
    expired = [rule.id for rule in policy.rules if rule.expired]
    return digest(policy.revision, epoch.atlas.revision, expired) + targets.digest()


def interfaces(config: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the interfaces of the clients, and those of the exits."""
    clients = tuple(one.interface for one in config.transparent)
    return clients, tuple(one.interface for one in config.interface_exits)


def _masquerades(config: Config) -> bool:
    return any(one.snat for one in config.transparent)


def _doors(config: Config) -> list[tuple[Transport, int]]:
    """Give what the other listeners listen on: clients may ask them."""
    doors = []
    for one in config.doors:
        transport = Transport(getattr(one, "transport", Transport.TCP))
        doors.append((transport, Endpoint.parse(one.address).port))
    return [door for door in doors if door[1]]


def _canaries_lack(config: Config) -> Iterator[str]:
    if config.transparent and config.canaries.sent and (why := tun.lacking()):
        yield (
            f"{why}: canaries are not sent through the kernel's rules (module tun; in a systemd "
            "unit DeviceAllow=/dev/net/tun rw and no PrivateDevices=; or canaries: {sent: false})"
        )


def look(config: Config | None) -> list[str]:
    """Say in sentences what this host lacks for router mode; []: nothing.

    Args:    config: whose interfaces must be there too; None: of no configuration.
    """
    try:
        if config is None:
            return missing()
        lacking = missing(*interfaces(config), config.router.fast_path)
        return [*lacking, *_canaries_lack(config)]
    except GatewayError as error:
        return [str(error)]
