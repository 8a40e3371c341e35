"""The few errors.  Owns: every exception class of the project.  Knows: nothing else of it.
Never: causes of one room only; those are facts inside an error, not new classes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# A line of a file that is no list of networks can have megabytes.
_MAX_SHOWN_LEN = 80
_MAX_LINE_LEN = 1000


class GatewayError(Exception):
    """Root of all our errors: one plain sentence, for a person."""


class WireError(GatewayError):
    """Bytes that are not what they were read as.

    Raised inside gateway.wire and by packet readers only; recognisers turn it into "unknown".
    """

    def __init__(self, what: str, offset: int, expected: str) -> None:
        super().__init__(f"{what} at offset {offset}: expected {expected}")
        self.what = what
        self.offset = offset
        """Octets from the start of the payload."""
        self.expected = expected


class AddressError(GatewayError):
    """Text that is not an address, an endpoint or a flow."""

    def __init__(self, text: str, expected: str) -> None:
        shown = text if len(text) <= _MAX_SHOWN_LEN else f"{text[:_MAX_SHOWN_LEN]}…"
        super().__init__(f"{shown!r} is not {expected}")
        self.text = text
        self.expected = expected


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One fault of one file, with its place."""

    file: str
    line: int
    """Counted from 1; 0 if the fault has no line (a file that is missing)."""
    column: int
    """Counted from 1; 0 if unknown."""
    sentence: str
    """What is wrong, where, and what was expected."""

    def __str__(self) -> str:
        """Give it as one line of some length, whatever the file holds: what is quoted of it could
        move a terminal's cursor, or look like a line of its own."""
        return _one_line(self._whole())

    def _whole(self) -> str:
        place = self.file
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        return f"{place}: {self.sentence}"


def _one_line(text: str) -> str:
    """Write what cannot be seen as escapes, and leave out the middle of what is very long."""
    if not text.isprintable():
        text = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
    if len(text) > _MAX_LINE_LEN:
        text = f"{text[: _MAX_LINE_LEN // 2]} … {text[-_MAX_LINE_LEN // 2 :]}"
    return text


class InputError(GatewayError):
    """A policy, configuration or cases file that was refused: all its problems at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DataError(GatewayError):
    """Jurisdiction data that is missing, corrupt or of an unknown form."""

    def __init__(self, path: str, what: str, expected: str) -> None:
        super().__init__(f"{path}: {what}; expected {expected}")
        self.path = path


class CarryError(GatewayError):
    """A verdict that could not be carried out: its exit or relay is down, refuses or is unknown.

    Whoever catches it blocks.
    """

    def __init__(self, target: str, what: str) -> None:
        super().__init__(f"{target}: {what}")
        self.target = target
        self.what = what
