"""The shape of a policy file.  Owns: every key of the language, as pydantic sections.
Knows: pydantic.  Never: what a policy decides; that is compiled from these in loading."""

from __future__ import annotations

import datetime
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.document import Section, suggestion
from gateway.errors import AddressError
from gateway.model import Action, IdentifierKind, Mode, Protocol, Traffic, Transport
from gateway.policy.countries import COMMON_ERRORS, COUNTRIES
from gateway.policy.names import NameSet
from gateway.policy.networks import address_range
from gateway.policy.outcomes import Act, ExpectedAct, Outcome, told

Value = TypeVar("Value")

ANY = "any"
_KINDS = (ANY, *(str(kind) for kind in IdentifierKind))


def _country(text: str) -> str:
    if text in COUNTRIES:
        return text
    upper = text.upper()
    meant = upper if upper in COUNTRIES else COMMON_ERRORS.get(upper)
    hint = f'; did you mean "{meant}"?' if meant else ""
    raise ValueError(f'"{text}" is no ISO 3166-1 alpha-2 country code{hint}')


def _network(text: str) -> str:
    try:
        address_range(text)
    except AddressError as error:
        raise ValueError(str(error)) from error
    return text


def _name_pattern(text: str) -> str:
    try:
        NameSet([text])
    except AddressError as error:
        raise ValueError(str(error)) from error
    return text


def _identifier_kind(text: str) -> str:
    if text not in _KINDS:
        raise ValueError(f'"{text}" is no kind of identifier{suggestion(text, _KINDS)}')
    return text


def _ports(given: object) -> object:
    """Read 8000 or "4000-4030" as (first, last)."""
    first, dash, last = str(given).partition("-")
    try:
        ports = (int(first), int(last if dash else first))
    except ValueError:
        ports = (-1, -1)
    if isinstance(given, bool) or not 0 <= ports[0] <= ports[1] <= 65535:
        raise ValueError(f'"{given}" is no port or range of ports such as 8000 or "4000-4030"')
    return ports


Country = Annotated[str, AfterValidator(_country)]
Network = Annotated[str, AfterValidator(_network)]
NamePattern = Annotated[str, AfterValidator(_name_pattern)]
PlaintextKind = Annotated[str, AfterValidator(_identifier_kind)]
PortRange = Annotated[tuple[int, int], BeforeValidator(_ports)]
Asn = Annotated[int, Field(ge=0, le=4294967295, strict=True)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


Countries = Annotated[tuple[Country, ...], BeforeValidator(_as_list)]


class ChoiceOf(Section, Generic[Value]):
    """A value, a list of values (any of them), or {not: …} of either."""

    values: Annotated[tuple[Value, ...], Field(min_length=1)]
    negated: bool = False

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: object) -> object:
        if isinstance(given, dict):
            if set(given) != {"not"}:
                raise ValueError("expected a value, a list of values, or {not: …}")
            return {"values": _as_list(given["not"]), "negated": True}
        return {"values": _as_list(given)}


class When(Section):
    """Conditions; all that are given must hold.  None given: holds for everything."""

    traffic: ChoiceOf[Traffic] | None = None
    """What the flow is for.  Omitted: any.  Example: [ping, telemetry]."""
    protocol: ChoiceOf[Protocol] | None = None
    """What it speaks.  Omitted: any.  Example: agora."""
    transport: ChoiceOf[Transport] | None = None
    """udp, tcp, icmp, or other: every other protocol of IP, and fragments.  Omitted: any."""
    to: ChoiceOf[str] | None = None
    """Jurisdictions of the destination.  Omitted: anywhere.  Example: {not: mainland-china}."""
    from_: ChoiceOf[str] | None = Field(default=None, alias="from")
    """Client networks, or names of groups under `clients`.  Omitted: all clients."""
    port: ChoiceOf[PortRange] | None = None
    """Destination ports.  Omitted: all.  Example: [8000, "4000-4030"]."""
    name: ChoiceOf[NamePattern] | None = None
    """Names that the client asked for or its bytes carry; counts for blocking, never for allow."""
    asn: ChoiceOf[Asn] | None = None
    """Autonomous systems that announce the destination.  Omitted: all.  Example: 45102."""
    plaintext: ChoiceOf[PlaintextKind] | None = None
    """Kinds of identifier found in plaintext, or any.  Omitted: whether or not."""
    any: Annotated[tuple[When, ...], Field(min_length=1)] | None = None
    """At least one of these holds."""
    all: Annotated[tuple[When, ...], Field(min_length=1)] | None = None
    """Each of these holds."""
    not_: When | None = Field(default=None, alias="not")
    """This does not hold."""


class Shadow(Section):
    """Staged roll-out of one rule."""

    percent: Annotated[float, Field(ge=0, le=100)]
    """For this share of the clients the rule only watches; for the others it is enforced."""


class RuleSection(Section):
    """One rule; the first that matches decides."""

    id: Name
    when: When
    """{} matches everything."""
    action: Act
    reason: str = ""
    """Why, for the log and for the refused client's operator.  Omitted: the id stands for it."""
    owner: str = ""
    """Who answers for the rule.  Omitted: the policy's owner."""
    expires: datetime.date | None = None
    """Last day of an exception: a rule that does not block stops matching after it; a block goes
    on, with a warning.  Omitted: never."""
    mode: Mode = Mode.ENFORCE
    """shadow: the rule is only written down when it matches, and the next rules decide."""
    shadow: Shadow | None = None
    """Shadow for a share of the clients.  Omitted: `mode` holds for all."""


class Except(Section):
    """What a jurisdiction leaves out."""

    networks: tuple[Network, ...] = ()


class JurisdictionSection(Section):
    """A named set of addresses."""

    location: tuple[Country, ...] = ()
    """Countries where the machine stands.  Omitted: location is not asked."""
    registration: tuple[Country, ...] = ()
    """Countries of the registry record.  Omitted: registration is not asked."""
    operator: tuple[Country, ...] = ()
    """Countries of the network's operator.  Omitted: the operator's country is not asked."""
    asns: tuple[Asn, ...] = ()
    networks: tuple[Network, ...] = ()
    names: tuple[NamePattern, ...] = ()
    """Extra evidence for blocking, never for allowing."""
    except_: Except = Field(default=Except(), alias="except")
    """Networks that are not members, whatever the evidence."""
    agreement: Literal["any", "all"] = "any"
    """any: one source on one asked axis is enough.  all: every source on every asked axis must say
    so, and sources that disagree leave it undetermined."""
    owner: str = ""
    reason: str = ""

    @model_validator(mode="after")
    def _has_members(self) -> JurisdictionSection:
        if not (self.location or self.registration or self.operator):
            if not (self.asns or self.networks or self.names):
                raise ValueError("has no location, registration, operator, asns, networks or names")
            if self.agreement == "all":
                raise ValueError("agreement: all needs a location, registration or operator")
        return self


class PayloadSection(Section):
    """The payload of a flow: exactly one of hex, file and capture."""

    hex: str | None = None
    """Octets in hexadecimal, spaces allowed; in quotes."""
    file: str | None = None
    """A file beside the policy that holds the octets."""
    capture: str | None = None
    """A pcap or pcapng file beside the policy."""
    frame: Annotated[int, Field(ge=1, strict=True)] | None = None
    """Which frame of the capture, from 1, as Wireshark counts."""

    @model_validator(mode="after")
    def _one_source(self) -> PayloadSection:
        if [self.hex, self.file, self.capture].count(None) != 2:
            raise ValueError("payload needs either hex, file or capture")
        if (self.capture is None) != (self.frame is None):
            raise ValueError("capture and frame go together: {capture: call.pcap, frame: 12}")
        if self.hex is not None:
            try:
                bytes.fromhex(self.hex)
            except ValueError as error:
                raise ValueError(f"hex: {error}") from error
        return self


class DestinationSection(Section):
    """Whose a destination is, given instead of what the data of the day say; what is omitted is
    not known."""

    location: Countries = ()
    registration: Countries = ()
    operator: Countries = ()
    asn: Annotated[tuple[Asn, ...], BeforeValidator(_as_list)] = ()

    @model_validator(mode="after")
    def _says_something(self) -> DestinationSection:
        if not self.model_fields_set:
            raise ValueError("to needs a location, registration, operator or asn")
        return self


class FlowSection(Section):
    """A flow, and what is known of it."""

    flow: str | None = None
    """Such as "udp 10.1.0.2:5000 > 118.190.148.38:8000" or "icmp 10.1.0.2 > 118.190.148.38".
    Omitted: the flow of the payload's captured frame."""
    payload: PayloadSection | None = None
    """Omitted: a flow of which no payload was seen, or what the next three say."""
    traffic: Traffic | None = None
    """The class, given instead of a payload.  Omitted: it cannot be told."""
    protocol: Protocol | None = None
    """What it speaks, given instead of a payload.  Omitted: unknown."""
    plaintext: Annotated[tuple[IdentifierKind, ...], BeforeValidator(_as_list)] | None = None
    """Kinds of identifier in plaintext, given instead of a payload; [] is none.  Omitted: it
    cannot be told."""
    names: tuple[str, ...] = ()
    """Names the client asked for."""
    to: DestinationSection | None = None
    """Omitted: what the data say."""

    @model_validator(mode="after")
    def _agrees(self) -> FlowSection:
        """Refuse facts that contradict each other."""
        facts = ("traffic", "protocol", "plaintext")
        given = [name for name in facts if getattr(self, name) is not None]
        if self.payload is not None and given:
            raise ValueError(f"give either a payload or {', '.join(given)}: the payload says it")
        if self.flow is None and (self.payload is None or self.payload.capture is None):
            raise ValueError(
                'give a flow, or a payload with capture and frame: key "flow" is missing'
            )
        portless = (self.flow or "").split(maxsplit=1)[:1] in (["icmp"], ["other"])
        if portless and given:
            raise ValueError(
                f"{' and '.join(given)}: of a flow without ports that is known already"
            )
        if not portless and self.protocol is Protocol.ICMP:
            raise ValueError("protocol icmp needs a flow of transport icmp")
        return self


class ExpectSection(Section):
    """What a case must give; keys that are omitted are not compared."""

    action: ExpectedAct
    """As in a rule; where it is only a name, such as wrap, the target is not compared."""
    rule: str | None = None
    target: str | None = None
    """The target, given here instead; of a block: drop or refuse."""

    @model_validator(mode="after")
    def _one_target(self) -> ExpectSection:
        if self.target is not None and self.action.target is not None:
            raise ValueError("give the target either with the action or as target")
        if self.target is not None and self.action.action is Action.BLOCK:
            told(self.target)
        return self


class CaseSection(FlowSection):
    """One regression test of the rules."""

    note: str = ""
    expect: ExpectSection


class PolicySection(Section):
    """A policy file."""

    policy: Name
    default: Act = Outcome(action=Action.BLOCK)
    """What happens where no rule matches.  Omitted: block."""
    mode: Mode = Mode.ENFORCE
    """shadow: nothing is enforced, everything is allowed, and what would be is written down."""
    owner: str = ""
    reason: str = ""
    jurisdictions: dict[Name, JurisdictionSection] = Field(default_factory=dict)
    clients: dict[Name, tuple[Network, ...]] = Field(default_factory=dict)
    """Named groups of client networks, for `from`."""
    rules: tuple[RuleSection, ...] = ()
    cases: tuple[CaseSection, ...] = ()


class CasesSection(Section):
    """A file of cases beside a policy: NAME.cases.yaml for NAME.yaml."""

    cases: tuple[CaseSection, ...]
