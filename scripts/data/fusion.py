"""Three columns of ranges → segments of evidence, for scripts/build-data.  Owns: the cut.
Never: where ranges come from; the form of our own file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from readers import Range

Evidence = tuple[str, str, int]
"""Location, registration, AS number; "" and 0 for none."""
Segments = list[tuple[int, Evidence]]
"""Where each segment begins, and what is said of it."""


def fused(columns: tuple[list[Range], ...], bits: int) -> Segments:
    """Cut the address space wherever a column changes."""
    changes = sorted(
        change
        for column, ranges in enumerate(columns)
        for each in ranges
        for change in ((each.first, 1, column, each.value), (each.last + 1, 0, column, None))
    )
    nothing: Evidence = ("", "", 0)
    current: list[Any] = list(nothing)
    segments: Segments = [(0, nothing)]
    for address, _, column, value in changes:
        if address >= 1 << bits:
            break
        current[column] = nothing[column] if value is None else value
        if segments[-1][0] == address:
            segments.pop()
        segments.append((address, (current[0], current[1], current[2])))
    return list(without_repetition(segments))


def without_repetition(segments: Segments) -> Iterator[tuple[int, Evidence]]:
    """Leave out a segment that says the same as the one before it."""
    before = None
    for start, evidence in segments:
        if evidence != before:
            yield start, evidence
        before = evidence
