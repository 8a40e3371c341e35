"""Loading.  Owns: policy documents → Policy, with every fault of the file at once.
Knows: the language's sections.  Never: the clock; the day is handed in."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from gateway.document import Document, SectionType, read, validate
from gateway.errors import InputError, Problem
from gateway.model import Action, Mode, Verdict
from gateway.policy.case import Case
from gateway.policy.checking import faults
from gateway.policy.compiling import Compiler, jurisdiction
from gateway.policy.policy import Policy
from gateway.policy.reading import Frames, given_of, no_frames
from gateway.policy.rule import Rule
from gateway.policy.sections import CaseSection, CasesSection, PolicySection


def load(path: str | Path, today: datetime.date, frames: Frames = no_frames) -> Policy:
    """Read a policy file, and NAME.cases.yaml beside it if there is one.

    Args:    today: the day on which expiry is judged; frames: reads the captures of cases, which
             are refused without it.
    Raises:  InputError: with every fault of the files.
    """
    path = Path(path)
    beside = path.parent / f"{path.stem}.cases.yaml"
    return compile_policy(read(path), today, read(beside) if beside.exists() else None, frames)


def compile_policy(
    document: Document,
    today: datetime.date,
    beside: Document | None = None,
    frames: Frames = no_frames,
) -> Policy:
    """Turn a parsed policy document, and a document of more cases, into a Policy.

    Raises:  InputError: with every fault of the documents.
    """
    problems = set(faults(document, beside, frames))
    section = _validated(document, PolicySection, problems)
    more = None if beside is None else _validated(beside, CasesSection, problems)
    if problems or section is None:
        raise InputError(problems)
    cases = [_case(document, at, one, frames) for at, one in enumerate(section.cases)]
    if beside is not None and more is not None:
        cases += [_case(beside, at, one, frames) for at, one in enumerate(more.cases)]
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
        files=tuple(one.file for one in (document, beside) if one is not None),
    )


def _revision(document: Document) -> str:
    """Hash what the document says, not how it is laid out."""
    text = json.dumps(document.value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _validated(
    document: Document, section: type[SectionType], problems: set[Problem]
) -> SectionType | None:
    """Read a document as a section; what is wrong is added to the problems."""
    try:
        return validate(document, section)
    except InputError as error:
        problems.update(error.problems)
        return None


def _case(document: Document, at: int, section: CaseSection, frames: Frames) -> Case:
    given = given_of(Path(document.file).parent, section, frames)
    return Case(
        note=section.note,
        given=given,
        action=section.expect.action.action,
        rule=section.expect.rule,
        target=section.expect.action.target or section.expect.target,
        place=document.problem(("cases", at), section.note or str(given.key)),
    )


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
