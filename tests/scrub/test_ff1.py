"""gateway.scrub.ff1, by the standard's own samples."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.scrub.ff1 import Ff1
from tests.support.rows import rows

NUMERALS = "0123456789abcdefghijklmnopqrstuvwxyz"
KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3cef4359d8d580aa4f7f036d6f04fc6a94")
TEN, ELEVEN = bytes.fromhex("39383736353433323130"), bytes.fromhex("3737373770717273373737")


def text(number: int, radix: int, length: int) -> str:
    """Write a number in numerals."""
    written = ""
    for _ in range(length):
        number, numeral = divmod(number, radix)
        written = NUMERALS[numeral] + written
    return written


@rows(
    sample={
        "1, AES-128": (16, 10, b"", "0123456789", "2433477484"),
        "2, AES-128": (16, 10, TEN, "0123456789", "6124200773"),
        "3, AES-128": (16, 36, ELEVEN, "0123456789abcdefghi", "a9tv40mll9kdu509eum"),
        "4, AES-192": (24, 10, b"", "0123456789", "2830668132"),
        "7, AES-256": (32, 10, b"", "0123456789", "6657667009"),
        "8, AES-256": (32, 10, TEN, "0123456789", "1001623463"),
        "9, AES-256": (32, 36, ELEVEN, "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"),
    }
)
class Ff1Tests(SynchronousTestCase):
    """FF1 is the standard's."""

    def check_sample(self, key_len: int, radix: int, tweak: bytes, before: str, after: str) -> None:
        """NIST's published samples come out"""
        permutation = Ff1(KEY[:key_len], radix, len(before), tweak)
        number = permutation.encrypt(int(before, radix))
        self.assertEqual(text(number, radix, len(before)), after)
        self.assertEqual(permutation.decrypt(number), int(before, radix))

    def test_too_few(self) -> None:
        """A domain below a million, which the standard forbids, is refused."""
        self.assertRaises(ValueError, Ff1, KEY, 10, 5)
        self.assertRaises(ValueError, Ff1, KEY, 2, 19)

    @settings(deadline=None, max_examples=60)
    @given(st.integers(2, 300), st.integers(2, 80), st.binary(max_size=40), st.data())
    def test_reverse(self, radix: int, length: int, tweak: bytes, data: st.DataObject) -> None:
        """Every permutation stays in its domain and is taken back."""
        if radix**length < 1_000_000:
            return
        number = data.draw(st.integers(0, radix**length - 1))
        permutation = Ff1(KEY, radix, length, tweak)
        permuted = permutation.encrypt(number)
        self.assertTrue(0 <= permuted < radix**length)
        self.assertEqual(permutation.decrypt(permuted), number)
