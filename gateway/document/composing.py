"""YAML text → nodes.  Owns: what to do with text that is no YAML: say why, cut the entry that is at
fault out, and read the rest, so that one run names every fault.
Knows: ruamel.yaml.  Never: values; what they mean."""

from __future__ import annotations

import re

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark
from ruamel.yaml.nodes import Node
from ruamel.yaml.reader import ReaderError

from gateway.errors import Problem

# After so many pieces that are no YAML, the file is something else.
_MAX_CUTS = 20
# Text of this length is read again quickly enough to look for more faults.
_MAX_CHARACTERS_OF_SECOND_LOOK = 200_000

# Where an item of a list begins, or a key.
_BEGINS = re.compile(r" *(- |[^\s\[\]{},#][^\[\]{},]*:(\s|$))")
_TABS = re.compile(r"^ *\t[ \t]*(?=\S)", re.MULTILINE)


def compose(text: str, file: str) -> tuple[Node | None, list[Problem], dict[int, str]]:
    """Read YAML 1.2 text as far as it is YAML.

    Returns: the root of what could be read, None if there is nothing; every fault of the text; the
             lines that were cut out, by their number.
    """
    problems: list[Problem] = []
    rest, whole = text, dict(enumerate(text.split("\n"), 1))
    lost: dict[int, str] = {}
    if _TABS.search(text):
        rest = _without_tabs(text, file, problems)
    for _ in range(_MAX_CUTS):
        try:
            return YAML(typ="safe", pure=True).compose(rest), problems, lost
        except MarkedYAMLError as error:
            mark = _mark(error)
            line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
            if all(line != known.line for known in problems):
                problems.append(Problem(file, line, column, _sentence(error)))
            rest, cut = _cut(rest, line, error)
            lost |= cut
        except RecursionError:
            problems.append(Problem(file, *_deepest(rest), "is nested too deeply"))
            return None, problems, whole
        except ReaderError as error:
            problems.append(_unreadable(text, file, error))
            return None, problems, whole
        if not rest.strip() or len(rest) > _MAX_CHARACTERS_OF_SECOND_LOOK:
            break
    return None, problems, whole


def _without_tabs(text: str, file: str, problems: list[Problem]) -> str:
    """Say where lines are indented by tabs, and put spaces there.

    A tab inside a text of several lines, or between brackets, is none of this; it is no fault only
    if YAML reads the text as it stands.
    """
    try:
        YAML(typ="safe", pure=True).compose(text)
        return text
    except (MarkedYAMLError, RecursionError, ReaderError):
        pass
    lines = text.split("\n")
    for at, line in enumerate(lines):
        if found := _TABS.match(line):
            column = found[0].index("\t") + 1
            says = "a tab is not allowed here; YAML indents with spaces, not tabs"
            problems.append(Problem(file, at + 1, column, says))
            lines[at] = " " * _meant(lines, at) + line[found.end() :]
    return "\n".join(lines)


def _meant(lines: list[str], at: int) -> int:
    """Guess how far a line was to be indented: as the line before, or deeper if that opens a
    mapping or a list, then as the line behind."""
    before = next((line for line in reversed(lines[:at]) if line.strip()), "")
    depth = _indent(before)
    if not before.rstrip().endswith(":"):
        return len(before) - len(before.lstrip(" -"))
    behind = next((line for line in lines[at + 1 :] if line.strip() and "\t" not in line), "")
    return max(depth + 2, _indent(behind))


def _mark(error: MarkedYAMLError) -> StringMark | None:
    """Give the place to look at: of a quote without end, or a key without ":", where it begins."""
    begins = any(what in str(error.context) for what in ("quoted scalar", "simple key"))
    if begins and error.context_mark is not None:
        found: StringMark | None = error.context_mark
    else:
        found = error.problem_mark or error.context_mark
    return found


def _sentence(error: MarkedYAMLError) -> str:
    words = " ".join(str(part) for part in (error.context, error.problem) if part)
    if "'\\t'" in words:
        words += "; YAML indents with spaces, not tabs"
    if "parsing a flow" in words and error.context_mark is not None:
        words += f"; its bracket is on line {error.context_mark.line + 1}"
    if "single document" in words:
        words += '; a file holds one document: remove the line "---"'
    if "mapping values are not allowed" in words:
        words += '; is a ":" missing on a line above, or a text with ": " not in quotes?'
    if "cannot start any token" in words or "found undefined alias" in words:
        words += "; text that begins with such a character has to be in quotes"
    return f"is not YAML: {words}"


def _cut(text: str, line: int, error: MarkedYAMLError) -> tuple[str, dict[int, str]]:
    """Blank the entry around a line: from where it, or the bracket around it, began to the next
    line that is indented no further.  Give what is left, and what was cut out."""
    lines = text.split("\n")
    at = min(line, len(lines)) - 1
    if "single document" in str(error.context):
        return "\n".join(lines[:at]), dict(enumerate(lines[at:], at + 1))
    if error.context_mark is not None and "flow" in str(error.context):
        at = min(at, error.context_mark.line)
    while at > 0 and not lines[at].strip():
        at -= 1
    # A line without a ":" is no entry; it alone is at fault.
    first, last = (at, at + 1) if "simple key" in str(error.context) else _entry(lines, at)
    cut = dict(enumerate(lines[first:last], first + 1))
    lines[first:last] = [""] * (last - first)
    return "\n".join(lines), cut


def _entry(lines: list[str], at: int) -> tuple[int, int]:
    """Give the lines of the list item or the key that a line is in, and nothing around it."""
    first = at
    while first > 0 and not _BEGINS.match(lines[first]):
        first -= 1
    depth = _indent(lines[first])
    last = first + 1
    while last < len(lines) and (not lines[last].strip() or _indent(lines[last]) > depth):
        last += 1
    return first, max(last, at + 1)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _deepest(text: str) -> tuple[int, int]:
    """Give line and column of the deepest bracket, or of the line that is indented most."""
    depth, most, deepest = 0, 0, 0
    for position, character in enumerate(text):
        depth += (character in "[{") - (character in "]}")
        if depth > most:
            most, deepest = depth, position
    before = text[:deepest]
    return before.count("\n") + 1, deepest - before.rfind("\n")


def _unreadable(text: str, file: str, error: ReaderError) -> Problem:
    line = text.count("\n", 0, error.position) + 1
    column = error.position - text.rfind("\n", 0, error.position)
    character = error.character
    code = ord(character) if isinstance(character, str) else int(character)
    sentence = f"is not YAML text: it has the control character U+{code:04X}"
    return Problem(file, line, column, sentence)
