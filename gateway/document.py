"""YAML documents with places.  Owns: YAML 1.2 text → plain values and the line of each; pydantic's
findings → sentences with file and line.  Knows: ruamel.yaml, pydantic.
Never: what a policy or a configuration means."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from gateway.errors import InputError, Problem

Step = str | int
Steps = tuple[Step, ...]
"""The way from a document's root to a value: keys and list indices."""

# A policy of thousands of rules has some ten thousand values; aliases of aliases can claim
# billions ("billion laughs"), and stop here.
_MAX_VALUES = 1_000_000
_MAX_DEPTH = 50

_TAG = "tag:yaml.org,2002:"


class Section(BaseModel):
    """Base of every part of a document: an unknown key is refused, since it may be a typing error
    in something that was meant to block."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


SectionType = TypeVar("SectionType", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as plain values (dict, list, str, int, float, bool, None) with places."""

    file: str
    value: object
    places: Mapping[Steps, tuple[int, int]]
    """Line and column, from 1, of each value (of a mapping's entry: of its key)."""

    def problem(self, steps: Iterable[Step], sentence: str) -> Problem:
        """Say that something is wrong at a place; steps that lead nowhere mean their parent."""
        known: Steps = ()
        for step in steps:
            if (*known, step) in self.places:
                known = (*known, step)
        line, column = self.places.get(known, (1, 1))
        return Problem(self.file, line, column, sentence)


def read(path: str | Path) -> Document:
    """Read and parse a YAML file.

    Raises:  InputError: unreadable, not UTF-8, or not YAML 1.2 with unique text keys.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError([Problem(str(path), 0, 0, f"cannot be read: {reason}")]) from error
    except UnicodeDecodeError as error:
        sentence = f"octet {error.start} is not UTF-8; save the file as UTF-8"
        raise InputError([Problem(str(path), 0, 0, sentence)]) from error
    return parse(text, str(path))


def parse(text: str, file: str) -> Document:
    """Parse YAML 1.2 text; `NO` is the text "NO".

    Raises:  InputError: with every problem that can be told from the text alone.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise InputError([Problem(file, line, column, _syntax(error))]) from error
    except RecursionError:
        raise InputError([Problem(file, 0, 0, "is nested too deeply")]) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        sentence = f"is not YAML: the character {error.character!r} is not allowed"
        raise InputError([Problem(file, line, 0, sentence)]) from error
    builder = _Builder(file)
    value = None if root is None else builder.build(root, ())
    if builder.problems:
        raise InputError(builder.problems)
    return Document(file, value, builder.places)


def _syntax(error: MarkedYAMLError) -> str:
    words = " ".join(str(part) for part in (error.context, error.problem) if part)
    if "'\\t'" in words:
        words += "; YAML indents with spaces, not tabs"
    return f"is not YAML: {words}"


class _Builder:
    """Turns composed nodes into values, gathering places and problems."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Steps, tuple[int, int]] = {}
        self.problems: list[Problem] = []
        self.count = 0

    def complain(self, node: Node, sentence: str) -> None:
        mark = node.start_mark
        self.problems.append(Problem(self.file, mark.line + 1, mark.column + 1, sentence))

    def build(self, node: Node, steps: Steps) -> object:
        self.count += 1
        self.places.setdefault(steps, (node.start_mark.line + 1, node.start_mark.column + 1))
        if self.count > _MAX_VALUES or len(steps) > _MAX_DEPTH:
            if self.count <= _MAX_VALUES + 1:
                self.complain(node, "holds too many or too deeply nested values")
                self.count = _MAX_VALUES + 1
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, steps)
        if isinstance(node, SequenceNode):
            return [self.build(item, (*steps, at)) for at, item in enumerate(node.value)]
        assert isinstance(node, ScalarNode), "YAML has three kinds of node"
        return self._scalar(node)

    def _mapping(self, node: MappingNode, steps: Steps) -> dict[str, object]:
        values: dict[str, object] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or not _is_whole(str(key.value)):
                self.complain(key, "a key must be text")
                continue
            name = str(key.value)
            if name in values:
                first = self.places[(*steps, name)][0]
                self.complain(key, f'key "{name}" stands twice; it is on line {first} already')
                continue
            self.places[(*steps, name)] = (key.start_mark.line + 1, key.start_mark.column + 1)
            values[name] = self.build(value, (*steps, name))
        return values

    def _scalar(self, node: ScalarNode) -> object:
        text = str(node.value)
        if not _is_whole(text):
            self.complain(node, "holds half a character (a lone surrogate)")
            return None
        tag = str(node.tag).removeprefix(_TAG)
        try:
            match tag:
                case "int":
                    return _integer(text)
                case "float":
                    return float(text.replace("_", "").lower().replace(".inf", "inf"))
                case "bool":
                    return text.lower() == "true"
                case "null":
                    return None
                case "str" | "timestamp" | "merge" | "value":
                    return text
        except ValueError:
            return text  # pydantic then says what was expected here
        self.complain(node, f"tag {node.tag} is not used here")
        return None


def _is_whole(text: str) -> bool:
    """Say whether text can be written as UTF-8; "\\ud800" in quotes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(text: str) -> int:
    try:
        return int(text, 0)  # decimal, 0x1f, 0o17
    except ValueError:
        return int(text)  # 017: decimal in YAML 1.2, refused by Python's base 0


def validate(document: Document, section: type[SectionType]) -> SectionType:
    """Read a document as a section.

    Raises:  InputError: every fault at once, each at its line.
    """
    if not isinstance(document.value, dict):
        raise InputError([document.problem((), "is not a mapping of keys to values")])
    problems = set(_empty(document, document.value, ()))
    try:
        value = section.model_validate(document.value)
    except ValidationError as error:
        problems |= {_finding(document, section, detail) for detail in _telling(error.errors())}
    if problems:
        raise InputError(problems)
    return value


def _telling(details: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Leave out "too few items" where an item is only missing because it is itself at fault."""
    places = [detail["loc"] for detail in details]
    for detail in details:
        steps = detail["loc"]
        inner = any(place[: len(steps)] == steps and place != steps for place in places)
        if detail["type"] != "too_short" or not inner:
            yield detail


def _empty(document: Document, value: object, steps: Steps) -> Iterator[Problem]:
    """Find keys without a value: `to:` and nothing behind it could be read as "anywhere"."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if inner is None:
                yield document.problem((*steps, key), f'"{key}" has no value')
            yield from _empty(document, inner, (*steps, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _empty(document, inner, (*steps, at))


def _finding(document: Document, section: type[BaseModel], detail: ErrorDetails) -> Problem:
    """Say one of pydantic's findings in a sentence with its place."""
    steps = detail["loc"]
    key = next((str(step) for step in reversed(steps) if step in _keys(document)), "")
    given = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            sentence = f'unknown key "{key}"{suggestion(key, _known_keys(section, steps[:-1]))}'
        case "missing":
            sentence = f'key "{steps[-1]}" is missing'
        case "string_type" if isinstance(given, int | float):
            sentence = f'"{key}" must be text; write it in quotes'
        case "enum" | "literal_error":
            expected = str(detail.get("ctx", {}).get("expected", ""))
            choices = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
            sentence = f'"{given}" is not known here{suggestion(str(given), choices)}'
        case "tuple_type" | "list_type":
            sentence = f'"{key}" must be a list, such as [{given}]'
        case "model_type" | "dict_type" | "model_attributes_type":
            sentence = f'"{key}" must be a mapping of keys to values'
        case "too_short":
            sentence = f'"{key}" is empty'
        case "string_pattern_mismatch":
            sentence = f'"{given}" may have letters, digits, "_", "." and "-" only'
        case kind if kind.startswith("date"):
            sentence = f'"{given}" is no date such as 2026-11-23'
        case "value_error":
            sentence = str(detail.get("ctx", {}).get("error", detail["msg"]))
        case _:
            message = detail["msg"]
            sentence = f'"{key}": {message[:1].lower()}{message[1:]}' if key else message
    return document.problem(steps, sentence)


def _keys(document: Document) -> frozenset[Step]:
    """Give every key that stands anywhere in the document."""
    return frozenset(step for place in document.places for step in place if isinstance(step, str))


def suggestion(word: str, choices: Sequence[str]) -> str:
    """Say which of the known words may have been meant: "; did you mean …" or "; known are …"."""
    near = difflib.get_close_matches(word.lower(), [choice.lower() for choice in choices], n=1)
    if near:
        meant = next(choice for choice in choices if choice.lower() == near[0])
        return f'; did you mean "{meant}"?'
    if len(choices) <= 16:
        return f"; expected one of {', '.join(dict.fromkeys(choices))}" if choices else ""
    return ""


def _known_keys(section: type[BaseModel], steps: Sequence[Step]) -> list[str]:
    """Give the keys that the section at the end of the steps knows."""
    sections = [section]
    for step in steps:
        inner = [
            found
            for outer in sections
            for name, field in outer.model_fields.items()
            if step in (name, field.alias)
            for found in _sections_in(field.annotation)
        ]
        sections = inner or sections
    return [field.alias or name for one in sections for name, field in one.model_fields.items()]


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, list, tuple, dict) or get_args(
        annotation
    ):
        for argument in get_args(annotation):
            yield from _sections_in(argument)
