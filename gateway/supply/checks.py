"""Whether newer data may be used.  Owns: what is checked, and the sentence of each failed check.
Knows: two fused files, one in use and one that would be.  Never: fetching, the policy."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import resources

from gateway.config.updates import Canary, UpdateLimits
from gateway.geo.bundle import Bundle
from gateway.model import Axis, pack
from gateway.supply.census import FAMILIES, UNITS, Census, census
from gateway.supply.delegated import REGISTRIES

_NAMES = {32: "IPv4", 128: "IPv6"}
_CANARIES = "canaries.csv"


@dataclass(frozen=True, slots=True)
class Finding:
    """One failed check."""

    check: str
    """newer, whole, coverage, countries, canary, refused, allowed."""
    says: str
    """What is wrong, and by how much."""
    do: str
    """What to do about it."""
    may_pass: bool = False
    """A person's yes is enough."""


def findings(
    old: Bundle, new: Bundle, limits: UpdateLimits, canaries: Sequence[Canary], today: date
) -> list[Finding]:
    """Check data against those in use; the ages first."""
    found = [*newer(old, new, today)]
    for bits in FAMILIES:
        was, is_ = census(old, bits), census(new, bits)
        found += coverage(was, is_, bits, limits)
        found += countries(was, is_, bits, limits)
    return [*found, *canaries_of(new, canaries)]


def newer(old: Bundle, new: Bundle, today: date) -> Iterator[Finding]:
    """Find the axes that would go back in time, or that say they come from the future."""
    for axis in Axis:
        was, is_ = (_oldest(bundle, axis) for bundle in (old, new))
        if is_ < was:
            yield Finding(
                "newer",
                f"{axis}: these data are of {is_}, those in use of {was}",
                "look why the source is behind; --yes goes back in time",
                may_pass=True,
            )
    for origin in new.origins:
        if origin.built > today.isoformat():
            yield Finding(
                "newer",
                f"{origin.name} says it was built on {origin.built}, which is to come",
                "look at the host's clock and at `built`, or at who made the file",
            )


def whole(registries: Sequence[str]) -> Iterator[Finding]:
    """Find registries whose files are missing, where some are given."""
    missing = [one for one in REGISTRIES if one not in registries]
    if registries and missing and "nro" not in registries:
        yield Finding(
            "whole",
            f"registration: there is no file of {', '.join(missing)}",
            "name the delegated-extended files of all five registries",
        )


def coverage(was: Census, is_: Census, bits: int, limits: UpdateLimits) -> Iterator[Finding]:
    """Find columns that answer for less of announced space, and networks that announce less."""
    family, advice = _NAMES[bits], "fetch the file again; or raise coverage_loss_percent"
    least = was.announced * (1 - limits.coverage_loss_percent / 100)
    if is_.announced < least:
        lost = 100 * (1 - is_.announced / was.announced)
        yield Finding(
            "coverage",
            f"{family}: announced space is {lost:.2f} % smaller, "
            f"{limits.coverage_loss_percent:g} % may be",
            advice,
        )
    for column in ("location", "registration", "operator"):
        before, after = 100 * was.coverage(column), 100 * is_.coverage(column)
        if before - after > limits.coverage_loss_percent:
            yield Finding(
                "coverage",
                f"{family}: {column} answers for {after:.2f} % of announced space, "
                f"{before:.2f} % in use",
                advice,
            )


def countries(was: Census, is_: Census, bits: int, limits: UpdateLimits) -> Iterator[Finding]:
    """Find countries that grew or shrank by more than data do between two updates."""
    floor = limits.country_floor_v4 if bits == 32 else limits.country_floor_v6
    for key in sorted({*was.countries, *is_.countries}):
        before, after = was.countries.get(key, 0), is_.countries.get(key, 0)
        change = abs(after - before)
        if change > floor and change > before * limits.country_change_percent / 100:
            share = f"{100 * (after - before) / before:+.1f} %" if before else "new"
            yield Finding(
                "countries",
                f"{_NAMES[bits]}: {key[0]} {key[1]}: {before:,.0f} → {after:,.0f} {UNITS[bits]} "
                f"({share})",
                "look whether the news explain it; --yes accepts it",
                may_pass=True,
            )


def canaries_of(bundle: Bundle, own: Sequence[Canary]) -> Iterator[Finding]:
    """Ask the addresses whose answers are known."""
    mine = {pack(one.address) for one in own}
    for one in (*own, *(each for each in built_in() if pack(each.address) not in mine)):
        said = answers(bundle, pack(one.address))
        asked = (said[one.axis],) if one.axis else said.values()
        values = sorted({value for each in asked for value in each})
        about = one.axis or "every axis"
        if one.is_in is not None and one.is_in not in values:
            wanted = f"must be {one.is_in}"
        elif one.not_in is not None and one.not_in in values:
            wanted = f"must not be {one.not_in}"
        else:
            continue
        yield Finding(
            "canary",
            f"{one.address} {wanted}; {about}: {', '.join(values) or 'nothing'}",
            "the data are wrong there; if the address moved, say so in geo: updates: canaries",
        )


def built_in() -> Iterable[Canary]:
    """Give the canaries that come with the gateway."""
    text = (resources.files("gateway.supply") / _CANARIES).read_text("utf-8")
    for row in csv.DictReader(text.splitlines()):
        given = {name: value for name, value in row.items() if value and name != "note"}
        yield Canary.model_validate(given)


def answers(bundle: Bundle, address: bytes) -> dict[Axis, tuple[str, ...]]:
    """Give what a fused file says of an address, by axis."""
    part = bundle.v4 if len(address) == 4 else bundle.v6
    number = part.numbers[part.find(int.from_bytes(address))]
    at = bundle.as_at[number]
    codes = {
        Axis.LOCATION: (bundle.location[number],),
        Axis.REGISTRATION: (bundle.registration[number],),
        Axis.OPERATOR: (bundle.as_country[at], bundle.as_operator[at]),
    }
    return {
        axis: tuple(bundle.countries[code] for code in numbers if code)
        for axis, numbers in codes.items()
    }


def _oldest(bundle: Bundle, axis: Axis) -> str:
    return min((origin.built for origin in bundle.origins if origin.axis is axis), default="")
