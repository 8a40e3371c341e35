"""Denied places.  Owns: the destinations that an epoch blocks whatever the flow, as ranges.
Knows: policy's proofs, geo's survey.  Never: how they are dropped; single flows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from gateway.flow.epoch import Epoch, Survey
from gateway.policy import Closing, Fate, Listing

Ranges = tuple[tuple[int, int], ...]
"""(first, last) addresses as integers, both included; ascending, apart, not adjacent."""

_Found = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Denied:
    """Destinations to which nothing goes: no client, transport, port, payload or name opens them.

    What is not here is judged flow by flow: where the verdict depends on the flow, where a rule in
    shadow has something to say, where a block is silent for some flows and told to others, where
    the addresses that a destination spells decide (6to4, NAT64, Teredo), and what the user's own
    databases may decide.
    """

    silent4: Ranges = ()
    """Dropped."""
    silent6: Ranges = ()
    refused4: Ranges = ()
    """Told so: `{block: refuse}`."""
    refused6: Ranges = ()


def denied(epoch: Epoch) -> Denied:
    """Find all addresses that can be proven to be denied.

    It takes some seconds at most of the bundled data, and some µs more for each network that the
    policy lists.
    """
    closing = Closing(epoch.policy)
    survey = epoch.atlas.survey(closing.asns)
    v4, v6 = _of_family(closing, survey, 4), _of_family(closing, survey, 16)
    return Denied(
        silent4=tuple(v4[Fate.DROPPED]),
        silent6=tuple(v6[Fate.DROPPED]),
        refused4=tuple(v4[Fate.REFUSED]),
        refused6=tuple(v6[Fate.REFUSED]),
    )


def _of_family(closing: Closing, survey: Survey, octets: int) -> dict[int, _Found]:
    """Find the denied addresses of a length, by their fate."""
    found: dict[int, _Found] = {Fate.DROPPED: [], Fate.REFUSED: []}
    by_listing: dict[Listing, Mapping[int, int]] = {}
    for first, last, listing in closing.cuts(octets):
        classes = by_listing.get(listing)
        if classes is None:
            # An address of 16 octets may spell others, wherever it lies (ISATAP): then it lies
            # where its place says or, to the policy, nowhere (Epoch.facts), which opens nothing.
            classes = by_listing[listing] = survey.classes(partial(closing.fate, listing))
        for run_first, run_last, run_fate in survey.runs(classes, octets, first, last):
            _add(found[run_fate], run_first, run_last)
    return found


def _add(ranges: _Found, first: int, last: int) -> None:
    """Append a range, or lengthen the last one by it."""
    if ranges and ranges[-1][1] + 1 == first:
        ranges[-1] = ranges[-1][0], last
    else:
        ranges.append((first, last))
