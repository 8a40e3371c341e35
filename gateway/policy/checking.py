"""Faults that only the whole file can tell.  Owns: names that refer to nothing, ids that stand
twice, conditions that can never hold, cases that cannot be run.  Knows: the language's keys.
Never: shapes of values; the sections' own faults are found beside these, and all are told at once.

These look at plain values, not at sections: a section exists only where nothing else is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gateway.document import Document, Steps, suggestion
from gateway.errors import AddressError, DataError, Problem
from gateway.model import FlowKey
from gateway.policy.networks import address_range
from gateway.policy.reading import Frames, no_frames, stored_payload
from gateway.policy.sources import LIBRARY, Sources


def faults(sources: Sources, frames: Frames = no_frames) -> Iterator[Problem]:
    """Find the faults of a policy's documents."""
    yield from sources.problems
    document = sources.document
    root = _mapping(document.value)
    rules = [_mapping(rule) for rule in _list(root.get("rules"))]
    yield from _ids(document, rules)
    for key in ("jurisdictions", "clients"):
        yield from _defined_twice(sources, key)
    for at, rule in enumerate(rules):
        walk = _Walk(sources, _blocks(rule.get("action")))
        yield from walk.conditions(("rules", at, "when"), rule.get("when"), True)
        if rule.get("mode") == "shadow" and "shadow" in rule:
            yield document.problem(("rules", at, "shadow"), "give either mode or shadow")
    ids = [*(str(rule.get("id")) for rule in rules), "default"]
    for one in (document, sources.beside):
        if one is not None:
            yield from _cases(one, ids, document.lost, frames)


def _names(sources: Sources, key: str) -> list[str]:
    """Give what all documents define under a key."""
    return [
        str(name) for one in sources.documents for name in _mapping(_mapping(one.value).get(key))
    ]


def _defined_twice(sources: Sources, key: str) -> Iterator[Problem]:
    """Find a name that two files define: one could silently stand for the other."""
    seen: dict[str, Problem] = {}
    for document in reversed(sources.documents):
        for name in _mapping(_mapping(document.value).get(key)):
            here = document.problem((key, name), f'"{name}" stands twice')
            if (there := seen.setdefault(name, here)) is not here:
                says = f'"{name}" is defined in {there.file}:{there.line} already'
                yield document.problem((key, name), f"{says}; give one of them another name")


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _blocks(action: object) -> bool:
    return action == "block" or (isinstance(action, dict) and set(action) == {"block"})


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _ids(document: Document, rules: list[Mapping[str, object]]) -> Iterator[Problem]:
    seen: dict[object, int] = {}
    for at, rule in enumerate(rules):
        name = rule.get("id")
        if not isinstance(name, str):
            continue
        if name in seen or name == "default":
            place = f"is rule {seen[name] + 1}'s already" if name in seen else "is reserved"
            yield document.problem(("rules", at, "id"), f'id "{name}" {place}')
        seen.setdefault(name, at)


class _Walk:
    """Goes through the conditions of one rule."""

    def __init__(self, sources: Sources, blocks: bool) -> None:
        self.document = sources.document
        self.jurisdictions = _names(sources, "jurisdictions")
        self.groups = _names(sources, "clients")
        self.blocks = blocks
        self.may_define = sources.may_define

    def conditions(self, steps: Steps, value: object, positive: bool) -> Iterator[Problem]:
        """Find the faults of conditions; `positive`: they are not inside a `not`."""
        when = _mapping(value)
        yield from self._references((*steps, "to"), when.get("to"))
        yield from self._clients((*steps, "from"), when.get("from"))
        yield from self._names((*steps, "name"), when.get("name"), positive)
        for key in ("any", "all"):
            for at, inner in enumerate(_list(when.get(key))):
                yield from self.conditions((*steps, key, at), inner, positive)
        if "not" in when:
            yield from self.conditions((*steps, "not"), when["not"], not positive)

    def _references(self, steps: Steps, value: object) -> Iterator[Problem]:
        for name in _values(value)[0]:
            if not isinstance(name, str) or name in self.jurisdictions:
                continue
            if not self.may_define(name):
                hint = suggestion(name, self.jurisdictions)
                if name in (one.stem for one in LIBRARY.glob("*.yaml")):
                    hint = f"; it comes with the gateway: include: [{name}]"
                yield self.document.problem(steps, f'jurisdiction "{name}" is not defined{hint}')

    def _clients(self, steps: Steps, value: object) -> Iterator[Problem]:
        for name in _values(value)[0]:
            if not isinstance(name, str) or name in self.groups or _is_network(name):
                continue
            if not self.may_define(name):
                says = f'"{name}" is neither a network nor a group under clients'
                yield self.document.problem(steps, says + suggestion(name, self.groups))

    def _names(self, steps: Steps, value: object, positive: bool) -> Iterator[Problem]:
        values, negated = _values(value)
        if values and not self.blocks and positive is not negated:
            says = "a rule that does not block cannot ask for a name, since clients choose the"
            yield self.document.problem(steps, f"{says} names they send; use name: {{not: …}}")


def _values(value: object) -> tuple[list[object], bool]:
    """Give the values of a choice, and whether they are negated."""
    negated = isinstance(value, dict) and set(value) == {"not"}
    if isinstance(value, dict):
        value = value["not"] if negated else None
    if value is None:
        return [], negated
    return (value if isinstance(value, list) else [value]), negated


def _is_network(text: str) -> bool:
    try:
        address_range(text)
    except AddressError:
        return False
    return True


def _cases(document: Document, ids: list[str], lost: str, frames: Frames) -> Iterator[Problem]:
    for at, value in enumerate(_list(_mapping(document.value).get("cases"))):
        case = _mapping(value)
        steps: Steps = ("cases", at)
        expected = _mapping(case.get("expect")).get("rule")
        if isinstance(expected, str) and expected not in ids and expected not in lost:
            says = f'rule "{expected}" is not in the policy{suggestion(expected, ids)}'
            yield document.problem((*steps, "expect", "rule"), says)
        flow = case.get("flow")
        if isinstance(flow, str):
            try:
                FlowKey.parse(flow)
            except AddressError as error:
                yield document.problem((*steps, "flow"), str(error))
        try:
            stored_payload(Path(document.file).parent, _mapping(case.get("payload")), frames)
        except DataError as error:
            yield document.problem((*steps, "payload"), str(error))
