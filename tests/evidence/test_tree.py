"""gateway.evidence.tree: the tree of RFC 9162, in stretches."""

from __future__ import annotations

import hashlib
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.evidence.tree import (
    Stretch,
    consistency_path,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_of_path,
)
from tests.support.rows import rows

# The leaves that the first implementations of RFC 6962 are tested with, and their roots.
RECORDS = [
    bytes.fromhex(text)
    for text in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(b"%d\n" % number) for number in range(70)]


def plain_root(leaves: list[bytes]) -> bytes:
    """Give the root hash as RFC 9162 section 2.1.1 defines it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    size = 1
    while size * 2 < len(leaves):
        size *= 2
    return node_hash(plain_root(leaves[:size]), plain_root(leaves[size:]))


def plain_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """Give the inclusion path as RFC 9162 section 2.1.3.1 defines it."""
    if len(leaves) == 1:
        return []
    size = 1
    while size * 2 < len(leaves):
        size *= 2
    if index < size:
        return [*plain_path(index, leaves[:size]), plain_root(leaves[size:])]
    return [*plain_path(index - size, leaves[size:]), plain_root(leaves[:size])]


def plain_subproof(size: int, leaves: list[bytes], is_known: bool) -> list[bytes]:
    """Give the consistency path as RFC 9162 section 2.1.4.1 defines it."""
    if size == len(leaves):
        return [] if is_known else [plain_root(leaves)]
    left = 1
    while left * 2 < len(leaves):
        left *= 2
    if size <= left:
        return [*plain_subproof(size, leaves[:left], is_known), plain_root(leaves[left:])]
    return [*plain_subproof(size - left, leaves[left:], False), plain_root(leaves[:left])]


@rows(size={f"{size} leaves": (size,) for size in range(9)})
class VectorTests(SynchronousTestCase):
    """Roots are those that everybody has."""

    def check_size(self, size: int) -> None:
        """The root of so many leaves is the known one."""
        leaves = [leaf_hash(record) for record in RECORDS[:size]]
        self.assertEqual(Stretch.of(0, leaves).root().hex(), ROOTS[size])


class StretchTests(SynchronousTestCase):
    """Stretches can be joined as one likes: the tree is the same."""

    def test_roots(self) -> None:
        """Each size's root is that of the definition, however its leaves came together."""
        for end in range(len(LEAVES)):
            whole = Stretch.of(0, LEAVES[:end])
            self.assertEqual(whole.root(), plain_root(LEAVES[:end]))
            self.assertTrue(whole.is_whole)
            for cut in range(end + 1):
                before, behind = Stretch.of(0, LEAVES[:cut]), Stretch.of(cut, LEAVES[cut:end])
                self.assertEqual(before.then(behind), whole)

    @settings(deadline=None, max_examples=60)
    @given(st.lists(st.integers(0, len(LEAVES)), min_size=3, max_size=8).map(sorted))
    def test_pieces(self, cuts: list[int]) -> None:
        """A stretch from anywhere to anywhere is made of its pieces."""
        joined = Stretch(cuts[0], cuts[0])
        for begin, end in pairwise(cuts):
            joined = joined.then(Stretch.of(begin, LEAVES[begin:end]))
        self.assertEqual(joined, Stretch.of(cuts[0], LEAVES[cuts[0] : cuts[-1]]))

    def test_not_whole(self) -> None:
        """A stretch that was read with too few or too many nodes is none."""
        nodes = Stretch.of(3, LEAVES[3:20]).nodes
        self.assertFalse(Stretch(3, 20, nodes[1:]).is_whole)
        self.assertFalse(Stretch(3, 20, (*nodes, nodes[0])).is_whole)
        self.assertFalse(Stretch(20, 3, ()).is_whole)

    def test_differs(self) -> None:
        """Where two stretches differ is told as the smallest subtree that can be."""
        changed = [*LEAVES[:10], leaf_hash(b"x"), *LEAVES[11:]]
        one, two = Stretch.of(3, LEAVES[3:20]), Stretch.of(3, changed[3:20])
        self.assertEqual(one.differs(two), (8, 8))


class ProofTests(SynchronousTestCase):
    """Paths are those of RFC 9162, and lead to the root."""

    def test_inclusion(self) -> None:
        """Each leaf of each tree is proven, by the path of the definition, at no other place."""
        for size in range(1, 40):
            leaves = LEAVES[:size]
            root = plain_root(leaves)
            for index in range(size):
                before = Stretch.of(0, leaves[:index])
                path = inclusion_path(before, Stretch.of(index + 1, leaves[index + 1 :]))
                self.assertEqual(path, plain_path(index, leaves))
                self.assertEqual(root_of_path(leaves[index], index, size, path), root)
                other = (index + 1) % size
                if size > 1:
                    self.assertNotEqual(root_of_path(leaves[index], other, size, path), root)
                    self.assertNotEqual(root_of_path(LEAVES[-1], index, size, path), root)

    def test_no_path(self) -> None:
        """Too short a path, too long a one, and a place outside of the tree lead nowhere."""
        path = plain_path(3, LEAVES[:7])
        self.assertIsNone(root_of_path(LEAVES[3], 3, 7, path[1:]))
        self.assertIsNone(root_of_path(LEAVES[3], 3, 7, [*path, path[0]]))
        self.assertIsNone(root_of_path(LEAVES[3], 7, 7, path))
        self.assertIsNone(root_of_path(LEAVES[3], -1, 7, path))

    def test_consistency(self) -> None:
        """The path from each tree to each later one is that of the definition."""
        for size in range(1, 40):
            for old in range(1, size + 1):
                before, added = Stretch.of(0, LEAVES[:old]), Stretch.of(old, LEAVES[old:size])
                path = consistency_path(before, added)
                self.assertEqual(path, plain_subproof(old, LEAVES[:size], True))
