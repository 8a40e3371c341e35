"""Loading.  Owns: policy documents → Policy, with every fault of the file at once.
Knows: the language's sections.  Never: the clock; the day is handed in."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from gateway.document import Document, Steps, read, suggestion, validate
from gateway.errors import AddressError, InputError, Problem
from gateway.model import Action, FlowKey, Mode, Verdict
from gateway.policy.case import Case
from gateway.policy.compiling import Compiler, jurisdiction
from gateway.policy.networks import address_range
from gateway.policy.policy import Policy
from gateway.policy.rule import Rule
from gateway.policy.sections import CaseSection, CasesSection, PolicySection, When, names_of


def load(path: str | Path, today: datetime.date) -> Policy:
    """Read a policy file, and NAME.cases.yaml beside it if there is one.

    Args:    today: the day on which expiry is judged.
    Raises:  InputError: with every fault of the files.
    """
    path = Path(path)
    beside = path.with_name(f"{path.stem}.cases.yaml")
    return compile_policy(read(path), today, read(beside) if beside.exists() else None)


def compile_policy(
    document: Document, today: datetime.date, beside: Document | None = None
) -> Policy:
    """Turn a parsed policy document, and a document of more cases, into a Policy.

    Raises:  InputError: with every fault of the documents.
    """
    section = validate(document, PolicySection)
    problems = list(_problems(document, section))
    cases = list(_cases(document, section.cases, section, problems))
    if beside is not None:
        more = validate(beside, CasesSection)
        cases += _cases(beside, more.cases, section, problems)
    if problems:
        raise InputError(problems)
    jurisdictions = {name: jurisdiction(name, one) for name, one in section.jurisdictions.items()}
    compiler = Compiler(document, section, today)
    rules = tuple(compiler.rule(at) for at in range(len(section.rules)))
    return Policy(
        name=section.policy,
        revision=_revision(document),
        rules=rules,
        default=Verdict(
            section.default.action,
            "default",
            "no rule matched",
            section.default.target,
        ),
        default_place=document.problem(("default",), "default"),
        mode=section.mode,
        jurisdictions=jurisdictions,
        cases=tuple(cases),
        warnings=tuple(_warnings(document, section, rules)),
        next_expiry=min(
            (
                rule.expires + datetime.timedelta(days=1)
                for rule in rules
                if rule.expires and not rule.expired
            ),
            default=None,
        ),
    )


def _revision(document: Document) -> str:
    """Hash what the document says, not how it is laid out."""
    text = json.dumps(document.value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _problems(document: Document, section: PolicySection) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for at, rule in enumerate(section.rules):
        if rule.id in seen or rule.id == "default":
            place = f"is rule {seen[rule.id] + 1}'s already" if rule.id in seen else "is reserved"
            yield document.problem(("rules", at, "id"), f'id "{rule.id}" {place}')
        seen.setdefault(rule.id, at)
        if rule.mode is Mode.SHADOW and rule.shadow is not None:
            yield document.problem(("rules", at, "shadow"), "give either mode or shadow")
        yield from _references(document, ("rules", at, "when"), rule.when, section)


def _references(
    document: Document, steps: Steps, when: When, section: PolicySection
) -> Iterator[Problem]:
    known = list(section.jurisdictions)
    for name in names_of(when.to):
        if name not in section.jurisdictions:
            sentence = f'jurisdiction "{name}" is not defined{suggestion(name, known)}'
            yield document.problem((*steps, "to"), sentence)
    for name in names_of(when.from_):
        if name not in section.clients and not _is_network(name):
            groups = suggestion(name, list(section.clients))
            sentence = f'"{name}" is neither a network nor a group under clients{groups}'
            yield document.problem((*steps, "from"), sentence)
    for key, inner in (("any", when.any), ("all", when.all)):
        for at, one in enumerate(inner or ()):
            yield from _references(document, (*steps, key, at), one, section)
    if when.not_ is not None:
        yield from _references(document, (*steps, "not"), when.not_, section)


def _is_network(text: str) -> bool:
    try:
        address_range(text)
    except AddressError:
        return False
    return True


def _cases(
    document: Document,
    sections: Sequence[CaseSection],
    policy: PolicySection,
    problems: list[Problem],
) -> Iterator[Case]:
    rules = [*(rule.id for rule in policy.rules), "default"]
    for at, section in enumerate(sections):
        steps: Steps = ("cases", at)
        expected = section.expect.rule
        if expected is not None and expected not in rules:
            sentence = f'rule "{expected}" is not in the policy{suggestion(expected, rules)}'
            problems.append(document.problem((*steps, "expect", "rule"), sentence))
        try:
            key = FlowKey.parse(section.flow)
            payload = _payload(document, section)
        except (AddressError, OSError) as error:
            step = "flow" if isinstance(error, AddressError) else "payload"
            problems.append(document.problem((*steps, step), str(error)))
            continue
        title = section.note or section.flow
        yield Case(
            note=section.note,
            key=key,
            payload=payload,
            traffic=section.traffic,
            names=tuple(name.lower().rstrip(".") for name in section.names),
            action=section.expect.action,
            rule=expected,
            target=section.expect.target,
            place=document.problem(steps, title),
        )


def _payload(document: Document, section: CaseSection) -> bytes | None:
    if section.payload is None:
        return None
    if section.payload.hex is not None:
        return bytes.fromhex(section.payload.hex)
    return (Path(document.file).parent / str(section.payload.file)).read_bytes()


def _warnings(
    document: Document, section: PolicySection, rules: tuple[Rule, ...]
) -> Iterator[Problem]:
    if section.mode is Mode.SHADOW:
        yield document.problem(("mode",), "shadow: nothing is enforced, everything is allowed")
    for at, rule in enumerate(rules):
        if rule.expired:
            still = "still blocks" if rule.verdict.action is Action.BLOCK else "no longer matches"
            sentence = f'rule "{rule.id}" expired on {rule.expires} and {still}'
            yield document.problem(("rules", at, "expires"), sentence)
