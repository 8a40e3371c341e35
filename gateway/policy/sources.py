"""What a policy is made of.  Owns: its file, the jurisdiction lists that it includes, the files of
networks that they name: found, read, each once.
Knows: the language's plain values.  Never: shapes of values, what they mean.

It looks at plain values, not at sections: a section exists only where nothing else is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.document import Document, Steps, read_partly, suggestion
from gateway.errors import InputError, Problem
from gateway.policy.network_list import NetworkList, read_networks

# Far more than a person keeps in mind; a loop ends earlier.
_MAX_INCLUDED = 256

LIBRARY = Path(__file__).parent.parent / "policies" / "jurisdictions"
"""The jurisdiction lists that come with the gateway."""


@dataclass(slots=True)
class Sources:
    """A policy's documents and lists, read; and what kept others from being read."""

    document: Document
    beside: Document | None
    """More cases."""
    included: list[Document] = field(default_factory=list)
    """Jurisdiction lists, in the order in which they are met."""
    lists: dict[Path, NetworkList] = field(default_factory=dict)
    """Files of networks."""
    is_short: bool = False
    """Whether a file that is included could not be read at all."""
    direct: dict[int, Document] = field(default_factory=dict)
    """Of the included: those that the policy itself includes, by their index there."""
    problems: list[Problem] = field(default_factory=list)

    def may_define(self, name: str) -> bool:
        """Say whether something that could not be read may define a name."""
        return self.is_short or any(name in one.lost for one in self.documents if one.lost)

    @property
    def documents(self) -> tuple[Document, ...]:
        """The documents that define jurisdictions and clients."""
        return (self.document, *self.included)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that was read, but for payloads of cases."""
        documents = (*self.documents, self.beside) if self.beside else self.documents
        return (*(Path(one.file) for one in documents), *self.lists)

    def defining(self, name: str) -> Document:
        """Give the document that defines a jurisdiction."""
        steps = ("jurisdictions", name)
        return next(one for one in self.documents if steps in one.places)

    def listed(self, document: Document, name: str) -> NetworkList:
        """Give the file of networks that a document names."""
        return self.lists[path_in(document, name)]


def gather(document: Document, beside: Document | None) -> Sources:
    """Read everything that a policy's document refers to."""
    sources = Sources(document, beside)
    _include(sources, document, (_identity(Path(document.file)),))
    for one in sources.documents:
        for steps, name in _lists_named(one):
            path = path_in(one, name)
            if path not in sources.lists:
                _read_list(sources, one, steps, path)
    return sources


def path_in(document: Document, name: str) -> Path:
    """Give the path of a file that a document names: relative ones are beside the document."""
    return Path(document.file).parent / name


def _include(sources: Sources, document: Document, above: tuple[Path, ...]) -> None:
    """Read what a document includes, and what that includes."""
    names: set[str] = set()
    for at, name in enumerate(includes_of(document)):
        if not isinstance(name, str):
            continue  # the schema says so
        steps: Steps = ("include", at)
        if name in names:
            sources.problems.append(document.problem(steps, f'"{name}" is included twice'))
            continue
        names.add(name)
        path = _path_of(sources, document, steps, name)
        if path is None:
            sources.is_short = True
            continue
        identity = _identity(path)
        if identity in above:
            says = f'"{name}" includes itself'
            says += ", by way of others" if above[-1] != identity else ""
            sources.problems.append(document.problem(steps, says))
        elif any(_identity(Path(one.file)) == identity for one in sources.included):
            continue  # two lists may include the same third
        elif len(sources.included) == _MAX_INCLUDED:
            sources.problems.append(document.problem(steps, "too many files are included"))
        else:
            _read_included(sources, document, steps, path, above)


def _read_included(
    sources: Sources, document: Document, steps: Steps, path: Path, above: tuple[Path, ...]
) -> None:
    try:
        found, problems = read_partly(path)
    except InputError as error:
        sources.problems += error.problems
        sources.is_short = True
        return
    sources.problems += problems
    sources.included.append(found)
    if document is sources.document and isinstance(steps[-1], int):
        sources.direct[steps[-1]] = found
    _include(sources, found, (*above, _identity(path)))


def includes_of(document: Document) -> list[object]:
    """Give what stands under a document's `include`."""
    value = document.value.get("include") if isinstance(document.value, dict) else None
    return value if isinstance(value, list) else []


def _path_of(sources: Sources, document: Document, steps: Steps, name: str) -> Path | None:
    """Find an included file: by its path, or by its name in the library."""
    is_path = "/" in name or name.endswith((".yaml", ".yml"))
    path = path_in(document, name) if is_path else LIBRARY / f"{name}.yaml"
    try:
        if path.is_file():
            return path
    except (OSError, ValueError):
        pass  # a name that no file can have
    known = sorted(one.stem for one in LIBRARY.glob("*.yaml"))
    if is_path:
        stem = Path(name).stem
        hint = f'; did you mean "{stem}", which comes with the gateway?' if stem in known else ""
        says = f'"{name}" is not a file beside this one{hint}'
    else:
        says = f'no jurisdiction list "{name}" comes with the gateway'
        says += suggestion(name, known) or f"; known are {', '.join(known)}"
    sources.problems.append(document.problem(steps, says))
    return None


def _identity(path: Path) -> Path:
    """Give the one spelling of a path."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return path


def _read_list(sources: Sources, document: Document, steps: Steps, path: Path) -> None:
    try:
        sources.lists[path] = read_networks(path)
    except InputError as error:
        if any(problem.line for problem in error.problems):
            sources.problems += error.problems
        else:
            (problem,) = error.problems
            says = f'"{problem.file}" {problem.sentence}'
            sources.problems.append(document.problem((*steps, "file"), says))


def _lists_named(document: Document) -> Iterator[tuple[Steps, str]]:
    """Find each {file: …} of a document's jurisdictions and clients."""
    for name, one in _mapping(document.value, "jurisdictions").items():
        where: Steps = ("jurisdictions", name)
        yield from _files_in((*where, "networks"), _mapping(one).get("networks"))
        excepted = _mapping(one, "except").get("networks")
        yield from _files_in((*where, "except", "networks"), excepted)
    for name, one in _mapping(document.value, "clients").items():
        yield from _files_in(("clients", name), one)


def _files_in(steps: Steps, value: object) -> Iterator[tuple[Steps, str]]:
    entries = enumerate(value) if isinstance(value, list) else [(None, value)]
    for at, entry in entries:
        name = _mapping(entry).get("file")
        if isinstance(name, str):
            yield (steps if at is None else (*steps, at)), name


def _mapping(value: object, key: str | None = None) -> Mapping[str, object]:
    if key is not None:
        value = _mapping(value).get(key)
    return value if isinstance(value, dict) else {}
