"""Tests of gateway.wire.cursor."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import WireError
from gateway.wire.cursor import Cursor


class CursorTests(SynchronousTestCase):
    """Reading moves on, up to the end and never past it."""

    def test_orders(self) -> None:
        """Integers are read in the order asked for, one after another."""
        cursor = Cursor(bytes.fromhex("01020304050607"))
        self.assertEqual((cursor.u8(), cursor.big(2), cursor.little(2)), (1, 0x0203, 0x0504))
        self.assertEqual((cursor.take(2), cursor.left), (b"\x06\x07", 0))

    def test_end(self) -> None:
        """Reading past the end raises an error that says where and how much was asked."""
        cursor = Cursor(b"\x01\x02")
        cursor.u8()
        error = self.assertRaises(WireError, cursor.big, 2)
        self.assertEqual(str(error), "octets end at offset 1: expected 2 more")
        self.assertEqual(cursor.left, 1)

    def test_part(self) -> None:
        """A part ends where it ends, though the octets go on, and keeps their offsets."""
        cursor = Cursor(b"abcdef", 1)
        part = cursor.part(2)
        self.assertEqual((part.at, part.take(2), cursor.take(1)), (1, b"bc", b"d"))
        self.assertRaises(WireError, part.u8)

    def test_part_is_bounded(self) -> None:
        """No part is longer than what is left."""
        self.assertRaises(WireError, Cursor(b"abc").part(2).part, 3)
        self.assertEqual(Cursor(b"abc", 0, 99).left, 3)
