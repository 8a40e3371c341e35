"""Identifiers by value.  Owns: the operator's values and patterns, compiled; where they are in a
payload.  Knows: Aho-Corasick (ahocorasick_rs), RE2 (re2: no pattern takes more than linear time).
Never: flows; what chance would show; files (their text is handed in)."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

import re2
from ahocorasick_rs import BytesAhoCorasick

from gateway.errors import InputError, Problem
from gateway.leaks.canaries import Digest, Digests
from gateway.leaks.encodings import encodings, of_octets
from gateway.model import IdentifierKind

_MAX_VALUES = 100_000
# An automaton is built in one go, in which no other thread runs: some 20 ms for so many strings.
_MAX_TOGETHER = 16_384
# Ways to write a value that have a name of their own: there are some thirty.
_MAX_ENCODINGS = 256
_MAX_PATTERNS = 256
_MAX_PATTERN_LEN = 1_000
_MAX_PATTERN_MEMORY = 1 << 20
_MAX_PATTERN_HITS = 16
_MIN_TEXT_LEN = 3
_DIGEST_LEN = 32
# Text, hex, base64, percent-encoding, UTF-16, numbers of 32 and 64 bits in two orders.
_WAYS_OF_A_DIGEST = 9


@dataclass(frozen=True, slots=True)
class Given:
    """One value, digest or pattern as the operator wrote it."""

    kind: IdentifierKind
    text: str
    """"287454020", "hex:11223344", "sha256:9f86…", "hmac-sha256:9f86…"; or a regular expression."""
    file: str = ""
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Hit:
    """A given value in a payload."""

    kind: IdentifierKind
    offset: int
    """Octets from the start of the payload."""
    length: int
    """Octets."""
    encoding: str
    """How it is written there: "u32 little-endian"; "pattern"; "digest: text"."""
    which: int
    """Its number among the values, or the patterns, in the order given."""
    chance: float
    """How likely a payload of this length, of random octets, holds any of the given values in an
    encoding no longer than this; 0.0 for patterns and digests."""


class _Pattern(Protocol):
    """What is used of re2's compiled patterns, which have no types."""

    def search(self, text: bytes) -> re.Match[bytes] | None:
        """Find the first place."""

    def finditer(self, text: bytes) -> Iterator[re.Match[bytes]]:
        """Find all places."""


class _Needles:
    """The strings that are searched for.

    They are in buckets by their first two octets: each automaton then takes few of these, most
    octets of a payload lead it nowhere, and what is built fits into caches.  A million tuples would
    hold other threads up for seconds, each time that garbage is collected: so there are none.
    """

    def __init__(self) -> None:
        self.lengths: Counter[int] = Counter()
        """How many strings there are of each length."""
        self.encodings: list[str] = []
        self._numbers: dict[str, int] = {}
        self._buckets: dict[bytes, tuple[list[bytes], array[int]]] = {}

    def add(self, which: int, encoded: dict[bytes, str]) -> None:
        """Take the ways to write a value."""
        for octets, name in encoded.items():
            number = self._numbers.setdefault(name, len(self._numbers))
            if number == len(self.encodings):
                self.encodings.append(name)
            bucket = self._buckets.setdefault(octets[:2], ([], array("Q")))
            bucket[0].append(octets)
            bucket[1].append(which * _MAX_ENCODINGS + number)
            self.lengths[len(octets)] += 1

    def compiled(self) -> list[tuple[array[int], BytesAhoCorasick]]:
        """Make automata, each with what its strings stand for."""
        automata, strings, codes = [], list[bytes](), array("Q")
        for _, (more, more_codes) in sorted(self._buckets.items()):
            strings += more
            codes += more_codes
            while len(strings) >= _MAX_TOGETHER:
                automata.append((codes[:_MAX_TOGETHER], BytesAhoCorasick(strings[:_MAX_TOGETHER])))
                del strings[:_MAX_TOGETHER], codes[:_MAX_TOGETHER]
        if strings:
            automata.append((codes, BytesAhoCorasick(strings)))
        return automata


def read_values(kind: IdentifierKind, text: str, file: str) -> list[Given]:
    """Read a file of values, one a line; empty lines and those that begin with # are none."""
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [Given(kind, line, file, number) for number, line in lines if line and line[0] != "#"]


def compile_values(
    values: Iterable[Given],
    patterns: Iterable[Given] = (),
    *,
    key: bytes = b"",
    before: Values | None = None,
) -> Values:
    """Make the search for values and patterns.

    Args:    patterns: regular expressions of RE2's syntax, over octets (RE2 has no backreferences
             and no look-around, so that none takes more than linear time);
             key: of the digests "hmac-sha256:…";
             before: given back if the same was compiled before.
    Raises:  InputError: every value and pattern that cannot be searched for, with its place.
    """
    problems: list[Problem] = []
    values, patterns = list(values), list(patterns)
    revision = _revision(values, patterns, key)
    if before is not None and before.revision == revision:
        return before
    needles, digests = _needles(values, key, problems)
    compiled = _patterns(patterns, problems)
    if problems:
        raise InputError(problems)
    kinds = [given.kind for given in values]
    return Values(kinds, needles, Digests(digests, key), compiled, revision)


class Values:
    """Given values and patterns, ready to be searched for.  Never changes."""

    def __init__(
        self,
        kinds: list[IdentifierKind],
        needles: _Needles,
        digests: Digests,
        patterns: list[tuple[IdentifierKind, _Pattern]],
        revision: bytes = b"",
    ) -> None:
        self._kinds = kinds
        self._digests = digests
        self._patterns = patterns
        self.revision = revision
        """Stands for what was compiled."""
        self._encodings = needles.encodings
        self._automata = needles.compiled()
        self._no_longer = _no_longer(needles.lengths)
        self._count = needles.lengths.total()

    def __len__(self) -> int:
        """Count the strings searched for: each encoding of each value."""
        return self._count + _WAYS_OF_A_DIGEST * len(self._digests)

    def find(self, payload: bytes, *, digests: bool = True) -> tuple[Hit, ...]:
        """Give every place of a given value or pattern, by offset.

        An encoding that lies within a longer one of the same value is left out.
        Args:    digests: look for values that are known by their digest too, which takes long.
        """
        hits = self._of_needles(payload)
        for number, (kind, pattern) in enumerate(self._patterns):
            hits += _of_pattern(payload, number, kind, pattern)
        if digests and self._digests:
            for at, length, how, digest in self._digests.find(payload):
                hits.append(Hit(digest.kind, at, length, f"digest: {how}", digest.which, 0.0))
        return tuple(sorted(hits, key=lambda hit: (hit.offset, -hit.length))) if hits else ()

    def octets(self, payload: bytes, hit: Hit) -> bytes:
        """Give the octets of a hit."""
        return payload[hit.offset : hit.offset + hit.length]

    def _of_needles(self, payload: bytes) -> list[Hit]:
        found = [
            (start, end, codes[number])
            for codes, automaton in self._automata
            for number, start, end in automaton.find_matches_as_indexes(payload, overlapping=True)
        ]
        if not found:
            return []
        found.sort(key=lambda one: (one[0], -one[1]))
        hits, ends = [], dict[int, int]()
        for start, end, code in found:
            which, number = divmod(code, _MAX_ENCODINGS)
            if end <= ends.get(which, -1):
                continue
            ends[which] = end
            length = end - start
            chance = min(1.0, len(payload) * self._no_longer[length] * 256.0**-length)
            encoding = self._encodings[number]
            hits.append(Hit(self._kinds[which], start, length, encoding, which, chance))
        return hits


def _revision(values: list[Given], patterns: list[Given], key: bytes) -> bytes:
    said = hashlib.sha256(repr((len(values), key)).encode())
    for one in (*values, *patterns):
        said.update(repr((str(one.kind), one.text)).encode())
    return said.digest()


def _needles(
    values: list[Given], key: bytes, problems: list[Problem]
) -> tuple[_Needles, dict[bytes, Digest]]:
    needles = _Needles()
    digests: dict[bytes, Digest] = {}
    if len(values) > _MAX_VALUES:
        problems.append(_problem(values[-1], f"{len(values)} values: at most {_MAX_VALUES}"))
        return needles, digests
    for which, given in enumerate(values):
        form, colon, rest = given.text.partition(":")
        if colon and form in ("sha256", "hmac-sha256"):
            digest = _octets(given, rest, problems, _DIGEST_LEN)
            if form == "hmac-sha256" and not key:
                problems.append(_problem(given, "a keyed digest, and no key was given"))
            digests[digest] = Digest(given.kind, which, form == "hmac-sha256")
            continue
        if colon and form == "hex":
            found = of_octets(_octets(given, rest, problems))
        else:
            found = _encoded(given, problems)
        needles.add(which, found)
    return needles, digests


def _encoded(given: Given, problems: list[Problem]) -> dict[bytes, str]:
    is_number = given.text.lstrip("-").isdecimal() and given.text.isascii()
    if len(given.text.encode(errors="replace")) < _MIN_TEXT_LEN and not is_number:
        problems.append(_problem(given, "too short: three octets, or a number, are the least"))
        return {}
    try:
        return encodings(given.text)
    except UnicodeEncodeError:
        problems.append(_problem(given, "no text: it has lone surrogates"))
        return {}


def _octets(given: Given, text: str, problems: list[Problem], length: int = 0) -> bytes:
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if (length and len(octets) != length) or len(octets) < _MIN_TEXT_LEN:
        many = str(length) if length else f"at least {_MIN_TEXT_LEN}"
        problems.append(_problem(given, f"not hexadecimal digits of {many} octets"))
    return octets


def _patterns(
    patterns: list[Given], problems: list[Problem]
) -> list[tuple[IdentifierKind, _Pattern]]:
    compiled = []
    if len(patterns) > _MAX_PATTERNS:
        problems.append(_problem(patterns[-1], f"more than {_MAX_PATTERNS} patterns"))
        return []
    options = re2.Options()
    options.max_mem = _MAX_PATTERN_MEMORY
    options.log_errors = False
    for given in patterns:
        try:
            pattern = re2.compile(given.text[: _MAX_PATTERN_LEN + 1].encode("latin-1"), options)
        except (re2.error, UnicodeEncodeError) as error:
            problems.append(_problem(given, f"not a pattern of RE2: {_reason(error)}"))
            continue
        if len(given.text) > _MAX_PATTERN_LEN:
            problems.append(_problem(given, f"longer than {_MAX_PATTERN_LEN} characters"))
        elif pattern.search(b"") is not None:
            problems.append(_problem(given, "fits an empty payload, so it would fit everywhere"))
        compiled.append((given.kind, pattern))
    return compiled


def _reason(error: Exception) -> str:
    word = error.args[0] if error.args else error
    return word.decode(errors="replace") if isinstance(word, bytes) else str(error)


def _of_pattern(payload: bytes, number: int, kind: IdentifierKind, pattern: _Pattern) -> list[Hit]:
    hits = []
    for match in pattern.finditer(payload):
        start, end = match.span()
        if end > start:
            hits.append(Hit(kind, start, end - start, "pattern", number, 0.0))
        if len(hits) >= _MAX_PATTERN_HITS:
            break
    return hits


def _no_longer(lengths: Counter[int]) -> dict[int, int]:
    """Give how many strings are no longer than each length that there is."""
    ascending = sorted(lengths)
    return dict(zip(ascending, accumulate(lengths[one] for one in ascending), strict=True))


def _problem(given: Given, sentence: str) -> Problem:
    """Say what is wrong, and not the value: messages go where the values must not."""
    return Problem(given.file or f"{given.kind} values", given.line, given.column, sentence)
