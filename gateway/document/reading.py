"""YAML text as plain values.  Owns: files and YAML 1.2 text → values and the line of each.
Knows: ruamel.yaml's nodes.  Never: schemas; what a document means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gateway.document.composing import compose
from gateway.errors import InputError, Problem
from gateway.regular import open_regular

Step = str | int
Steps = tuple[Step, ...]
"""The way from a document's root to a value: keys and list indices."""

# A policy of thousands of rules has some ten thousand values; aliases of aliases can claim
# billions ("billion laughs"), and stop here.
_MAX_VALUES = 1_000_000
_MAX_DEPTH = 50

# A policy of ten thousand rules has 2 MB.  ruamel.yaml reads some 300 kB a second.
_MAX_OCTETS = 8 << 20

# Python reads no integer of more than 4300 digits; the longest that a document needs has 20.
_MAX_DIGITS = 100

_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file as plain values (dict, list, str, int, float, bool, None) with places."""

    file: str
    value: object
    places: Mapping[Steps, tuple[int, int]]
    """Line and column, from 1, of each value (of a mapping's entry: of its key)."""
    is_partial: bool = False
    """Whether parts of the file could not be read and are absent here."""
    gaps: frozenset[int] = frozenset()
    """The lines of those parts."""
    lost: str = ""
    """The text of those parts."""

    def has_gap(self, steps: Steps) -> bool:
        """Say whether a part of the value at a place could not be read."""
        if not self.gaps or not steps or steps not in self.places:
            return bool(self.gaps)
        line = self.places[steps][0]
        after = (
            place[0]
            for other, place in self.places.items()
            if place[0] > line and other[: len(steps)] != steps
        )
        end = min(after, default=max(self.gaps) + 1)
        return any(line <= gap < max(end, line + 1) for gap in self.gaps)

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

    Raises:  InputError: as read_partly, and with every problem of the text.
    """
    return _whole(*read_partly(path))


def parse(text: str, file: str) -> Document:
    """Parse YAML 1.2 text; `NO` is the text "NO".

    Raises:  InputError: with every problem that can be told from the text alone.
    """
    return _whole(*_read_text(text, file))


def _whole(document: Document, problems: list[Problem]) -> Document:
    if problems:
        raise InputError(problems)
    return document


def read_partly(path: str | Path) -> tuple[Document, list[Problem]]:
    """Read what can be read of a YAML file.

    Returns: the document without the parts that could not be read, and why they could not be.
    Raises:  InputError: the file is unreadable as a whole: missing, too long, not UTF-8.
    """
    return _read_text(text_of(path), str(path))


def octets_of(path: str | Path, limit: int, hint: str = "") -> bytes:
    """Read a file.

    Args:    limit: octets at most.
    Raises:  InputError: it cannot be read, is no regular file, or is longer.
    """
    try:
        with open_regular(path) as file:
            octets = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError([Problem(str(path), 0, 0, f"cannot be read: {reason}")]) from error
    if len(octets) > limit:
        raise InputError([Problem(str(path), 0, 0, f"is longer than {limit >> 20} MiB{hint}")])
    return octets


def text_of(path: str | Path) -> str:
    """Read a file of text, as octets_of does; a byte-order mark is dropped."""
    octets = octets_of(path, _MAX_OCTETS, "; long lists belong in files of their own")
    try:
        if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError([Problem(str(path), 1, 1, "is UTF-16; save the file as UTF-8")])
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = octets[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        sentence = f"octet {error.start} is not UTF-8; save the file as UTF-8"
        raise InputError([Problem(str(path), line, column, sentence)]) from error


def _read_text(text: str, file: str) -> tuple[Document, list[Problem]]:
    root, problems, lost = compose(text, file)
    builder = _Builder(file)
    value = None if root is None else builder.build(root, ())
    problems += builder.problems
    if builder.count > _MAX_VALUES:
        value, lost = None, dict(enumerate(text.split("\n"), 1))
    gaps = frozenset(lost).union(one.line for one in builder.problems)
    words = "\n".join(lost.values())
    return Document(file, value, builder.places, bool(problems), gaps, words), problems


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
            if str(key.tag) == f"{_TAG}merge":
                self.complain(key, 'merge keys ("<<") are not used here; write the keys out')
                continue
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
                    return self._integer(node, text)
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

    def _integer(self, node: Node, text: str) -> object:
        digits = text.lstrip("+-")
        if len(digits) > 1 and digits.startswith("0") and digits[1].isdigit():
            plain = digits.lstrip("0") or "0"
            says = f"{text} could be read as octal or as decimal; write {plain}"
            self.complain(node, f'{says}, or "{text}" in quotes for text')
            return None
        if len(digits) > _MAX_DIGITS:
            return text
        return int(text, 0)  # decimal, 0x1f, 0o17


def _is_whole(text: str) -> bool:
    """Say whether text can be written as UTF-8; "\\ud800" in quotes cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
