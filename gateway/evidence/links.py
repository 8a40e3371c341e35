"""Links of the log.  Owns: what each record begins with: its number, and the record before it.
Knows: the tree's leaves.  Never: what else a record says.

The tree proves that a record was changed; the links say which one."""

from __future__ import annotations

import re

LINK_LEN = 16
"""Hexadecimal digits: the first 8 octets of the hash of the record before."""
NO_LINK = "0" * LINK_LEN
"""What the first record of a log follows."""

_HEAD = re.compile(rb'\{"n":(0|[1-9][0-9]{0,15}),"after":"([0-9a-f]{16})",')


def link(leaf: bytes) -> str:
    """Give what the next record says of the one with this hash."""
    return leaf[: LINK_LEN // 2].hex()


def linked(number: int, after: str, line: str) -> bytes:
    """Spell a record with its number and link.

    Args:    number: records before it.  after: the link of the last of them.  line: its JSON text.
    """
    return f'{{"n":{number},"after":"{after}",{line[1:]}'.encode("ascii")


def read_head(record: bytes) -> tuple[int, str] | None:
    """Give a record's number and link; None: it begins otherwise."""
    found = _HEAD.match(record)
    return None if found is None else (int(found[1]), found[2].decode("ascii"))
