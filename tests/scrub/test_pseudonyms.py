"""gateway.scrub.pseudonyms and alphabets: values of one shape, exchanged for each other."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import CarryError
from gateway.model import Form, IdentifierKind
from gateway.scrub.alphabets import to_varint
from gateway.scrub.pseudonyms import Pseudonyms
from tests.support.rows import rows

USER, ROOM = IdentifierKind.USER_ID, IdentifierKind.ROOM_ID
KEY = bytes(range(32))
PLAIN = "".join(chr(octet) for octet in range(32, 127) if chr(octet) not in '"\\')


def u32(number: int) -> tuple[bytes, Form]:
    """Write a number as frames have it."""
    return number.to_bytes(4, "little"), Form.U32


VALUES = st.one_of(
    st.integers(1, 2**32 - 1).map(u32),
    st.integers(1 << 14, 2**64 - 1).map(lambda number: (to_varint(number), Form.VARINT)),
    st.integers(10**6, 10**18).map(lambda number: (b"%d" % number, Form.DIGITS)),
    st.text("0123456789", min_size=6, max_size=40).map(lambda text: (text.encode(), Form.TEXT)),
    st.text("0123456789ABCDEF", min_size=5, max_size=40).map(lambda t: (t.encode(), Form.TEXT)),
    st.text(PLAIN, min_size=4, max_size=255).map(lambda text: (text.encode(), Form.TEXT)),
)


@rows(
    too_few={
        "a short name": (b"abc", Form.TEXT),
        "no name": (b"", Form.TEXT),
        "nobody": (bytes(4), Form.U32),
        "half a number": (b"\1\2", Form.U32),
        "a small number": (b"\x7f", Form.VARINT),
        "a number that is longer than it must be": (b"\xff\xff\xff\x00", Form.VARINT),
        "a number beyond 64 bits": (b"\xff" * 9 + b"\x7f", Form.VARINT),
        "half a varint": (b"\xff\xff\xff\xff", Form.VARINT),
        "five digits": (b"12345", Form.DIGITS),
        "a negative number": (b"-12345678", Form.DIGITS),
        "a number with a nought before it": (b"012345678", Form.DIGITS),
        "no ASCII": ("Café au lait".encode(), Form.TEXT),
        "an escape of JSON": (rb"caf\u00e9 au lait", Form.TEXT),
        "a text that is too long": (b"a" * 256, Form.TEXT),
    },
    kept={
        "digits": (b"123456", Form.TEXT, b"0123456789"),
        "five digits hide among hexadecimal ones": (b"12345", Form.TEXT, b"0123456789abcdef"),
        "hexadecimal": (b"0123456789abcdef", Form.TEXT, b"0123456789abcdef"),
        "hexadecimal capitals": (b"327EBA875F3348F4", Form.TEXT, b"0123456789ABCDEF"),
        "a number in JSON": (b"287454020", Form.DIGITS, b"0123456789"),
        "a name": (b"SEEDROOM-xVb9Q", Form.TEXT, PLAIN.encode()),
    },
)
class PseudonymTests(SynchronousTestCase):
    """A pseudonym has the shape of what it stands for."""

    def setUp(self) -> None:
        """Have the pseudonyms of a day."""
        self.pseudonyms = Pseudonyms(KEY)

    def check_too_few(self, octets: bytes, form: Form) -> None:
        """What is malformed, or has too few values like it, has no pseudonym"""
        self.assertRaises(CarryError, self.pseudonyms.instead, octets, USER, form)

    def check_kept(self, octets: bytes, form: Form, letters: bytes) -> None:
        """Length and alphabet stay, the value does not"""
        pseudonym = self.pseudonyms.instead(octets, ROOM, form)
        self.assertEqual(len(pseudonym), len(octets))
        self.assertEqual(pseudonym.strip(letters), b"")
        self.assertNotEqual(pseudonym, octets)

    @settings(deadline=None, max_examples=300)
    @given(VALUES, st.sampled_from((USER, ROOM)), st.binary(min_size=32, max_size=32))
    def test_reverse(self, value: tuple[bytes, Form], kind: IdentifierKind, key: bytes) -> None:
        """Every value that has a pseudonym has one of its length, and comes back from it, both
        ways."""
        octets, form = value
        pseudonyms = Pseudonyms(key)
        there = pseudonyms.instead(octets, kind, form)
        self.assertEqual(len(there), len(octets))
        self.assertEqual(pseudonyms.instead(there, kind, form, back=True), octets)
        before = pseudonyms.instead(octets, kind, form, back=True)
        self.assertEqual(pseudonyms.instead(before, kind, form), octets)

    def test_apart(self) -> None:
        """Two users never share a pseudonym: a whole range of ids keeps its number."""
        ids = range(1, 3_000)
        given = {self.pseudonyms.instead(*u32(one)[:1], USER, Form.U32) for one in ids}
        self.assertEqual(len(given), len(ids))
        self.assertNotIn(bytes(4), given)

    def test_small_ids_hide(self) -> None:
        """In frames a small id is not told from a large one: most pseudonyms of the first thousand
        users are above a hundred million."""
        numbers = (
            int.from_bytes(self.pseudonyms.instead(*u32(one)[:1], USER, Form.U32), "little")
            for one in range(1, 1_001)
        )
        self.assertGreater(sum(number > 100_000_000 for number in numbers), 900)

    def test_days_and_kinds(self) -> None:
        """Another key, and another kind, is another pseudonym."""
        octets, form = u32(287454020)
        found = {
            Pseudonyms(key).instead(octets, kind, form)
            for key in (KEY, bytes(32))
            for kind in (USER, ROOM)
        }
        self.assertEqual(len(found), 4)

    def test_forgetting(self) -> None:
        """A pseudonym is the same after so many others that it was forgotten."""
        first = self.pseudonyms.instead(*u32(1)[:1], USER, Form.U32)
        for number in range(2, 16_400):
            self.pseudonyms.instead(*u32(number)[:1], USER, Form.U32)
        self.assertEqual(self.pseudonyms.instead(*u32(1)[:1], USER, Form.U32), first)
