"""The shape of gateway.yaml.  Owns: every key of it but the topmost, as pydantic sections.
Knows: pydantic.  Never: files, what one section means for another."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.config.proxies import ProxyExit
from gateway.config.updates import Updates
from gateway.document import Section, readable
from gateway.errors import AddressError
from gateway.evidence.files import LogLimits
from gateway.kernel.router import interface
from gateway.model import Axis, Endpoint, Transport
from gateway.policy.networks import AddressRange, address_range
from gateway.policy.values import Country, Name

_Latitude = Annotated[float, Field(ge=-90, le=90)]
_Longitude = Annotated[float, Field(ge=-180, le=180)]
Coordinates = tuple[_Latitude, _Longitude]
"""Degrees; north and east are positive."""


def _cidr(text: str) -> str:
    try:
        span: AddressRange = address_range(text)
    except AddressError as error:
        raise ValueError(str(error)) from error
    if "-" in text or span.size not in (4, 16):
        raise ValueError(f'"{text}" must be a network such as 203.0.113.0/24')
    return text


def _digest(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError("must be the token's SHA-256, in 64 hexadecimal digits, not the token")
    return text


def _own_port(given: object) -> object:
    """Read tcp/22."""
    transport, _, port = str(given).partition("/")
    if transport not in ("tcp", "udp") or not (port.isascii() and port.isdigit()):
        raise ValueError(f'"{given}" is no port such as tcp/22 or udp/53')
    if not 0 < int(port) < 65536:
        raise ValueError(f'"{given}": a port is 1..65535')
    return Transport(transport), int(port)


OwnPort = Annotated[tuple[Transport, int], BeforeValidator(_own_port)]
Interface = Annotated[str, readable(interface)]
EndpointText = Annotated[str, readable(Endpoint.parse)]
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


class TransparentListener(Section):
    """Router mode: everything that clients send through this host by an interface."""

    kind: Literal["transparent"]
    interface: Interface
    """The network interface that the clients are behind."""
    snat: bool = False
    """true: clients leave by the gateway's own address.  Every transparent listener says the
    same."""


DoorListener = Socks5Listener | HttpConnectListener | ForwardListener
"""A listener with an address."""
Listener = Annotated[DoorListener | TransparentListener, Field(discriminator="kind")]


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
    position: Coordinates | None = None
    """Where it stands, [latitude, longitude] in degrees: the operator's claim, by which round trips
    from there refute where destinations are said to be.  Omitted: they refute nothing."""

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


class InterfaceExit(Section):
    """A network interface that flows leave by, such as a WireGuard's."""

    name: Name
    kind: Literal["interface"]
    interface: Interface
    masquerade: bool = True
    """false: the far side knows the way back to the clients' own addresses."""
    jurisdiction: Country | None = None
    """The operator's claim, for people."""


Exit = Annotated[MasqueExit | InterfaceExit | ProxyExit, Field(discriminator="kind")]


class RouterOptions(Section):
    """What transparent listeners have in common."""

    admits: tuple[OwnPort, ...] = ()
    """What clients may ask the gateway itself besides DHCP, echo and its other listeners:
    [tcp/22, udp/53]."""
    spot_check: Annotated[int, Field(ge=0, lt=1 << 31, strict=True)] = 1000
    """One of so many packets of an accepted flow is judged again; 0: none."""
    fence: bool = True
    """Routing itself lets nothing pass without a verdict, also while netfilter has no rules.  It
    costs some of the packets a second that the host could forward."""
    fast_path: tuple[Interface, ...] = ()
    """Ethernet interfaces that flows leave by: between them and the clients' the kernel repeats for
    a second what the rules did with media of a flow, without asking them (Linux 6.6, CAP_BPF)."""
    workers: Annotated[int, Field(ge=1, le=64, strict=True)] = 1
    """Processes that judge."""
    first_queue: Annotated[int, Field(ge=0, le=65_000, strict=True)] = 8_700
    """The number of the first worker's netfilter queue; the others follow."""


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

    sources: Annotated[tuple[Literal["bundled", "updated"] | OwnFile, ...], Field(min_length=1)] = (
        "bundled",
    )
    """`updated`: what `gateway update` brought, and until it did, the bundled data."""
    max_age_days: Annotated[int, Field(ge=1, strict=True)] = 120
    """Older data is shown and counts as no evidence."""
    owners_max_age_days: Annotated[int, Field(ge=1, strict=True)] | None = None
    """The same for the table of owners, which people review.  Omitted: 400, or `max_age_days` where
    that is more."""
    overrides: tuple[OverrideSection, ...] = ()
    nat64_prefixes: tuple[Cidr, ...] = ()
    """The site's own NAT64 prefixes (RFC 6052), beside 64:ff9b::/96."""
    updates: Updates | None = None
    """What `gateway update` does.  Omitted: nothing."""

    @model_validator(mode="after")
    def _fits(self) -> Geo:
        if "updated" in self.sources and self.updates is None:
            raise ValueError('sources name "updated", and there is no updates')
        if "updated" in self.sources and "bundled" in self.sources:
            raise ValueError('"updated" falls back to the bundled data by itself: name one of them')
        return self


class Evidence(Section):
    """Where decisions are written down."""

    path: PathText = "evidence/"
    required: bool = False
    """true: what cannot be written down is blocked."""
    checkpoint_s: Annotated[float, Field(ge=1)] = 60.0
    """What is written is signed after so long at most."""
    max_segment_bytes: Annotated[int, Field(ge=64 << 10, strict=True)] = 64 << 20
    max_segment_hours: Annotated[float, Field(gt=0)] = 24.0
    keep_bytes: Annotated[int, Field(ge=0, strict=True)] = 10 << 30
    """Full files beyond this are removed, the oldest first; for each worker's log."""
    keep_days: Annotated[float, Field(gt=0)] | None = None
    """Full files older than this are removed.  Omitted: age removes nothing."""

    def limits(self) -> LogLimits:
        """Give them as the log has them."""
        return LogLimits(
            checkpoint_s=self.checkpoint_s,
            max_segment_bytes=self.max_segment_bytes,
            max_segment_s=self.max_segment_hours * 3600,
            keep_bytes=self.keep_bytes,
            keep_s=None if self.keep_days is None else self.keep_days * 86_400,
        )


class State(Section):
    """What a gateway keeps for its next start, and where its own commands reach it."""

    path: PathText = "state/"


class TokenSection(Section):
    """Somebody's right to ask the console."""

    name: Name
    sha256: Annotated[str, AfterValidator(_digest)]
    """Of the token: `printf %s TOKEN | sha256sum`."""
    scopes: Annotated[tuple[Literal["read", "reload"], ...], Field(min_length=1)] = ("read",)


class Console(Section):
    """The console: a web server for the people who look after a gateway."""

    address: EndpointText
    hosts: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Names by which browsers reach it, besides its address and localhost."""
    tokens: tuple[TokenSection, ...] = ()
    """Omitted: reading is free, and only from this host; nothing can be changed."""


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
