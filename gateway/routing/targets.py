"""What verdicts name and marks number.  Owns: the numbers of relays, interface exits and the local
proxy.  Knows: config's sections, the kernel room's values.  Never: changing the kernel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from gateway import config
from gateway.kernel import router
from gateway.kernel.judge import Target
from gateway.kernel.marks import FIRST_TARGET
from gateway.model import Endpoint


class Targets:
    """The targets of one configuration, numbered in the file's order."""

    def __init__(self, loaded: config.Config) -> None:
        interfaces = loaded.interface_exits
        first_exit = FIRST_TARGET + len(loaded.relays)
        self.relays = tuple(
            _relay(number, Endpoint.parse(one.address))
            for number, one in enumerate(loaded.relays, FIRST_TARGET)
        )
        self.exits = tuple(
            router.InterfaceExit(number, one.interface, one.masquerade)
            for number, one in enumerate(interfaces, first_exit)
        )
        self.proxy = first_exit + len(interfaces)
        """The local proxy's number."""
        named = {
            one.name: Target(relay.target, relay.octets)
            for one, relay in zip(loaded.relays, self.relays, strict=True)
        }
        for one, an_exit in zip(interfaces, self.exits, strict=True):
            named[one.name] = Target(an_exit.target, carries_all=True)
        self.by_name: Mapping[str, Target] = named
        """By the names that verdicts use."""

    def digest(self) -> str:
        """Give a short hash of all of it: a number of other targets means another way."""
        return digest(self.relays, self.exits, self.proxy)


def _relay(number: int, at: Endpoint) -> router.Relay:
    return router.Relay(number, v4=at) if len(at.address) == 4 else router.Relay(number, v6=at)


def digest(*values: object) -> str:
    """Give eight hexadecimal digits that change with the values."""
    return hashlib.sha256(repr(values).encode()).hexdigest()[:8]
