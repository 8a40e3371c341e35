"""gateway.leaks.encodings: the ways in which a value is written."""

from __future__ import annotations

import base64
import json
import urllib.parse

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.leaks.encodings import MIN_LEN, encodings, of_octets
from tests.support.rows import rows


@rows(
    written={
        "text": ("287454020", b"287454020", "text"),
        "32 bits, little-endian": ("287454020", "44332211", "u32 little-endian"),
        "32 bits, big-endian": ("287454020", "11223344", "u32 big-endian"),
        "64 bits, little-endian": ("287454020", "4433221100000000", "u64 little-endian"),
        "64 bits, big-endian": ("287454020", "0000000011223344", "u64 big-endian"),
        "a negative number": ("-2", "feffffff", "u32 little-endian"),
        "varint": ("287454020", "c4e6888901", "varint"),
        "BCD": ("287454020", "0287454020", "BCD"),
        "hex of text": ("SEEDROOM", b"53454544524f4f4d", "hex"),
        "hex of text, upper case": ("zz/", b"7A7A2F", "hex"),
        "hex of the number": ("287454020", b"11223344", "hex number"),
        "UTF-16 little-endian": ("room", b"r\0o\0o\0m\0", "UTF-16 little-endian"),
        "UTF-16 big-endian": ("room", b"\0r\0o\0o\0m", "UTF-16 big-endian"),
        "percent-encoding": ("a@b.example", b"a%40b.example", "percent-encoding"),
        "percent-encoding, lower case": ("a/b c", b"a%2fb%20c", "percent-encoding"),
        "form encoding": ("a b c", b"a+b+c", "percent-encoding"),
        "JSON escapes": ("Zoë", b"Zo\\u00eb", "JSON escapes"),
        "another case": ("Room", b"ROOM", "text of another case"),
        "UUID without dashes": (
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            b"f81d4fae7dec11d0a76500a0c91e6bf6",
            "UUID",
        ),
        "UUID in 16 octets": (
            "f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "f81d4fae7dec11d0a76500a0c91e6bf6",
            "UUID, 16 octets",
        ),
    }
)
class EncodingTests(SynchronousTestCase):
    """A value is known in each common encoding."""

    def check_written(self, text: str, octets: bytes | str, name: str) -> None:
        """The encoding is there under its name."""
        wanted = bytes.fromhex(octets) if isinstance(octets, str) else octets
        self.assertEqual(encodings(text).get(wanted), name)

    def test_telephony(self) -> None:
        """TBCD swaps the nibbles and fills the last with f."""
        self.assertEqual(encodings("12345")[bytes.fromhex("2143f5")], "BCD, nibbles swapped")

    def test_too_short(self) -> None:
        """What is shorter than three octets is not searched for."""
        self.assertTrue(all(len(octets) >= MIN_LEN for octets in encodings("7")))
        self.assertEqual(of_octets(b"\1\2").get(b"\1\2"), None)

    @given(st.binary(min_size=6, max_size=40), st.binary(max_size=5), st.binary(max_size=5))
    @settings(deadline=None, max_examples=60)
    def test_base64_at_any_alignment(self, value: bytes, before: bytes, after: bytes) -> None:
        """Base64 of any octets that hold the value has one of its encodings in it."""
        whole = base64.b64encode(before + value + after)
        wide = base64.urlsafe_b64encode(before + value + after)
        known = encodings_of(value)
        self.assertTrue(any(one in whole for one in known))
        self.assertTrue(any(one in wide for one in known))


def encodings_of(value: bytes) -> list[bytes]:
    """Give the base64 encodings of octets."""
    return [one for one, name in of_octets(value).items() if name.startswith("base64")]


class UnreservedTests(SynchronousTestCase):
    """Texts that nobody escapes."""

    @settings(deadline=None, max_examples=50)
    @given(st.from_regex(r"[A-Za-z0-9._~-]{3,20}", fullmatch=True))
    def test_quoted(self, text: str) -> None:
        """Escaping them gives the text itself, so leaving that out leaves nothing out."""
        for quoted in (
            urllib.parse.quote(text, safe=""),
            urllib.parse.quote_plus(text),
            json.dumps(text)[1:-1],
        ):
            self.assertEqual(encodings(text)[quoted.encode()], "text")
