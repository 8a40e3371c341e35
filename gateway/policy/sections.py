"""The shape of a policy file.  Owns: every key of the language, as pydantic sections.
Knows: pydantic.  Never: what a policy decides; that is compiled from these in loading."""

from __future__ import annotations

import datetime
from typing import Annotated, Generic, TypeVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from gateway.document import Section
from gateway.model import Action, IdentifierKind, Mode, Protocol, Traffic, Transport
from gateway.policy.outcomes import Act, ExpectedAct, Outcome, told
from gateway.policy.sets import JurisdictionSection
from gateway.policy.values import (
    Asn,
    Country,
    Name,
    NamePattern,
    Networks,
    PlaintextKind,
    PortRange,
)

Value = TypeVar("Value")


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value]


class _OneOrMore:
    """Reads one value as a list of it, and describes both."""

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_before_validator_function(_as_list, handler(source))

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        listed = handler(core_schema)
        return {"anyOf": [handler.resolve_ref_schema(listed)["items"], listed]}


Countries = Annotated[tuple[Country, ...], _OneOrMore()]


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

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Describe what is written, not what it is read as."""
        read = handler.resolve_ref_schema(handler(core_schema))
        one = read["properties"]["values"]["items"]
        choice = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
        negated = {
            "type": "object",
            "properties": {"not": choice},
            "required": ["not"],
            "additionalProperties": False,
        }
        read.clear()
        read |= {"anyOf": [*choice["anyOf"], negated]}
        return read


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
    """Staged roll-out of one rule.  Days are UTC."""

    percent: Annotated[float, Field(ge=0, le=100)] = 100.0
    """For this share of the clients the rule only watches; for the others it is enforced.
    Omitted: all of them."""
    from_: datetime.date | None = Field(default=None, alias="from")
    """From this day on the share falls, by the same step each midnight, so that on the day `until`
    the rule is enforced for everybody; a client for which it once was stays so.  Omitted: the share
    stays the same until that day."""
    until: datetime.date | None = None
    """The first day on which the rule is enforced for everybody.  Omitted: no such day."""

    @model_validator(mode="after")
    def _in_order(self) -> Shadow:
        if self.from_ is not None:
            if self.until is None:
                raise ValueError("from needs until: the day on which the roll-out is complete")
            if self.until <= self.from_:
                raise ValueError(f"until ({self.until}) must be after from ({self.from_})")
        elif self.until is None and "percent" not in self.model_fields_set:
            raise ValueError("needs percent, until, or from with until; or say mode: shadow")
        return self

    def percent_on(self, today: datetime.date) -> float:
        """Give the share of the clients for which the rule only watches on a day."""
        if self.until is None:
            return self.percent
        if today >= self.until:
            return 0.0
        if self.from_ is None or today <= self.from_:
            return self.percent
        return self.percent * ((self.until - today) / (self.until - self.from_))


class RuleSection(Section):
    """One rule; the first that matches decides."""

    id: Name
    """The rule's name, once in the file."""
    when: When
    """{} matches everything."""
    action: Act
    """What happens to a flow for which the rule matches."""
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
    asn: Annotated[tuple[Asn, ...], _OneOrMore()] = ()

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
    plaintext: Annotated[tuple[IdentifierKind, ...], _OneOrMore()] | None = None
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
    """What the policy has to say of it."""


class PolicySection(Section):
    """A policy file."""

    policy: Name
    """The policy's name."""
    default: Act = Outcome(action=Action.BLOCK)
    """What happens where no rule matches.  Omitted: block."""
    mode: Mode = Mode.ENFORCE
    """shadow: nothing is enforced, everything is allowed, and what would be is written down."""
    owner: str = ""
    """Who answers for it, and for its rules.  Omitted: nobody said."""
    reason: str = ""
    """Why it is.  Omitted: nobody said."""
    include: tuple[str, ...] = ()
    """Jurisdiction lists whose jurisdictions and clients are taken in: a path, from this file, or
    the name of one that comes with the gateway.  Omitted: none."""
    jurisdictions: dict[Name, JurisdictionSection] = Field(default_factory=dict)
    """Named sets of addresses, for `to`.  Omitted: none of its own."""
    clients: dict[Name, Networks] = Field(default_factory=dict)
    """Named groups of client networks, for `from`."""
    rules: tuple[RuleSection, ...] = ()
    """Read in order; the first that matches decides.  Omitted: everything meets the default."""
    cases: tuple[CaseSection, ...] = ()
    """Regression tests of the rules; also in NAME.cases.yaml beside the file.  Omitted: none."""


class CasesSection(Section):
    """A file of cases beside a policy: NAME.cases.yaml for NAME.yaml."""

    cases: tuple[CaseSection, ...]
    """Regression tests of the rules."""
