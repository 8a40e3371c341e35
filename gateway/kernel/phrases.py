"""Phrases of nft rules.  Owns: conditions on marks, changes of marks, hooks, as text.
Knows: nft(8).  Never: what a rule is for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.kernel.marks import (
    ANSWER,
    EPOCH_MASK,
    FLAGS_MASK,
    JUDGE,
    LOOKS_MASK,
    OTHERS_MASK,
    PROVISIONAL,
    TARGET_MASK,
    mark,
)


def hook(kind: str, name: str, priority: int) -> str:
    """Write where a chain is hooked in; what no rule of it decides goes on."""
    return f"type {kind} hook {name} priority {priority}; policy accept;"


def has(mask: int, value: int, of: str = "meta") -> str:
    """Write "these bits of the mark have this value"; of: meta or ct."""
    return f"{of} mark and {mask:#010x} == {value:#010x}"


def lacks(mask: int, value: int, of: str = "meta") -> str:
    """Write "these bits of the mark have another value"."""
    return f"{of} mark and {mask:#010x} != {value:#010x}"


def straight(epoch: int) -> str:
    """Write "this packet's flow is direct and remembered, and nothing is left to do for it"."""
    return has(EPOCH_MASK | TARGET_MASK | JUDGE | PROVISIONAL | ANSWER | LOOKS_MASK, mark(epoch))


def shut(way: str, numbers: Iterable[int]) -> Iterator[str]:
    """Write "what comes (iif) or goes (oif) by interfaces of these numbers goes nowhere"."""
    yield from (f"{way} {number} counter drop" for number in numbers)


def become(value: int, keep: int = OTHERS_MASK, of: str = "meta") -> str:
    """Write "change the mark, and leave the bits of `keep` as they are"."""
    changed = f" or {value:#010x}" if value else ""
    return f"{of} mark set {of} mark and {keep:#010x}{changed}"


def gain(value: int, of: str = "meta") -> str:
    """Write "set these bits of the mark, and leave all others"."""
    return f"{of} mark set {of} mark or {value:#010x}"


def by_target(targets: Iterable[int], of: str, verb: str, chain: str) -> Iterator[str]:
    """Send each target to its chain, by one comparison each and in this order.

    A verdict map would be one look-up; but the kernel may finish with the rules of one generation
    while the elements are the next one's already, and a packet of an accepted flow finds none.
    """
    for number in targets:
        yield f"{has(TARGET_MASK, mark(0, number), of)} {verb} {chain}_{number}"


KEEP_FLAGS = OTHERS_MASK | FLAGS_MASK
"""What a rule keeps of a mark that gives it another epoch and target only."""
