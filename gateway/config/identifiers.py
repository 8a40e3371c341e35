"""Identifiers by value.  Owns: the section of gateway.yaml that names them → what is searched for.
Knows: pydantic, the leak finders' values.  Never: searching; a value in a message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from gateway.document import Document, Section, Steps, octets_of, read, validate
from gateway.errors import InputError, Problem
from gateway.leaks import Given, Values, compile_values, read_values
from gateway.model import IdentifierKind

# 100,000 values of 80 characters.
_MAX_FILE_LEN = 8 << 20
_MIN_KEY_LEN, _MAX_KEY_LEN = 16, 4_096


def _text(given: object) -> object:
    """Take a number that YAML read for the text that it was."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


ValueText = Annotated[str, BeforeValidator(_text), Field(min_length=1)]
PathText = Annotated[str, Field(min_length=1)]


class ValuesOfKind(Section):
    """Values of one kind of identifier."""

    values: tuple[ValueText, ...] = ()
    """Text, a number, hex:…, sha256:…, or hmac-sha256:…."""
    values_file: PathText | None = None
    """The same, one a line; empty lines and those that begin with # are none."""


class PatternSection(Section):
    """A regular expression over octets, in RE2's syntax."""

    kind: IdentifierKind
    regex: Annotated[str, Field(min_length=1)]


class Identifiers(Section):
    """What the operator says that no packet may show.  Omitted: nothing is searched for."""

    user_id: ValuesOfKind | None = Field(default=None, alias="user-id")
    room_id: ValuesOfKind | None = Field(default=None, alias="room-id")
    device_id: ValuesOfKind | None = Field(default=None, alias="device-id")
    session_id: ValuesOfKind | None = Field(default=None, alias="session-id")
    app_id: ValuesOfKind | None = Field(default=None, alias="app-id")
    token: ValuesOfKind | None = None
    account: ValuesOfKind | None = None
    given: ValuesOfKind | None = None
    """Values of no kind in particular: canaries."""
    patterns: tuple[PatternSection, ...] = ()
    key_file: PathText | None = None
    """The key of the digests "hmac-sha256:…", 16 octets or more."""
    learn: bool = True
    """Search accepted flows for identifiers that nobody named, too."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was named."""
        return not (self.patterns or any(True for _ in self.by_kind()))

    def by_kind(self) -> Iterator[tuple[str, ValuesOfKind]]:
        """Give the sections of values, each with its key."""
        for name in ("user_id", "room_id", "device_id", "session_id", "app_id"):
            if (section := getattr(self, name)) is not None:
                yield name.replace("_", "-"), section
        for name in ("token", "account", "given"):
            if (section := getattr(self, name)) is not None:
                yield name, section

    def files(self, folder: Path) -> list[Path]:
        """Give the files that are read besides."""
        named = [section.values_file for _, section in self.by_kind()]
        return [folder / one for one in (*named, self.key_file) if one is not None]


def load_file(path: str | Path) -> Values | None:
    """Read a file that holds what gateway.yaml has under `identifiers`.

    Raises:  InputError: with every fault.
    """
    document = read(path)
    return load_values(validate(document, Identifiers), document, ())


def load_values(
    section: Identifiers, document: Document, at: Steps, before: Values | None = None
) -> Values | None:
    """Make the search for what a section names; takes a second for 10,000 values.

    Args:    document: where the section stands; at: under these keys; before: given back if it
             searches for the same.
    Returns: None if it names nothing.
    Raises:  InputError: every value, pattern and file that cannot be used, with its place.
    """
    if section.is_empty:
        return None
    problems: list[Problem] = []
    values = [
        one
        for name, of_kind in section.by_kind()
        for one in _given(IdentifierKind(name), of_kind, document, (*at, name), problems)
    ]
    patterns = [
        _placed(one.kind, one.regex, document, (*at, "patterns", number, "regex"))
        for number, one in enumerate(section.patterns)
    ]
    key = _key(section, document, at, problems)
    try:
        compiled = compile_values(values, patterns, key=key, before=before)
    except InputError as error:
        raise InputError([*problems, *error.problems]) from error
    if problems:
        raise InputError(problems)
    return compiled


def _given(
    kind: IdentifierKind,
    section: ValuesOfKind,
    document: Document,
    at: Steps,
    problems: list[Problem],
) -> list[Given]:
    found = [
        _placed(kind, text, document, (*at, "values", number))
        for number, text in enumerate(section.values)
    ]
    if section.values_file is not None:
        path = Path(document.file).parent / section.values_file
        try:
            text = octets_of(path, _MAX_FILE_LEN).decode("utf-8-sig")
            found += read_values(kind, text, str(path))
        except InputError as error:
            problems += error.problems
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            problems.append(Problem(str(path), line, 0, "is not UTF-8"))
    if not found and not problems:
        # A list that was emptied by mistake would find nothing, in silence.
        problems.append(document.problem(at, f'"{kind}" names no value'))
    return found


def _placed(kind: IdentifierKind, text: str, document: Document, at: Steps) -> Given:
    place = document.problem(at, "")
    return Given(kind, text, place.file, place.line, place.column)


def _key(section: Identifiers, document: Document, at: Steps, problems: list[Problem]) -> bytes:
    if section.key_file is None:
        return b""
    path = Path(document.file).parent / section.key_file
    try:
        key = octets_of(path, _MAX_KEY_LEN).strip()
    except InputError as error:
        problems += error.problems
        return b""
    if len(key) < _MIN_KEY_LEN:
        says = f"the key has {len(key)} octets: {_MIN_KEY_LEN} are the least"
        problems.append(document.problem((*at, "key_file"), says))
    return key
