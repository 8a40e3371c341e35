"""A comparison in sentences.  Owns: the summary, and what stands together: changes of the same
addresses are one paragraph.  Never: terminals, Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gateway.review.change import Change, Comparison, Membership, Sort
from gateway.review.describing import Describing, tally
from gateway.review.extent import Extent, count
from gateway.review.rules import PolicyChange
from gateway.review.traffic import FlowChange, Replayed

_MAX_TOLD = 5


@dataclass(frozen=True, slots=True)
class Paragraph:
    """All that changes alike for the same addresses."""

    sort: Sort
    title: str
    """"1,028 IPv4 addresses: mainland-china → no jurisdiction"."""
    outcomes: tuple[str, ...]
    """"block → allow: traffic media, without identifiers"."""
    remarks: tuple[str, ...]
    """Why, countries, operators."""
    extent: Extent


def summary(found: Comparison, replayed: Replayed | None) -> list[str]:
    """Give the lines that come first; newly allowed space is the very first."""
    newly = found.newly_allowed
    share = f", {_percent(newly.share)} of the IPv4 addresses that were not" if newly.share else ""
    lines = [
        f"Newly allowed: {newly.extent}{share}.",
        f"Newly blocked: {found.newly_blocked}.",
    ]
    if replayed is not None:
        changed = sum(one.flows for one in replayed.changes if one.sort is Sort.ALLOWED)
        alike = len(replayed.changes)
        lines.append(
            f"Recorded traffic: {count(replayed.flows, 'flow')} judged, {count(alike, 'change')}, "
            f"{count(changed, 'flow')} newly allowed."
        )
    if not found.profiles.is_complete:
        lines.append(
            "The rules tell more kinds of flow apart than were tried "
            f"({len(found.profiles.all):,}): a change that needs a rare combination of port, "
            "client, name and payload may not be seen."
        )
    return lines


def _percent(share: float) -> str:
    return "less than 0.01 %" if share < 0.0001 else f"{share * 100:.2f} %"


def paragraphs(found: Comparison) -> Iterator[Paragraph]:
    """Put together what changes for the same addresses, the gravest sort first."""
    describing = Describing(found.profiles)
    together: dict[tuple[object, ...], list[Change]] = {}
    for one in found.changes:
        key = (one.sort, one.extent, one.old_members, one.new_members)
        together.setdefault(key, []).append(one)
    for group in together.values():
        yield _paragraph(group, describing)


def _paragraph(group: list[Change], describing: Describing) -> Paragraph:
    first = group[0]
    old, new = _set(first.old_members), _set(first.new_members)
    where = old if old == new else f"{old} → {new}"
    outcomes = [
        f"{one.old} → {one.new}: {phrase}"
        for one in group
        for phrase in describing.phrases(one.profiles)
    ]
    return Paragraph(
        first.sort,
        f"{first.extent}: {where}",
        tuple(outcomes),
        tuple(_remarks(group)),
        first.extent,
    )


def _set(members: tuple[str, ...]) -> str:
    return ", ".join(members) or "no jurisdiction"


def _remarks(group: list[Change]) -> Iterator[str]:
    first = group[0]
    causes = dict.fromkeys(cause for one in group for cause in one.causes)
    yield f"why: {', '.join(causes)}"
    for name, amounts in (
        ("sources", first.details),
        ("countries", first.countries),
        ("operators", first.operators),
    ):
        if amounts:
            yield f"{name}: {', '.join(tally(amounts, _MAX_TOLD))}"


def membership(one: Membership) -> str:
    """Say who joined or left a jurisdiction."""
    words = {True: "in", False: "not in", None: "perhaps in"}
    return f"{one.jurisdiction}: {words[one.old]} → {words[one.new]}: {one.extent}"


def policy(one: PolicyChange) -> Iterator[str]:
    """Say what is written otherwise."""
    yield from one.settings
    yield from (f"rule added: {name}" for name in one.added)
    yield from (f"rule removed: {name}" for name in one.removed)
    yield from (f"rule moved: {name}" for name in one.moved)
    for each in one.edited:
        yield f"rule {each.name} ({each.place}): {'; '.join(each.differences)}"
    yield from (f"jurisdiction added: {name}" for name in one.jurisdictions_added)
    yield from (f"jurisdiction removed: {name}" for name in one.jurisdictions_removed)
    for each in one.jurisdictions_edited:
        yield f"jurisdiction {each.name}: {'; '.join(each.differences)}"


def flows(one: FlowChange) -> str:
    """Say which recorded flows change, and how."""
    some = ", for some clients" if one.for_some_clients else ""
    return (
        f"{count(one.flows, 'flow')} ({count(one.decisions, 'decision')}), {one.what}: "
        f"{one.old} by {one.old_rule} → {one.new} by {one.new_rule}{some}; "
        f"why: {', '.join(one.causes)}"
    )


def ranges(one: Extent, most: int) -> str:
    """Name the first ranges, and how many more there are."""
    told = one.texts(most)
    more = one.range_count - len(told)
    return ", ".join(told) + (f" and {more:,} more" if more else "")


def examples(one: FlowChange) -> Iterable[str]:
    """Name some of the flows, and where they are recorded."""
    for each in one.examples:
        details = f" ({'; '.join(each.details)})" if each.details else ""
        yield f"{each.flow}, {each.place}{details}"
