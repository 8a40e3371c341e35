"""The shape of jurisdictions.  Owns: the keys of a named set, and of a file that policies include.
Knows: pydantic.  Never: rules; whether an address belongs."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import Field, model_validator

from gateway.document import Section
from gateway.model import Axis
from gateway.policy.values import Asn, Country, Name, NamePattern, Networks


class Except(Section):
    """What a jurisdiction leaves out."""

    networks: Networks = ()
    """Networks, addresses, ranges, or files of them."""


class Review(Section):
    """Who answers for a jurisdiction, and until when it may be relied on."""

    owner: str = ""
    """Who answers for it.  Omitted: the file's owner."""
    reason: str = ""
    """Why it is.  Omitted: nobody said."""
    source: str = ""
    """Where it was taken from.  Omitted: nobody said."""
    reviewed: datetime.date | None = None
    """The day on which somebody last held it against its source.  Omitted: nobody said."""
    review_by: datetime.date | None = None
    """The day by which somebody must do so again; `gateway check` warns from the next day on.
    Omitted: it does not grow old."""


class JurisdictionSection(Review):
    """A named set of addresses."""

    countries: tuple[Country, ...] = ()
    """Short for the same countries as `location`, `registration` and `operator`.  Omitted: each
    says for itself."""
    location: tuple[Country, ...] = ()
    """Countries where the machine stands.  Omitted: location is not asked."""
    registration: tuple[Country, ...] = ()
    """Countries of the registry record.  Omitted: registration is not asked."""
    operator: tuple[Country, ...] = ()
    """Countries of the network's operator.  Omitted: the operator's country is not asked."""
    asns: tuple[Asn, ...] = ()
    """Autonomous systems whose addresses belong.  Omitted: none."""
    networks: Networks = ()
    """Networks, addresses and ranges that belong, or {file: PATH} with one a line."""
    names: tuple[NamePattern, ...] = ()
    """Extra evidence for blocking, never for allowing."""
    except_: Except = Field(default=Except(), alias="except")
    """Networks that are not members, whatever the evidence."""
    agreement: Literal["any", "all"] = "any"
    """any: one source on one asked axis is enough.  all: every source on every asked axis must say
    so, and sources that disagree leave it undetermined."""

    @property
    def is_by_name_only(self) -> bool:
        """Whether nothing but names speaks for belonging."""
        return not (self.asked or self.asns or self.networks)

    @property
    def asked(self) -> dict[Axis, tuple[str, ...]]:
        """The countries by asked axis."""
        by_axis = {
            Axis.LOCATION: self.location or self.countries,
            Axis.REGISTRATION: self.registration or self.countries,
            Axis.OPERATOR: self.operator or self.countries,
        }
        return {axis: codes for axis, codes in by_axis.items() if codes}

    @model_validator(mode="after")
    def _has_members(self) -> JurisdictionSection:
        if self.countries and (self.location or self.registration or self.operator):
            raise ValueError("give either countries or location, registration and operator")
        if not self.asked:
            if not (self.asns or self.networks or self.names):
                raise ValueError(
                    "has no countries, location, registration, operator, asns, networks or names"
                )
            if self.agreement == "all":
                raise ValueError(
                    "agreement: all needs countries, or a location, registration or operator"
                )
        return self


class ListSection(Review):
    """A jurisdiction list: a file that policies include.  What it says of owner, reason, source and
    review holds for each of its jurisdictions that says nothing of it."""

    include: tuple[str, ...] = ()
    """Other lists, as in a policy."""
    jurisdictions: dict[Name, JurisdictionSection] = Field(default_factory=dict)
    """Named sets of addresses."""
    clients: dict[Name, Networks] = Field(default_factory=dict)
    """Named groups of client networks."""

    def reviewed_as(self, section: JurisdictionSection) -> JurisdictionSection:
        """Give one of the jurisdictions with what the list says of all."""
        said = {key: getattr(self, key) for key in Review.model_fields if getattr(self, key)}
        own = {key for key in Review.model_fields if getattr(section, key)}
        return section.model_copy(
            update={key: value for key, value in said.items() if key not in own}
        )
