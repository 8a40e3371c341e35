"""Marks are read as they were written, and leave others' bits alone."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.kernel import marks
from tests.support.rows import rows


@rows(
    next_epoch={
        "none yet": (0, 1),
        "the first": (1, 2),
        "the last but one": (254, 255),
        "the last": (255, 1),
    },
    epoch_before={"the first": (1, 255), "the second": (2, 1), "the last": (255, 254)},
    out_of_range={
        "an epoch too high": ((256,),),
        "an epoch below none": ((-1,),),
        "a target too high": ((1, 256),),
        "flags in others' byte": ((1, 0, 0x100),),
    },
)
class MarkTests(SynchronousTestCase):
    """The layout."""

    def check_next_epoch(self, epoch: int, following: int) -> None:
        """Epochs wrap to 1, never to 0"""
        self.assertEqual(marks.next_epoch(epoch), following)

    def check_epoch_before(self, epoch: int, before: int) -> None:
        """The epoch before is the one that this one is next to"""
        self.assertEqual(marks.epoch_before(epoch), before)
        self.assertEqual(marks.next_epoch(before), epoch)

    def check_out_of_range(self, arguments: tuple[int, ...]) -> None:
        """A mark that cannot be is a programmer's fault"""
        self.assertRaises(AssertionError, marks.mark, *arguments)

    @settings(deadline=None, max_examples=200)
    @given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
    def test_round_trip(self, epoch: int, target: int, flags: int) -> None:
        """Epoch, target and flags come back, and the byte of others stays 0."""
        value = marks.mark(epoch, target, flags)
        self.assertEqual((marks.epoch_of(value), marks.target_of(value)), (epoch, target))
        self.assertEqual(value & marks.FLAGS_MASK, flags)
        self.assertEqual(value & marks.OTHERS_MASK, 0)

    @settings(deadline=None, max_examples=200)
    @given(st.integers(0, 0xFFFFFFFF))
    def test_kept(self, value: int) -> None:
        """A verdict keeps others' byte and the looks, and no question."""
        kept = marks.kept(value)
        self.assertEqual(kept & marks.OTHERS_MASK, value & marks.OTHERS_MASK)
        self.assertEqual(kept & marks.LOOKS_MASK, value & marks.LOOKS_MASK)
        self.assertEqual(kept & ~(marks.OTHERS_MASK | marks.LOOKS_MASK), 0)

    def test_masks(self) -> None:
        """The masks cover all 32 bits, each once, and the special targets are no relay's."""
        masks = (marks.EPOCH_MASK, marks.TARGET_MASK, marks.OTHERS_MASK, marks.FLAGS_MASK)
        self.assertEqual(sum(masks), 0xFFFFFFFF)
        flags = (marks.JUDGE, marks.PROVISIONAL, marks.EARLIER, marks.CONTENT, *marks.LOOKS)
        self.assertEqual(sum(flags), marks.FLAGS_MASK)
        special = {marks.DIRECT, marks.REPLY, marks.BLOCK_PLACE, marks.BLOCK}
        self.assertEqual(len(special), 4)
        self.assertFalse(special & set(range(marks.FIRST_TARGET, marks.LAST_TARGET + 1)))
