"""Loading.  Owns: policy documents → Policy, with every fault of the file at once.
Knows: the language's sections.  Never: the clock; the day is handed in."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gateway.document import Document, SectionType, read_partly, validate
from gateway.errors import InputError, Problem
from gateway.model import Verdict
from gateway.policy.case import Case
from gateway.policy.checking import faults
from gateway.policy.compiling import Compiler, addresses, jurisdiction
from gateway.policy.deadlines import warnings
from gateway.policy.jurisdiction import Jurisdiction
from gateway.policy.networks import AddressSet
from gateway.policy.policy import Policy
from gateway.policy.reading import Frames, given_of, no_frames
from gateway.policy.sections import CaseSection, CasesSection, PolicySection
from gateway.policy.sets import ListSection
from gateway.policy.sources import Sources, gather, path_in


def load(path: str | Path, today: datetime.date, frames: Frames = no_frames) -> Policy:
    """Read a policy file, NAME.cases.yaml beside it if there is one, and what they refer to.

    Args:    today: the day on which expiry is judged; frames: reads the captures of cases, which
             are refused without it.
    Raises:  InputError: with every fault of the files.
    """
    return load_whole(path, today, frames).policy


def compile_policy(
    document: Document,
    today: datetime.date,
    beside: Document | None = None,
    frames: Frames = no_frames,
) -> Policy:
    """Turn a parsed policy document, and a document of more cases, into a Policy.

    Raises:  InputError: with every fault of the documents.
    """
    return compile_whole(document, today, beside, frames).policy


def compile_whole(
    document: Document,
    today: datetime.date,
    beside: Document | None = None,
    frames: Frames = no_frames,
) -> Loaded:
    """As compile_policy, and keep what the policy was made of."""
    return _compile(gather(document, beside), today, frames)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A policy, with what it was made of: for lint."""

    policy: Policy
    section: PolicySection
    """With the jurisdictions and clients of what it includes."""
    groups: Mapping[str, AddressSet]
    """Of clients."""
    sources: Sources


def load_whole(path: str | Path, today: datetime.date, frames: Frames = no_frames) -> Loaded:
    """As load, and keep what the policy was made of."""
    path = Path(path)
    beside_path = path.parent / f"{path.stem}.cases.yaml"
    document, problems = read_partly(path)
    beside = None
    if _is_there(beside_path):
        try:
            beside, more = read_partly(beside_path)
            problems += more
        except InputError as error:
            problems += error.problems
    sources = gather(document, beside)
    sources.problems += problems
    return _compile(sources, today, frames)


def _is_there(path: Path) -> bool:
    """Say whether a file is there; where that cannot be told, or it is a link that leads nowhere,
    reading it says what is wrong: cases that are passed over in silence would not fail."""
    try:
        return path.is_symlink() or path.exists()
    except OSError:
        return True


def is_list(document: Document) -> bool:
    """Say whether a file is meant to be a jurisdiction list, for policies to include."""
    value = document.value
    return (
        isinstance(value, dict)
        and not value.keys() & {"policy", "default", "mode", "rules", "cases"}
        and bool(value.keys() & {"include", "jurisdictions", "clients"})
    )


def check_list(path: str | Path) -> int:
    """Find the faults of a jurisdiction list.

    Returns: how many jurisdictions it defines.
    Raises:  InputError: with every fault of the file, and of what it includes.
    """
    document, problems = read_partly(path)
    sources = gather(document, None)
    sources.problems += problems
    found = set(faults(sources))
    lists = [_validated(one, ListSection, found) for one in sources.documents]
    if found or lists[0] is None:
        raise InputError(found)
    return len(lists[0].jurisdictions)


def _compile(sources: Sources, today: datetime.date, frames: Frames) -> Loaded:
    section, lists, more = _sections(sources, frames)
    cases = [_case(sources.document, at, one, frames) for at, one in enumerate(section.cases)]
    payloads = list(_payload_files(sources.document, section.cases))
    if sources.beside is not None and more is not None:
        cases += [_case(sources.beside, at, one, frames) for at, one in enumerate(more.cases)]
        payloads += _payload_files(sources.beside, more.cases)
    jurisdictions, groups = _sets(sources, (section, *lists))
    section = _merged(section, lists)
    compiler = Compiler(sources.document, section, groups, today)
    warnings_on = partial(warnings, sources, section)
    policy = Policy(
        name=section.policy,
        revision=_revision(sources),
        rules=tuple(compiler.rule(at) for at in range(len(section.rules))),
        default=Verdict(
            section.default.action,
            "default",
            "no rule matched",
            section.default.target,
        ),
        default_place=sources.document.problem(("default",), "default"),
        mode=section.mode,
        jurisdictions=jurisdictions,
        cases=tuple(cases),
        warnings=warnings_on(today),
        files=tuple(dict.fromkeys((*sources.files, *payloads))),
        warnings_on=warnings_on,
    )
    return Loaded(policy, section, groups, sources)


def _sections(
    sources: Sources, frames: Frames
) -> tuple[PolicySection, list[ListSection], CasesSection | None]:
    """Read every document as what it has to be.

    Raises:  InputError: with every fault of all of them.
    """
    problems = set(faults(sources, frames))
    section = _validated(sources.document, PolicySection, problems)
    lists = [_validated(one, ListSection, problems) for one in sources.included]
    more = None
    if sources.beside is not None:
        more = _validated(sources.beside, CasesSection, problems)
    if problems or section is None:
        raise InputError(problems)
    return section, [one for one in lists if one is not None], more


def _sets(
    sources: Sources, sections: Iterable[PolicySection | ListSection]
) -> tuple[dict[str, Jurisdiction], dict[str, AddressSet]]:
    """Compile the jurisdictions and the groups of clients of all documents."""
    jurisdictions: dict[str, Jurisdiction] = {}
    groups: dict[str, AddressSet] = {}
    for document, section in zip(sources.documents, sections, strict=True):
        resolve = partial(sources.listed, document)
        for name, one in section.jurisdictions.items():
            jurisdictions[name] = jurisdiction(name, one, resolve)
        for name, entries in section.clients.items():
            groups[name] = addresses(entries, resolve)
    return jurisdictions, groups


def _merged(section: PolicySection, lists: Iterable[ListSection]) -> PolicySection:
    """Give a policy's section with what the lists define."""
    jurisdictions, clients = dict(section.jurisdictions), dict(section.clients)
    for one in lists:
        jurisdictions |= {name: one.reviewed_as(inner) for name, inner in one.jurisdictions.items()}
        clients |= one.clients
    return section.model_copy(update={"jurisdictions": jurisdictions, "clients": clients})


def _revision(sources: Sources) -> str:
    """Hash what the documents say, not how they are laid out."""
    further = [one.value for one in sources.included]
    digests = [one.digest for one in sources.lists.values()]
    said = [sources.document.value, further, digests]
    text = json.dumps(said if further or digests else said[0], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _payload_files(document: Document, cases: Iterable[CaseSection]) -> Iterator[Path]:
    """Give the files of payloads that cases name, and their captures."""
    for one in cases:
        if one.payload is not None:
            named = one.payload.file or one.payload.capture
            if named is not None:
                yield path_in(document, named)


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
