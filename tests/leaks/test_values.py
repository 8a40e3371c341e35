"""gateway.leaks.values, canaries and given: what the operator named is found, and chance is not."""

from __future__ import annotations

import hashlib
import hmac
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import InputError
from gateway.leaks import Certainty, Given, GivenFinder, Values, compile_values, read_values
from gateway.leaks.chance import Octets, tail
from gateway.model import Endpoint, IdentifierKind
from tests.leaks.clients import ALICE, datagrams, replay
from tests.support.rows import rows
from tests.wire import captures

USER = IdentifierKind.USER_ID
SERVER = Endpoint.of("192.0.2.1", 4001)


def values(*texts: str, key: bytes = b"") -> Values:
    """Compile user ids."""
    return compile_values([Given(USER, text) for text in texts], key=key)


@rows(
    refused={
        "too short": ("ab", "too short"),
        "hex that is none": ("hex:zz", "not hexadecimal digits of at least 3 octets"),
        "a digest cut short": ("sha256:00ff", "not hexadecimal digits of 32 octets"),
        "a keyed digest without a key": ("hmac-sha256:" + "00" * 32, "no key was given"),
        "a lone surrogate": ("ab\ud800", "lone surrogates"),
    },
    pattern_refused={
        "not closed": ("uid=(", "not a pattern of RE2"),
        "a backreference": (r"(a)\1", "not a pattern of RE2"),
        "look-around": ("(?=a)", "not a pattern of RE2"),
        "fits everywhere": ("a*", "would fit everywhere"),
        "too long": ("a" * 1_001, "longer than 1000"),
    },
)
class CompileTests(SynchronousTestCase):
    """What cannot be searched for is refused with its place, and without the value."""

    def check_refused(self, text: str, sentence: str) -> None:
        """The value is refused."""
        error = self.assertRaises(InputError, compile_values, [Given(USER, text, "ids.txt", 7)])
        self.assertIn(sentence, str(error))
        self.assertTrue(str(error).startswith("ids.txt:7: "))

    def check_pattern_refused(self, text: str, sentence: str) -> None:
        """The pattern is refused."""
        error = self.assertRaises(InputError, compile_values, [], [Given(USER, text, "g.yaml", 9)])
        self.assertIn(sentence, str(error))

    def test_all_at_once(self) -> None:
        """Every bad value is named, not only the first."""
        bad = [Given(USER, "a", "ids.txt", 1), Given(USER, "b", "ids.txt", 2)]
        self.assertEqual(len(self.assertRaises(InputError, compile_values, bad).problems), 2)

    def test_file(self) -> None:
        """A file has one value a line, with comments; the line is remembered."""
        read = read_values(USER, "# ours\n\n  287454020 \nsha256:00\n", "ids.txt")
        self.assertEqual(
            [(one.text, one.line) for one in read], [("287454020", 3), ("sha256:00", 4)]
        )

    def test_nothing(self) -> None:
        """Without any value nothing is found, and nothing breaks."""
        self.assertEqual(compile_values([]).find(b"whatever"), ())


class ManyTests(SynchronousTestCase):
    """More strings than one automaton takes."""

    def test_each_is_found(self) -> None:
        """Each value is found under its own number, in text and in binary, alone and together."""
        numbers = [287_454_020 + 7_919 * number for number in range(1_500)]
        values = compile_values([Given(USER, str(number)) for number in numbers])
        self.assertGreater(len(values), 16_384)
        for which in range(0, len(numbers), 97):
            text, binary = str(numbers[which]).encode(), numbers[which].to_bytes(4, "little")
            hits = values.find(b"\xfe" + text + b"\xfe" + binary)
            told = {(hit.which, hit.offset, hit.encoding) for hit in hits}
            expected = {(which, 1, "text"), (which, 2 + len(text), "u32 little-endian")}
            self.assertLessEqual(expected, told)


class FindTests(SynchronousTestCase):
    """A hit says what, where, how long and how written."""

    def test_longest(self) -> None:
        """Of one value only the longest encoding at a place is told."""
        hits = values("287454020").find(b"\xff\xff" + (287454020).to_bytes(8, "little"))
        self.assertEqual(
            [(hit.offset, hit.length, hit.encoding) for hit in hits], [(2, 8, "u64 little-endian")]
        )

    def test_two_users(self) -> None:
        """Hits of several values come by offset, each with its number."""
        hits = values("287454020", "SEEDROOM").find(b"SEEDROOM 287454020")
        self.assertEqual([(hit.which, hit.offset) for hit in hits], [(1, 0), (0, 9)])

    def test_chance(self) -> None:
        """A short hit says how easily chance makes it; a long one hardly."""
        found = values("287454020").find(b"287454020" + (287454020).to_bytes(4, "big"))
        self.assertTrue(found[0].chance < 1e-15 < 1e-9 < found[1].chance < 1e-6)

    def test_pattern(self) -> None:
        """A pattern is over octets, and ends at a bound of hits."""
        search = compile_values([], [Given(USER, r"uid=\d{5,9}")])
        self.assertEqual(
            [(hit.offset, hit.length) for hit in search.find(b"\xff\xfeuid=123456\x00")], [(2, 10)]
        )
        self.assertEqual(len(search.find(b"uid=123456," * 1_000)), 16)

    @given(st.binary(max_size=300))
    @settings(deadline=None, max_examples=100)
    def test_any_octets(self, payload: bytes) -> None:
        """Whatever comes, hits lie within the payload."""
        digest = "sha256:" + hashlib.sha256(b"alice@a.example").hexdigest()
        search = compile_values(
            [Given(USER, "287454020"), Given(USER, digest)], [Given(USER, "[a-f0-9]{8}")]
        )
        for hit in search.find(payload):
            self.assertTrue(0 <= hit.offset < hit.offset + hit.length <= len(payload))


@rows(
    found={
        "text": (b'{"u": "alice@a.example"}', "text"),
        "percent-encoding": (b"GET /?u=alice%40a.example HTTP/1.1", None),
        "base64": (b"\0\0YWxpY2VAYS5leGFtcGxl\0", "base64"),
        "hex": (b"id:616c69636540612e6578616d706c65;", None),
        "UTF-16": (b"\xff" + "alice@a.example".encode("utf-16-le"), "UTF-16"),
        "behind a key": (b"user=alice@a.example", None),
    }
)
class DigestTests(SynchronousTestCase):
    """A list that names nobody finds people all the same."""

    def check_found(self, payload: bytes, how: str | None) -> None:
        """Plain and keyed digests are found."""
        plain = "sha256:" + hashlib.sha256(b"alice@a.example").hexdigest()
        keyed = "hmac-sha256:" + hmac.digest(b"key", b"alice@a.example", "sha256").hex()
        for text in (plain, keyed):
            hits = values(text, key=b"key").find(payload)
            self.assertTrue(hits, text)
            if how is not None:
                self.assertEqual({hit.encoding for hit in hits}, {f"digest: {how}"})

    def test_number(self) -> None:
        """A number by its digest is found in binary near the front of a datagram."""
        search = values("sha256:" + hashlib.sha256(b"287454020").hexdigest())
        hits = search.find(bytes(10) + (287454020).to_bytes(4, "little") + bytes(30))
        self.assertIn(
            (10, 4, "digest: u32 little-endian"), {(h.offset, h.length, h.encoding) for h in hits}
        )

    def test_another(self) -> None:
        """Nobody else is found."""
        search = values("sha256:" + hashlib.sha256(b"alice@a.example").hexdigest())
        self.assertEqual(search.find(b"bob@a.example alice@b.example"), ())


class GivenFinderTests(SynchronousTestCase):
    """Findings are counted over flows, and chance is left out."""

    def test_capture(self) -> None:
        """A user's number is found in a real call, where it is, in each way it was written."""
        finder = GivenFinder(values("287454020"))
        replay(finder, (ALICE, datagrams(captures.live(captures.SPEAKER))), rewrite={})
        found = {one.encoding: one for one in finder.findings()}
        self.assertIn("u32 little-endian", found)
        number = found["u32 little-endian"]
        self.assertEqual((number.certainty, number.kind), (Certainty.SURE, USER))
        self.assertIn((56, 10), {(span.longest, span.offset) for span in number.spans})
        self.assertTrue(number.expected is not None and number.expected < 0.01)
        self.assertTrue(any("text" in encoding or "varint" in encoding for encoding in found))

    def test_encrypted(self) -> None:
        """In the encrypted successor nothing is found."""
        finder = GivenFinder(values("287454020", "SEEDROOM-xVb9Q"))
        replay(finder, (ALICE, datagrams(captures.live(captures.ENCRYPTED))), rewrite={})
        self.assertEqual(finder.findings(), [])

    def test_chance(self) -> None:
        """A hundred short ids in noise hit by chance, and none of it is reported."""
        chance = random.Random(5)
        search = compile_values(
            [Given(USER, f"hex:{chance.randbytes(3).hex()}") for _ in range(100)]
        )
        finder = GivenFinder(search)
        hits = 0
        for number in range(400):
            payload = chance.randbytes(1_200)
            hits += len(search.find(payload))
            finder.seen(
                ALICE, SERVER._replace(port=number % 40 + 1), float(number), payload, True, None
            )
        self.assertTrue(hits > 0)
        self.assertEqual(finder.findings(), [])

    def test_small_number(self) -> None:
        """The number 5 in binary is everywhere where zeros are, and is not reported."""
        finder = GivenFinder(values("5"))
        for number in range(200):
            payload = bytes([number, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0])
            finder.seen(ALICE, SERVER._replace(port=number + 1), float(number), payload, True, None)
        self.assertEqual(finder.findings(), [])

    def test_no_value(self) -> None:
        """No finding says the value."""
        finder = GivenFinder(values("287454020"))
        for number in range(5):
            finder.seen(ALICE, SERVER, float(number), b"uid=287454020", True, None)
        self.assertEqual(len(finder.findings()), 1)
        self.assertNotIn("287454020", repr(finder.findings()))


class ChanceTests(SynchronousTestCase):
    """The odds are those of the traffic."""

    def test_tail(self) -> None:
        """Poisson's tail is right where it is known."""
        self.assertAlmostEqual(tail(0.1, 1), 0.09516, 4)
        self.assertAlmostEqual(tail(0.5, 2), 0.0902, 3)
        self.assertEqual((tail(3.0, 0), tail(0.0, 1), tail(9.0, 2)), (1.0, 0.0, 1.0))

    def test_frequent_octets(self) -> None:
        """Octets that are everywhere are likely; none is less likely than among equals."""
        octets = Octets()
        for _ in range(50):
            octets.seen(bytes(100))
        self.assertTrue(octets.odds(bytes(4)) > 0.5)
        self.assertAlmostEqual(octets.odds(b"\x91"), 1 / 256)
