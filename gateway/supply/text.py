"""What files of text have in common.  Owns: lines, days, countries.  Never: their columns."""

from __future__ import annotations

import re
from datetime import date

from gateway.errors import DataError

_COUNTRY = re.compile(r"[A-Z]{2}")
# ZZ: unknown, DB-IP's and the registries' own word; iptoasn writes None.
_UNKNOWN = frozenset({"", "ZZ", "-", "None", "Unknown"})


def lines_of(data: bytes, where: str) -> list[str]:
    """Give the lines of a file.

    Raises:  DataError: not UTF-8.
    """
    try:
        return data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(where, f"octet {error.start} is not UTF-8", "a file of text") from error


def country(text: str) -> str:
    """Read a country; "" where it says "unknown".

    Raises:  ValueError: neither.
    """
    if text in _UNKNOWN:
        return ""
    if not (text.isascii() and _COUNTRY.fullmatch(text.upper())):
        raise ValueError(f"{text[:20]!r} is no country of two letters")
    return text.upper()


def day_of(text: str) -> str:
    """Read 20261120 as 2026-11-20.

    Raises:  ValueError: no day.
    """
    if not (len(text) == 8 and text.isascii() and text.isdigit()):
        raise ValueError(f"{text[:20]!r} is no day such as 20261120")
    return date(int(text[:4]), int(text[4:6]), int(text[6:])).isoformat()
