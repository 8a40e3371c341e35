"""What an identifier may be exchanged for.  Owns: a value → the set of values of its shape, each of
them a number.  Knows: protobuf's varints, decimal numbers, printable ASCII.
Never: keys; where the value stands."""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass

from gateway.model import Form
from gateway.scrub.ff1 import MIN_DOMAIN

_U32 = 1 << 32
_U64 = 1 << 64
# As int32 has it in protobuf: a negative number fills ten octets.
_NEGATIVE = _U64 - (1 << 31)

# Ordered: a text belongs to the first one that holds all of it.  The last is what the vendor lets
# names be made of, and more: all of printable ASCII that needs no escape in JSON.
_ALPHABETS = (
    string.digits,
    string.digits + "abcdef",
    string.digits + "ABCDEF",
    string.digits + string.ascii_letters,
    "".join(chr(octet) for octet in range(32, 127) if chr(octet) not in '"\\'),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """All values of one shape: numerals of a radix that pass a test, in their order as numbers."""

    radix: int
    length: int
    """Numerals."""
    name: str
    """Tells it from all others."""
    number_of: Callable[[bytes], int]
    octets_of: Callable[[int], bytes]
    holds: Callable[[int], bool]
    """Whether a number is a value of this shape; most are."""


def shape_of(octets: bytes, form: Form) -> Shape | None:
    """Give the shape of a value; None: it is malformed, or there are too few values like it.

    Every value of a shape has that same shape, so that a pseudonym tells what it stands for.
    """
    match form:
        case Form.U32:
            is_assigned = len(octets) == 4 and any(octets)
            return _range(1, _U32, "u32", _little, _u32) if is_assigned else None
        case Form.VARINT:
            return _of_varint(octets)
        case Form.DIGITS:
            return _of_digits(octets)
        case Form.TEXT:
            return _of_text(octets)


def _range(
    first: int,
    end: int,
    name: str,
    number_of: Callable[[bytes], int],
    octets_of: Callable[[int], bytes],
) -> Shape | None:
    """Give the shape of the numbers from `first` on, before `end`."""
    if end - first < MIN_DOMAIN:
        return None
    return Shape(
        2,
        (end - first - 1).bit_length(),
        f"{name} {first} {end}",
        lambda octets: number_of(octets) - first,
        lambda number: octets_of(number + first),
        lambda number: number < end - first,
    )


def _little(octets: bytes) -> int:
    return int.from_bytes(octets, "little")


def _u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _of_varint(octets: bytes) -> Shape | None:
    number = varint(octets)
    if not 0 < number < _U64 or to_varint(number) != octets:
        return None  # 0 is nobody; and what is longer than it must be could not be written again
    first, end = 1 << 7 * (len(octets) - 1), min(1 << 7 * len(octets), _U64)
    if first <= number < _U32 < end:
        end = _U32
    elif first < _U32 <= number:
        first = _U32
    elif number >= _NEGATIVE:
        first = _NEGATIVE
    elif end > _NEGATIVE:
        end = _NEGATIVE
    return _range(first, end, "varint", varint, to_varint)


def varint(octets: bytes) -> int:
    """Read a varint, unchecked."""
    return sum((octet & 127) << 7 * at for at, octet in enumerate(octets))


def to_varint(number: int) -> bytes:
    """Write a varint, as short as can be."""
    octets = bytearray()
    while number > 127:
        octets.append(number & 127 | 128)
        number >>= 7
    return bytes((*octets, number))


def _of_digits(octets: bytes) -> Shape | None:
    if not octets.isdigit() or octets.startswith(b"0"):
        return None  # negative numbers too: there is no telling which type they are of
    first, end = 10 ** (len(octets) - 1), 10 ** len(octets)
    number = int(octets)
    if number < _U32 < end:
        end = _U32
    elif first < _U32 <= number:
        first = _U32
    return _range(first, end, "digits", int, lambda number: b"%d" % number)


def _of_text(octets: bytes) -> Shape | None:
    which = _alphabet(octets)
    if which is None:
        return None
    letters, length = _ALPHABETS[which].encode(), len(octets)
    radix = len(letters)

    def number_of(octets: bytes) -> int:
        number = 0
        for octet in octets:
            number = number * radix + letters.index(octet)
        return number

    def octets_of(number: int) -> bytes:
        text = bytearray()
        for _ in range(length):
            number, numeral = divmod(number, radix)
            text.append(letters[numeral])
        return bytes(reversed(text))

    def holds(number: int) -> bool:
        return _alphabet(octets_of(number)) == which

    return Shape(radix, length, f"text {which} {length}", number_of, octets_of, holds)


def _alphabet(octets: bytes) -> int | None:
    """Find the first alphabet that holds all, and has enough strings of this length."""
    for which, letters in enumerate(_ALPHABETS):
        if len(letters) ** len(octets) >= MIN_DOMAIN and not octets.strip(letters.encode()):
            return which
    return None
