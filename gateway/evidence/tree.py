"""The Merkle tree over records.  Owns: hashes of leaves, stretches of leaves, roots, proofs.
Knows: RFC 9162 section 2.1, compact ranges of transparency logs.  Never: files, keys, JSON.

Ours, and not a library's: the one that is kept (pymerkle) is GPL, keeps every leaf, and cannot go
on from a stretch whose leaves were removed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HASH_LEN = 32
"""Octets of a hash: SHA-256."""

_sha256 = hashlib.sha256


def leaf_hash(record: bytes) -> bytes:
    """Hash a record, its line end included (RFC 9162 section 2.1.1)."""
    return _sha256(b"\0" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two nodes (RFC 9162 section 2.1.1)."""
    return _sha256(b"\1" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Stretch:
    """The leaves [begin, end) as the hashes of the fewest whole subtrees that hold just them."""

    begin: int = 0
    end: int = 0
    nodes: tuple[bytes, ...] = ()
    """From the left."""

    @classmethod
    def of(cls, begin: int, leaves: Sequence[bytes]) -> Stretch:
        """Make one of the hashes of its leaves."""
        low, high = begin, begin + len(leaves)
        end, level = high, list(leaves)
        left: list[bytes] = []
        right: list[bytes] = []
        while low < high:
            if low & 1:  # a right child, whose sibling lies before the stretch
                left.append(level.pop(0))
                low += 1
            if high & 1 and low < high:  # a left child, whose sibling lies behind it
                right.append(level.pop())
                high -= 1
            pairs = iter(level)
            level = [
                _sha256(b"\1" + one + two).digest() for one, two in zip(pairs, pairs, strict=True)
            ]
            low, high = low >> 1, high >> 1
        return cls(begin, end, (*left, *reversed(right)))

    def then(self, after: Stretch) -> Stretch:
        """Join the stretch that begins where this one ends."""
        assert self.end == after.begin
        stack = list(zip(_subtrees(self.begin, self.end), self.nodes, strict=True))
        for (at, size), node in zip(_subtrees(after.begin, after.end), after.nodes, strict=True):
            # 1. A right child whose left sibling is the last node: both become their parent.
            while stack and at & size and stack[-1][0] == (at - size, size):
                node = node_hash(stack.pop()[1], node)
                at, size = at - size, size * 2
            stack.append(((at, size), node))
        return Stretch(self.begin, after.end, tuple(node for _, node in stack))

    def subtree(self, begin: int, end: int) -> bytes:
        """Hash the leaves [begin, end), which are a subtree of RFC 9162 within this stretch."""
        nodes = [
            node
            for (at, size), node in zip(_subtrees(self.begin, self.end), self.nodes, strict=True)
            if begin <= at and at + size <= end
        ]
        if not nodes:
            return _sha256(b"").digest()
        root = nodes.pop()
        for node in reversed(nodes):
            root = node_hash(node, root)
        return root

    def root(self) -> bytes:
        """Give the root hash of the tree of all leaves up to the end; it begins at 0."""
        assert self.begin == 0
        return self.subtree(0, self.end)

    def differs(self, other: Stretch) -> tuple[int, int]:
        """Give the first leaf and the size of the first subtree in which two stretches differ that
        have the same bounds."""
        subtrees = _subtrees(self.begin, self.end)
        pairs = zip(subtrees, self.nodes, other.nodes, strict=True)
        return next(subtree for subtree, one, two in pairs if one != two)

    @property
    def is_whole(self) -> bool:
        """Whether it has as many nodes as its bounds ask for: one that was read may not."""
        return 0 <= self.begin <= self.end and len(self.nodes) == sum(
            1 for _ in _subtrees(self.begin, self.end)
        )


def _subtrees(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Give the first leaf and the size of each largest whole subtree of a stretch."""
    while begin < end:
        size = 1 << ((end - begin).bit_length() - 1)
        if begin:
            size = min(size, begin & -begin)
        yield begin, size
        begin += size


def inclusion_path(before: Stretch, after: Stretch) -> list[bytes]:
    """Prove that a leaf is in a tree (RFC 9162 section 2.1.3.1).

    Args:    before: all leaves before it; after: all behind it.
    Returns: its siblings' hashes, the lowest first.
    """
    index, size = before.end, after.end
    siblings: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _left_size(end - begin)
        if index < middle:
            siblings.append(after.subtree(middle, end))
            end = middle
        else:
            siblings.append(before.subtree(begin, middle))
            begin = middle
    return siblings[::-1]


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Give the root that a leaf and its siblings lead to (RFC 9162 section 2.1.3.2).

    Returns: None: the path is no path of that place in a tree of that size.
    """
    if not 0 <= index < size:
        return None
    at, last, node = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return None
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    return node if last == 0 else None


def consistency_path(old: Stretch, added: Stretch) -> list[bytes]:
    """Prove that a tree goes on from an older one (RFC 9162 section 2.1.4.1).

    Args:    old: all leaves of the older tree, at least one; added: those behind them.
    """
    nodes: list[bytes] = []
    begin, end, is_known = 0, added.end, True
    while old.end < end:
        middle = begin + _left_size(end - begin)
        if old.end <= middle:
            nodes.append(added.subtree(middle, end))
            end = middle
        else:
            nodes.append(old.subtree(begin, middle))
            begin, is_known = middle, False
    if not is_known:
        nodes.append(old.subtree(begin, end))
    return nodes[::-1]


def _left_size(size: int) -> int:
    """Give the largest power of two below a size, which is 2 at least."""
    return 1 << ((size - 1).bit_length() - 1)
