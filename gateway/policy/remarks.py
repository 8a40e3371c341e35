"""Remarks.  Owns: what lint says: its kind, its weight, its place.
Knows: nothing else.  Never: finding them."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import Problem


@dataclass(frozen=True, slots=True, order=True)
class Remark:
    """One thing that is odd about a sound policy."""

    kind: str
    """Its short name, such as "shaded"."""
    problem: Problem
    is_note: bool = False
    """Whether it is only worth knowing; else it is a warning, which --strict counts as a fault."""

    def __str__(self) -> str:
        where, _, _ = str(self.problem).rpartition(f": {self.problem.sentence}")
        weight = "note" if self.is_note else "warning"
        return f"{where}: {weight}: {self.problem.sentence} [{self.kind}]"


def warning(kind: str, problem: Problem) -> Remark:
    """Make a warning."""
    return Remark(kind, problem)


def note(kind: str, problem: Problem) -> Remark:
    """Make a note."""
    return Remark(kind, problem, is_note=True)
