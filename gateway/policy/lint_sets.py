"""Lint of sets.  Owns: jurisdictions and client groups that are empty, unused, said twice, or
one in the other; what a list leaves unsaid of its review.
Knows: the language's sections.  Never: rules; addresses' evidence."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from gateway.document import Document, Steps
from gateway.policy.compiling import all_within
from gateway.policy.literals import Logic
from gateway.policy.loading import Loaded
from gateway.policy.networks import address_range
from gateway.policy.remarks import Remark, note, warning


def sets(loaded: Loaded) -> Iterator[Remark]:
    """Look at each jurisdiction and each group of clients."""
    document = loaded.sources.document
    used = used_jurisdictions(loaded)
    asked = _used_clients(loaded)
    for one in loaded.sources.documents:
        for name in _keys(one, "jurisdictions"):
            yield from _jurisdiction(loaded, one, name)
            if one is document and name not in used:
                says = f'no rule asks for jurisdiction "{name}"'
                yield warning("unused", one.problem(("jurisdictions", name), says))
        for name in _keys(one, "clients"):
            yield from _covered(one, ("clients", name))
            if one is document and name not in asked:
                says = f'no rule asks for the clients "{name}"'
                yield warning("unused", one.problem(("clients", name), says))
    for at, one in loaded.sources.direct.items():
        defined = {*_keys(one, "jurisdictions"), *_keys(one, "clients")}
        if defined and not defined & (used | asked) and not _keys(one, "include"):
            says = "nothing of what it defines is asked for by any rule"
            yield warning("unused", document.problem(("include", at), says))


def used_jurisdictions(loaded: Loaded) -> set[str]:
    """Give the jurisdictions that rules ask for."""
    return {
        name
        for rule in loaded.section.rules
        for when, _ in all_within(rule.when)
        if when.to is not None
        for name in when.to.values
    }


def _used_clients(loaded: Loaded) -> set[str]:
    return {
        name
        for rule in loaded.section.rules
        for when, _ in all_within(rule.when)
        if when.from_ is not None
        for name in when.from_.values
    }


def _keys(document: Document, key: str) -> list[str]:
    value = document.value.get(key) if isinstance(document.value, dict) else None
    return [str(one) for one in value] if isinstance(value, dict | list) else []


def _jurisdiction(loaded: Loaded, document: Document, name: str) -> Iterator[Remark]:
    steps: Steps = ("jurisdictions", name)
    section = loaded.section.jurisdictions[name]
    compiled = loaded.policy.jurisdictions[name]
    has_more = section.asked or section.asns or section.names
    if not has_more and compiled.exceptions.covers(compiled.networks):
        says = f'jurisdiction "{name}" is empty'
        says += ": all of its networks are excepted" if compiled.networks else ""
        yield warning("empty", document.problem(steps, says))
    unsaid = [key for key in ("owner", "reason") if not getattr(section, key)]
    if unsaid and not (loaded.section.owner and unsaid == ["owner"]):
        says = f'jurisdiction "{name}" has no {" and no ".join(unsaid)}'
        yield note("no-owner", document.problem(steps, says))
    if section.source and section.review_by is None:
        says = f'jurisdiction "{name}" is from a source, and nobody is to review it: say review_by'
        yield note("no-review", document.problem(steps, says))
    yield from _covered(document, (*steps, "networks"))
    yield from _covered(document, (*steps, "except", "networks"))


def _covered(document: Document, steps: Steps) -> Iterator[Remark]:
    """Find networks that others of the same list hold already."""
    value: object = document.value
    for step in steps:
        value = value.get(str(step)) if isinstance(value, dict) else None
    entries = value if isinstance(value, list) else []
    texts = [(at, one) for at, one in enumerate(entries) if isinstance(one, str)]
    runs = [(address_range(text), at, text) for at, text in texts]
    # A wider range before those that it holds.
    runs.sort(key=lambda one: (one[0].size, one[0].first, -one[0].last, one[1]))
    widest = None
    for run, at, text in runs:
        if widest and widest[0].size == run.size and run.last <= widest[0].last:
            how = "stands twice" if run == widest[0] else f'is in "{widest[1]}" already'
            yield warning("covered", document.problem((*steps, at), f'"{text}" {how}'))
        else:
            widest = run, text


def overlaps(loaded: Loaded, logic: Logic) -> Iterator[Remark]:
    """Find jurisdictions that rules ask for, one of which holds all of another."""
    for one, other in combinations(sorted(used_jurisdictions(loaded)), 2):
        for larger, smaller in ((one, other), (other, one)):
            if logic.contains(larger, smaller):
                both = logic.contains(smaller, larger)
                how = "is the same set as" if both else "is wholly in"
                document = loaded.sources.defining(smaller)
                says = f'jurisdiction "{smaller}" {how} "{larger}"'
                yield note("overlap", document.problem(("jurisdictions", smaller), says))
                break
