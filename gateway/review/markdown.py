"""A comparison for a pull request's comment.  Owns: Markdown with folded details, within a bound.
Knows: GitHub Flavored Markdown.  Never: computing what it tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.review import wording
from gateway.review.change import Comparison
from gateway.review.traffic import Replayed
from gateway.review.wording import Paragraph

MAX_LEN = 60_000
"""Octets.  GitHub takes 65,536 characters in a comment; what it is put into needs some too."""
_MAX_RANGES = 200
# What is said at the end of what was cut.
_ROOM = 200


def markdown(found: Comparison, replayed: Replayed | None) -> str:
    """Write the comparison; what does not fit is cut, and a last line says how much."""
    blocks = list(_blocks(found, replayed))
    text = ""
    for at, block in enumerate(blocks):
        if len((text + block).encode()) > MAX_LEN - _ROOM:
            left = len(blocks) - at
            return f"{text}\n**Cut here: {left:,} parts more. `gateway diff --json` has all.**\n"
        text += block
    return text


def _blocks(found: Comparison, replayed: Replayed | None) -> Iterator[str]:
    """Give the parts, the gravest first; each is whole."""
    yield "### gateway diff\n\n"
    if found.is_nothing and not (replayed and replayed.changes):
        yield "Nothing changes.\n"
        return
    first, *more = wording.summary(found, replayed)
    yield f"**{_escaped(first)}**\n\n" + "".join(f"{_escaped(line)}\n\n" for line in more)
    sort = None
    for one in wording.paragraphs(found):
        heading = f"#### {str(one.sort).capitalize()}\n\n" if one.sort is not sort else ""
        sort = one.sort
        yield heading + _paragraph(one)
    if replayed is not None and replayed.changes:
        yield "#### Recorded flows\n\n"
        for each in replayed.changes:
            yield _folded(wording.flows(each), wording.examples(each))
    yield from _listed("Policy", wording.policy(found.policy))
    yield from _listed("Jurisdictions joined and left", map(wording.membership, found.memberships))


def _paragraph(one: Paragraph) -> str:
    rows = "".join(
        f"| {_cell(change)} | {_cell(flows)} |\n"
        for change, _, flows in (each.partition(": ") for each in one.outcomes)
    )
    table = f"| change | flows |\n|---|---|\n{rows}\n"
    remarks = "".join(f"- {_escaped(remark)}\n" for remark in one.remarks)
    ranges = wording.ranges(one.extent, _MAX_RANGES)
    return (
        f"**{_escaped(one.title)}**\n\n{table}{remarks}\n"
        f"<details><summary>ranges</summary>\n\n{_escaped(ranges)}\n\n</details>\n\n"
    )


def _folded(title: str, lines: Iterable[str]) -> str:
    listed = "".join(f"- {_escaped(line)}\n" for line in lines)
    return f"<details><summary>{_escaped(title)}</summary>\n\n{listed}\n</details>\n\n"


def _listed(title: str, lines: Iterable[str]) -> Iterator[str]:
    for at, line in enumerate(lines):
        yield (f"#### {title}\n\n" if not at else "") + f"- {_escaped(line)}\n\n"


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|")


def _escaped(text: str) -> str:
    """Keep names from being read as markup: policies' authors choose them."""
    for octet, spelled in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(octet, spelled)
    for sign in "\\`*_[]~#@":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("\n", " ")
