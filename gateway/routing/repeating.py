"""Router mode's fast path, if it has one.  Owns: whether there is one, between which interfaces,
and when it rests.  Knows: the kernel room.  Never: rules; why a verdict changes.

It only makes packets quicker that the rules let go: where it fails, packets meet the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from twisted.logger import Logger

from gateway.errors import CarryError
from gateway.kernel.fast_path import FastPath
from gateway.kernel.links import Link
from gateway.kernel.router import CANARIES

_log = Logger(namespace="gateway.routing")


class Repeating:
    """The fast path, from `open` to `close`; before and after nothing is repeated."""

    def __init__(self, uplinks: Iterable[str], *, spot_check: int, masquerades: bool) -> None:
        """Open nothing yet.

        Args:    uplinks: the interfaces that flows leave by; none: there is no fast path.
                 masquerades: whether clients leave by the gateway's own address.
        """
        self.uplinks = tuple(uplinks)
        self._spot_check = spot_check
        self._masquerades = masquerades
        self._path: FastPath | None = None

    def open(self) -> None:
        """Begin, at rest; say in the log if it cannot be."""
        if not self.uplinks:
            return
        if self._masquerades:
            _log.error("no fast path: clients leave by the gateway's own address (snat: true)")
            return
        try:
            self._path = FastPath(spot_check=self._spot_check)
        except CarryError as error:
            _log.error("no fast path: {reason}", reason=str(error))

    @property
    def is_open(self) -> bool:
        """Whether there is one."""
        return self._path is not None

    def follow(self, links: Mapping[str, Link]) -> None:
        """Be between these interfaces, and no others.

        Args:    links: the clients' and the uplinks', as far as there are any.
        """
        if self._path is None:
            return
        for name in sorted(name for name, link in links.items() if not link.is_ethernet):
            if name == CANARIES:
                continue
            _log.warn("no fast path by {name}: its packets have no Ethernet header", name=name)
        try:
            self._path.follow(link.number for link in links.values() if link.is_ethernet)
        except CarryError as error:
            _log.error("no fast path by an interface: {reason}", reason=str(error))

    def rest(self) -> None:
        """Repeat nothing while the rules change."""
        if self._path is not None:
            try:
                self._path.pause()
            except CarryError as error:
                self._give_up(error)

    def begin(self, epoch: int) -> None:
        """Repeat what the rules of an epoch let go, from now on."""
        if self._path is not None:
            try:
                self._path.begin(epoch)
            except CarryError as error:
                self._give_up(error)

    def _give_up(self, error: CarryError) -> None:
        _log.error("no fast path any more: {reason}", reason=str(error))
        self.close()

    def turned(self) -> None:
        """Learn that a flow which the rules let go shall go so no more."""
        if self._path is not None:
            self._path.since.now()

    def since(self) -> int | None:
        """Give the descriptor by which other processes say the same; None: they need not."""
        return None if self._path is None else self._path.since.descriptor

    @property
    def packets(self) -> int:
        """How many packets were repeated so far."""
        try:
            return 0 if self._path is None else self._path.packets
        except CarryError as error:
            _log.warn("what was repeated is not known: {reason}", reason=str(error))
            return 0

    def close(self) -> None:
        """End; may be called twice."""
        path, self._path = self._path, None  # nobody finds it half closed
        if path is not None:
            path.close()
