"""The words that every room shares, as frozen values.  Owns: endpoints, flows, content, places,
facts, verdicts.  Knows: RFC 7011 (flow), RFC 5952 (address text).  Never: sockets, time, files."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from gateway.errors import AddressError

# ::ffff:0:0/96, IPv4-mapped (RFC 4291 section 2.5.5.2): the same host as the IPv4 address in it.
_MAPPED = bytes(10) + b"\xff\xff"


class Transport(StrEnum):
    """What carries a flow."""

    UDP = "udp"
    TCP = "tcp"
    ICMP = "icmp"
    """ICMPv6 as well."""
    OTHER = "other"
    """Every other protocol of IP, and fragments."""

    @property
    def has_ports(self) -> bool:
        """Whether its endpoints have ports; where not, they are 0 on both sides."""
        return self in (Transport.UDP, Transport.TCP)


class Traffic(StrEnum):
    """What a flow is for."""

    PING = "ping"
    SIGNALLING = "signalling"
    MEDIA = "media"
    TELEMETRY = "telemetry"
    DNS = "dns"
    OTHER = "other"


class Protocol(StrEnum):
    """What a flow speaks."""

    AGORA = "agora"
    """The vendor's plaintext native protocol."""
    SD_RTN = "sd-rtn"
    """Its encrypted successor."""
    STUN = "stun"
    RTP = "rtp"
    RTCP = "rtcp"
    DTLS = "dtls"
    QUIC = "quic"
    TLS = "tls"
    HTTP = "http"
    DNS = "dns"
    SIP = "sip"
    WIREGUARD = "wireguard"
    """A tunnel: what it carries, and to where, cannot be told."""
    DISCORD = "discord"
    """What its voice client sends beside RTP."""
    ZOOM = "zoom"
    """Its encapsulation of RTP and RTCP."""
    TELEGRAM = "telegram"
    """What its calls send to a reflector in order to find it."""
    WHATSAPP = "whatsapp"
    """Its connection for messages; its calls are STUN and RTP."""
    ICMP = "icmp"
    UNKNOWN = "unknown"


class IdentifierKind(StrEnum):
    """What an identifier in plaintext tells."""

    USER_ID = "user-id"
    ROOM_ID = "room-id"
    TOKEN = "token"
    APP_ID = "app-id"
    DEVICE_ID = "device-id"
    SESSION_ID = "session-id"
    ACCOUNT = "account"
    INNER_ADDRESS = "inner-address"
    GIVEN = "given"
    """A value that the operator named."""
    LEARNED = "learned"
    """One that the leak finder found."""


class Form(StrEnum):
    """How an identifier is written."""

    TEXT = "text"
    """Its octets are all there is to it."""
    U32 = "u32"
    """Four octets, little-endian."""
    VARINT = "varint"
    """Protobuf's number: seven bits an octet, lowest first."""
    DIGITS = "digits"
    """A decimal number, as JSON has it."""


class Axis(StrEnum):
    """Which question about an address a source answers."""

    LOCATION = "location"
    """Where the machine stands."""
    REGISTRATION = "registration"
    """Under which registry record its block lies."""
    OPERATOR = "operator"
    """Whose autonomous system announces it, and who owns that."""


class Action(StrEnum):
    """What a rule does with a flow."""

    ALLOW = "allow"
    BLOCK = "block"
    REROUTE = "reroute"
    WRAP = "wrap"


class Mode(StrEnum):
    """Whether a verdict is carried out or only written down."""

    ENFORCE = "enforce"
    SHADOW = "shadow"


class Endpoint(NamedTuple):
    """One side of a flow.

    A tuple, so that it is cheap to make and to hash: it keys the flow table.
    """

    address: bytes
    """4 or 16 octets in network order, canonical: an IPv4-mapped address is its IPv4 address."""
    port: int
    """0..65535."""

    @classmethod
    def of(cls, host: str, port: int) -> Endpoint:
        """Make an endpoint of an address in text.

        Args:    host: IPv4 or IPv6 text, without brackets or zone; port: 0..65535.
        Raises:  AddressError: not an address (names are not), or a port out of range.
        """
        if not 0 <= port <= 65535:
            raise AddressError(str(port), "a port, 0..65535")
        return cls(pack(host), port)

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read "192.0.2.1:4001" or "[2001:db8::1]:4001".

        Raises:  AddressError: not of that form.
        """
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            colon = ""  # an IPv6 address without brackets: where it ends is a guess
        if not colon or not (port.isascii() and port.isdigit()):
            raise AddressError(text, 'an endpoint such as "192.0.2.1:4001" or "[2001:db8::1]:4001"')
        return cls.of(host, int(port))

    @property
    def host(self) -> str:
        """The address as text (RFC 5952)."""
        return unpack(self.address)

    def __str__(self) -> str:
        host = self.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


class FlowKey(NamedTuple):
    """The five-tuple (RFC 7011 section 2)."""

    transport: Transport
    client: Endpoint
    destination: Endpoint

    def __str__(self) -> str:
        if self.transport.has_ports:
            return f"{self.transport} {self.client} > {self.destination}"
        return f"{self.transport} {self.client.host} > {self.destination.host}"

    @classmethod
    def parse(cls, text: str) -> FlowKey:
        """Read "udp 10.1.0.2:5000 > 118.190.148.38:8000" or "icmp 10.1.0.2 > 118.190.148.38".

        Raises:  AddressError: not of that form.
        """
        words = text.split()
        if len(words) != 4 or words[2] != ">" or words[0].lower() not in tuple(Transport):
            example = '"udp 10.1.0.2:5000 > 192.0.2.1:8000" or "icmp 10.1.0.2 > 192.0.2.1"'
            raise AddressError(text, f"a flow such as {example}")
        transport = Transport(words[0].lower())
        read = Endpoint.parse if transport.has_ports else _portless
        return cls(transport, read(words[1]), read(words[3]))


def _portless(host: str) -> Endpoint:
    try:
        return Endpoint.of(host, 0)
    except AddressError:
        raise AddressError(host, "an address alone, as ICMP has no ports: 192.0.2.1") from None


def canonical(address: bytes) -> bytes:
    """Give the one form of an address: 4 octets for IPv4, IPv4-mapped IPv6 too; else 16."""
    if len(address) == 16 and address.startswith(_MAPPED):
        return address[12:]
    return address


def pack(host: str) -> bytes:
    """Turn address text into its canonical octets.

    Raises:  AddressError: not an IPv4 or IPv6 address (a zone such as %eth0 is refused).
    """
    try:
        if "%" in host:
            raise ValueError(host)
        return canonical(ipaddress.ip_address(host).packed)
    except ValueError:
        raise AddressError(host, "an IPv4 or IPv6 address") from None


def unpack(address: bytes) -> str:
    """Turn 4 or 16 octets into text (RFC 5952)."""
    return str(ipaddress.ip_address(address))


@dataclass(frozen=True, slots=True)
class Identifier:
    """One identifier found in plaintext: where it is, never what it is."""

    kind: IdentifierKind
    offset: int
    """Octets from the start of the payload."""
    length: int
    """Octets."""
    form: Form = field(default=Form.TEXT, compare=False)


@dataclass(frozen=True, slots=True)
class Content:
    """What the bytes of one datagram, or the first bytes of one stream, are."""

    protocol: Protocol
    message: str = ""
    """The protocol's own name for the message; "" if it has none."""
    traffic: Traffic | None = None
    """None: these bytes do not tell (an encrypted datagram, an unknown protocol): undetermined."""
    plaintext: tuple[Identifier, ...] | None = None
    """By offset.  (): looked, found none.  None: it cannot be told (an unknown protocol, or a
    message of a known one that is malformed or of an unknown kind)."""
    names: tuple[str, ...] = ()
    """Host names that the bytes carry (SNI, Host, DNS question): lower case, no final dot."""
    addresses: tuple[bytes, ...] = ()
    """Addresses that the payload asks its destination to reach (a TURN peer, the target of an HTTP
    CONNECT), canonical: they are judged with the destination."""
    may_show_more: bool = False
    """Whether identifiers that `plaintext` does not list cannot be told: those that it lists were
    found by value, in what no recogniser can read."""
    hides_name: bool = False
    """Whether a name may be there that `names` does not have: an encrypted ClientHello, whose outer
    name is not the one that counts, or a ClientHello that was read in part."""


UNKNOWN = Content(Protocol.UNKNOWN)
"""What a payload is that no recogniser knows."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One source's word on one axis."""

    axis: Axis
    value: str
    """ISO 3166-1 alpha-2, upper case; or "AS45102" for the announcing network itself."""
    source: str
    """The source's short name, "dbip-lite"; an override says "override: " and its reason."""
    built: str
    """ISO date of the source's data; "" if the source does not say."""
    prefix: str
    """The network that the word is about, CIDR, or "first-last" where no one CIDR fits."""
    stale: bool = False
    """Older than the configuration allows: shown, and counted as no evidence."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Whose an address is, as far as the sources know: what jurisdictions are decided on.

    One object is shared by all addresses with the same evidence, and is compared by identity, so
    that a policy may remember its answer for it.
    """

    values: Mapping[Axis, tuple[str, ...]]
    """Country codes by axis, fresh evidence only, each once; an axis without evidence is absent."""
    asns: tuple[int, ...] = ()
    """The autonomous systems that announce it; () if none is known."""
    doubts: tuple[str, ...] = ()
    """Sentences: why an axis is absent ("a private address (RFC 1918): nobody's jurisdiction")."""


SCRUBBED = "scrub:"
"""What stands before the exit in the target of a wrap that replaces identifiers by pseudonyms.  No
exit is called so: who does not know of it finds no way, and blocks."""

NOWHERE = Place(values={}, doubts=("no source was asked",))
"""The place of an address that nobody looked up."""


@dataclass(frozen=True, slots=True)
class Jurisdictions:
    """Which of a policy's named sets an address belongs to."""

    members: frozenset[str]
    undetermined: frozenset[str]


class Facts(NamedTuple):
    """All that a policy may look at.

    A tuple, so that it is cheap to make: each new flow has its own.
    """

    key: FlowKey
    place: Place
    content: Content | None = None
    """None: no payload was seen yet (a TCP flow before its first bytes)."""
    names: tuple[str, ...] = ()
    """The names the client asked for or its payload carries: lower case, no final dot."""
    further: tuple[bytes, ...] = ()
    """Addresses that are judged with the destination's: spelled inside it (6to4, NAT64), asked for
    by the payload (a TURN peer), and spelled inside those."""
    further_places: tuple[Place, ...] = ()
    """The place of each of `further`, in order."""
    claimed: Place | None = None
    """The destination's place as the sources have it, where `place` is without a location since
    round trips refute it (flow.discs); None: nothing is refuted."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to a flow, and why."""

    action: Action
    rule: str
    """The id of the rule that decided; "default" where none matched."""
    reason: str
    target: str | None = None
    """Of reroute and wrap: the relay or exit, or "nearest".  Of a block: "refuse" if the client is
    told (TCP reset, ICMP admin-prohibited), None if it is met with silence.  Of allow: None.  A
    wrap with pseudonyms has SCRUBBED before its exit."""
    mode: Mode = Mode.ENFORCE
    """shadow: the whole policy only watches; `would` is what it would have done."""
    epoch: int = 0
    """Which loading of the policy and its data decided; 0 outside a running gateway."""
    would: Verdict | None = field(default=None)
    """The verdict of the first matching rule in shadow mode; None if there is none."""
    settled: bool = True
    """False: another verdict is possible once the payload is seen (a TCP flow before its bytes)."""
