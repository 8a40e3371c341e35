"""The configuration.  Owns: gateway.yaml → frozen Config, with every fault at once.
Knows: the sections.  Never: opening what it names; service does."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import PrivateAttr

from gateway.config.canaries import Canaries
from gateway.config.identifiers import Identifiers, load_values
from gateway.config.identifiers import load_file as load_identifiers
from gateway.config.proxies import HttpConnectExit, ProxyExit, Socks5Exit
from gateway.config.sections import (
    Console,
    Coordinates,
    DoorListener,
    Evidence,
    Exit,
    ExitServer,
    ForwardListener,
    Geo,
    HttpConnectListener,
    InterfaceExit,
    Limits,
    Listener,
    MasqueExit,
    PathText,
    Relay,
    RouterOptions,
    Socks5Listener,
    State,
    TransparentListener,
)
from gateway.document import Document, Section, parse, read, validate
from gateway.errors import InputError, Problem
from gateway.flow.discs import HERE
from gateway.geo import Position
from gateway.leaks import Values
from gateway.model import Endpoint

__all__ = [
    "Config",
    "DoorListener",
    "ExitServer",
    "ForwardListener",
    "HttpConnectExit",
    "HttpConnectListener",
    "InterfaceExit",
    "Listener",
    "MasqueExit",
    "ProxyExit",
    "Relay",
    "Socks5Exit",
    "Socks5Listener",
    "TransparentListener",
    "built_in",
    "from_document",
    "load",
    "load_identifiers",
]


class Config(Section):
    """gateway.yaml, or the configuration of an exit."""

    policy: PathText
    listeners: tuple[Listener, ...] = ()
    relays: tuple[Relay, ...] = ()
    exits: tuple[Exit, ...] = ()
    nearest: Literal["exit-rtt", "answer-rtt"] = "exit-rtt"
    """What the nearest exit is near to.  exit-rtt: the gateway.  answer-rtt: for each UDP flow, the
    one by which its destination answers soonest."""
    position: Coordinates | None = None
    """Where the gateway stands, [latitude, longitude] in degrees; see an exit's."""
    exit: ExitServer | None = None
    geo: Geo = Geo()
    identifiers: Identifiers = Identifiers()
    evidence: Evidence = Evidence()
    state: State = State()
    canaries: Canaries = Canaries()
    watch: bool = False
    """Load again by itself when the policy, or a file that it names, changes."""
    console: Console | None = None
    limits: Limits = Limits()
    router: RouterOptions = RouterOptions()

    _document: Document = PrivateAttr()

    @property
    def transparent(self) -> tuple[TransparentListener, ...]:
        """The listeners of router mode."""
        return tuple(one for one in self.listeners if isinstance(one, TransparentListener))

    @property
    def doors(self) -> tuple[DoorListener, ...]:
        """The listeners with an address."""
        return tuple(one for one in self.listeners if not isinstance(one, TransparentListener))

    @property
    def tunnels(self) -> tuple[MasqueExit, ...]:
        """The exits that are reached by a tunnel."""
        return tuple(one for one in self.exits if isinstance(one, MasqueExit))

    @property
    def positions(self) -> dict[str, Position]:
        """Where what measures round trips stands, by its name: exits, and HERE."""
        claimed = {one.name: one.position for one in self.tunnels}
        claimed[HERE] = self.position
        return {name: Position(*one) for name, one in claimed.items() if one is not None}

    @property
    def interface_exits(self) -> tuple[InterfaceExit, ...]:
        """The exits that are network interfaces."""
        return tuple(one for one in self.exits if isinstance(one, InterfaceExit))

    @property
    def proxies(self) -> tuple[ProxyExit, ...]:
        """The exits that are somebody's proxy."""
        return tuple(one for one in self.exits if isinstance(one, ProxyExit))

    @property
    def file(self) -> str:
        """The path of the file."""
        return self._document.file

    def path(self, text: str) -> Path:
        """Give a path of the file as a path of this process."""
        return Path(self._document.file).parent / text

    @property
    def learns(self) -> bool:
        """Whether identifiers that nobody named are looked for in accepted flows."""
        return "identifiers" in self.model_fields_set and self.identifiers.learn

    def values(self, before: Values | None = None) -> Values | None:
        """Make the search for the identifiers that are named; None: none is.  Takes long for many.

        Args:    before: given back if it searches for the same.
        Raises:  InputError: with every value, pattern and file that cannot be used.
        """
        return load_values(self.identifiers, self._document, ("identifiers",), before)

    def again(self) -> Config:
        """Read the file again; what was built in stays as it is.

        Raises:  InputError: with every fault of the file; it is gone.
        """
        return self if self._document.file == _NO_FILE else load(self._document.file)

    def fixed_part(self) -> Config:
        """Give what a running process does not load again: all but policy, geo and
        identifiers."""
        unfixed = {"policy": "", "geo": Geo(), "identifiers": Identifiers()}
        return self.model_copy(update=unfixed)

    def problem(self, *steps: str | int, says: str) -> Problem:
        """Say that something is wrong at a place of the file."""
        return self._document.problem(steps, says)


_NO_FILE = "gateway.yaml (built in)"
_BUILT_IN = """\
listeners:
  - {kind: socks5, address: "127.0.0.1:1080"}
  - {kind: http-connect, address: "127.0.0.1:3128"}
"""


def built_in(policy: Path) -> Config:
    """Give what `gateway run` does where there is no gateway.yaml: SOCKS5 and HTTP CONNECT on
    loopback, a policy that comes with the gateway, and no exit, so that what must be wrapped is
    blocked."""
    text = f"policy: {json.dumps(str(policy))}\n{_BUILT_IN}"
    return from_document(parse(text, _NO_FILE))


def load(path: str | Path) -> Config:
    """Read a configuration.

    Raises:  InputError: with every fault of the file.
    """
    return from_document(read(path))


def from_document(document: Document) -> Config:
    """Read a configuration from a document.

    Raises:  InputError: with every fault of it.
    """
    config = validate(document, Config)
    config._document = document
    problems = [*_twice(config, "relays", config.relays), *_twice(config, "exits", config.exits)]
    names = {relay.name for relay in config.relays}
    problems += [
        config.problem("exits", at, "name", says=f'"{one.name}" is a relay\'s name already')
        for at, one in enumerate(config.exits)
        if one.name in names
    ]
    problems += [
        config.problem("exits", at, "name", says=f'"{HERE}" is the gateway\'s own name')
        for at, one in enumerate(config.exits)
        if one.name == HERE and isinstance(one, MasqueExit) and one.position is not None
    ]
    problems += [
        config.problem("exits", at, "name", says='"nearest" is a word of the policy language')
        for at, one in enumerate(config.exits)
        if one.name == "nearest"
    ]
    problems += [*_interfaces_twice(config), *_open_console(config)]
    if problems:
        raise InputError(problems)
    return config


def _interfaces_twice(config: Config) -> Iterator[Problem]:
    """Find interfaces that are named twice: nothing can come from clients and leave by an exit."""
    seen: set[str] = set()
    for key, named in (("listeners", config.listeners), ("exits", config.exits)):
        for at, one in enumerate(named):
            if isinstance(one, TransparentListener | InterfaceExit):
                if one.interface in seen:
                    says = f'the interface "{one.interface}" stands twice'
                    yield config.problem(key, at, "interface", says=says)
                seen.add(one.interface)
    if len({one.snat for one in config.transparent}) > 1:
        yield config.problem("listeners", says="transparent listeners differ in snat")


def _open_console(config: Config) -> Iterator[Problem]:
    """Find a console that strangers could read."""
    console = config.console
    if console is None or console.tokens:
        return
    host = Endpoint.parse(console.address).host
    if not ipaddress.ip_address(host).is_loopback:
        says = f"{host} can be reached from elsewhere: a console there needs tokens"
        yield config.problem("console", "address", says=says)


def _twice(config: Config, key: str, named: tuple[Relay | Exit, ...]) -> list[Problem]:
    seen: set[str] = set()
    problems = []
    for at, one in enumerate(named):
        if one.name in seen:
            problems.append(config.problem(key, at, "name", says=f'"{one.name}" stands twice'))
        seen.add(one.name)
    return problems
