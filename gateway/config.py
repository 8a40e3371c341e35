"""The configuration.  Owns: gateway.yaml → frozen Config, with every fault at once.
Knows: the shape of gateway.yaml.  Never: opening what it names; service does."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from gateway.document import Document, Section, parse, read, validate
from gateway.errors import AddressError, InputError, Problem
from gateway.model import Axis, Endpoint
from gateway.policy.networks import AddressRange, address_range
from gateway.policy.sections import Country, Name


def _endpoint(text: str) -> str:
    try:
        Endpoint.parse(text)
    except AddressError as error:
        raise ValueError(str(error)) from error
    return text


def _cidr(text: str) -> str:
    try:
        span: AddressRange = address_range(text)
    except AddressError as error:
        raise ValueError(str(error)) from error
    if "-" in text or span.size not in (4, 16):
        raise ValueError(f'"{text}" must be a network such as 203.0.113.0/24')
    return text


EndpointText = Annotated[str, AfterValidator(_endpoint)]
"""ADDRESS:PORT; port 0 where listening means "any free one"."""
Cidr = Annotated[str, AfterValidator(_cidr)]
PathText = Annotated[str, Field(min_length=1)]
"""Relative to the folder of gateway.yaml."""


class Socks5Listener(Section):
    """SOCKS5, TCP and UDP (RFC 1928)."""

    kind: Literal["socks5"]
    address: EndpointText
    users: Annotated[dict[str, str], Field(min_length=1)] | None = None
    """Name → password (RFC 1929).  Omitted: no authentication."""


class HttpConnectListener(Section):
    """HTTP CONNECT (RFC 9110 section 9.3.6)."""

    kind: Literal["http-connect"]
    address: EndpointText


class ForwardListener(Section):
    """Everything that arrives here is meant for one destination."""

    kind: Literal["forward"]
    transport: Literal["udp", "tcp"]
    address: EndpointText
    to: EndpointText


def _known_kind(value: object) -> object:
    """Say more than "no match" of a listener that a later version brings."""
    if isinstance(value, dict) and value.get("kind") == "transparent":
        raise ValueError("transparent listeners (router mode) are not in this version")
    return value


Listener = Annotated[
    Annotated[Socks5Listener | HttpConnectListener | ForwardListener, Field(discriminator="kind")],
    BeforeValidator(_known_kind),
]


class Relay(Section):
    """An endpoint that stands in for others."""

    name: Name
    address: EndpointText
    jurisdiction: Country | None = None
    """The operator's claim, for people; the address is judged all the same."""


class MasqueExit(Section):
    """Where a MASQUE tunnel leaves (RFC 9298)."""

    name: Name
    kind: Literal["masque"]
    url: str
    """URI template, with {target_host} and {target_port} in its path."""
    ca: PathText
    certificate: PathText
    key: PathText
    jurisdiction: Country | None = None
    """The operator's claim, for people."""

    @model_validator(mode="after")
    def _has_template(self) -> MasqueExit:
        if not (
            self.url.startswith("https://")
            and "{target_host}" in self.url
            and "{target_port}" in self.url
        ):
            raise ValueError(
                "url must be https://HOST:PORT/… with {target_host} and {target_port} (RFC 9298)"
            )
        return self


def _known_exit(value: object) -> object:
    if isinstance(value, dict) and value.get("kind") == "interface":
        raise ValueError("interface exits are not in this version")
    return value


Exit = Annotated[MasqueExit, BeforeValidator(_known_exit)]


class OwnFile(Section):
    """The operator's own MaxMind-format file."""

    mmdb: PathText
    axis: Axis


class OverrideSection(Section):
    """What the operator knows better than the data."""

    network: Cidr
    location: Country | None = None
    registration: Country | None = None
    operator: Country | None = None
    reason: Annotated[str, Field(min_length=1)]
    expires: datetime.date | None = None
    """The last day it counts.  Omitted: always."""

    @model_validator(mode="after")
    def _says_something(self) -> OverrideSection:
        if not (self.location or self.registration or self.operator):
            raise ValueError("an override needs location, registration or operator")
        return self


class Geo(Section):
    """Where evidence comes from."""

    sources: Annotated[tuple[Literal["bundled"] | OwnFile, ...], Field(min_length=1)] = ("bundled",)
    max_age_days: Annotated[int, Field(ge=1, strict=True)] = 120
    """Older data is shown and counts as no evidence."""
    overrides: tuple[OverrideSection, ...] = ()
    nat64_prefixes: tuple[Cidr, ...] = ()
    """The site's own NAT64 prefixes (RFC 6052), beside 64:ff9b::/96."""


class Identifiers(Section):
    """Identifiers by value: a later version finds them."""

    user_id: dict[str, str] | None = Field(default=None, alias="user-id")
    patterns: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _not_yet(self) -> Identifiers:
        # Ignoring a value that should have been looked for would be a hole.
        if self.user_id or self.patterns:
            raise ValueError("finding identifiers by value is not in this version")
        return self


class Evidence(Section):
    """Where decisions are written down."""

    path: PathText = "evidence/"
    required: bool = False
    """true: what cannot be written down is blocked."""


class Console(Section):
    """The console: a later version has it."""

    address: EndpointText


class Limits(Section):
    """Bounds; the defaults suit a gateway of some thousand clients."""

    max_flows: Annotated[int, Field(ge=1, strict=True)] = 65_536
    max_flows_per_client: Annotated[int, Field(ge=1, strict=True)] = 4_096
    udp_idle_timeout_s: Annotated[float, Field(gt=0)] = 300.0


class ExitServer(Section):
    """What `gateway exit` serves; gateway.yaml of an exit."""

    address: EndpointText
    certificate: PathText
    key: PathText
    ca: PathText
    """The authority whose gateways may come in."""
    gateways: tuple[str, ...] = ()
    """Their names (DNS names of the certificates).  Omitted: every one of that authority."""


class Config(Section):
    """gateway.yaml, or the configuration of an exit."""

    policy: PathText
    listeners: tuple[Listener, ...] = ()
    relays: tuple[Relay, ...] = ()
    exits: tuple[Exit, ...] = ()
    exit: ExitServer | None = None
    geo: Geo = Geo()
    identifiers: Identifiers = Identifiers()
    evidence: Evidence = Evidence()
    console: Console | None = None
    limits: Limits = Limits()

    _document: Document = PrivateAttr()

    def path(self, text: str) -> Path:
        """Give a path of the file as a path of this process."""
        return Path(self._document.file).parent / text

    def again(self) -> Config:
        """Read the file again; what was built in stays as it is.

        Raises:  InputError: with every fault of the file.
        """
        path = Path(self._document.file)
        return load(path) if path.exists() else self

    def fixed_part(self) -> Config:
        """Give what a running process does not load again: all but policy and geo."""
        return self.model_copy(update={"policy": "", "geo": Geo()})

    def problem(self, *steps: str | int, says: str) -> Problem:
        """Say that something is wrong at a place of the file."""
        return self._document.problem(steps, says)


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
    return _config(parse(text, "gateway.yaml (built in)"))


def load(path: str | Path) -> Config:
    """Read a configuration.

    Raises:  InputError: with every fault of the file.
    """
    return _config(read(path))


def _config(document: Document) -> Config:
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
        config.problem("exits", at, "name", says='"nearest" is a word of the policy language')
        for at, one in enumerate(config.exits)
        if one.name == "nearest"
    ]
    if problems:
        raise InputError(problems)
    return config


def _twice(config: Config, key: str, named: tuple[Relay | MasqueExit, ...]) -> list[Problem]:
    seen: set[str] = set()
    problems = []
    for at, one in enumerate(named):
        if one.name in seen:
            problems.append(config.problem(key, at, "name", says=f'"{one.name}" stands twice'))
        seen.add(one.name)
    return problems
