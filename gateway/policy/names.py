"""Host-name patterns.  Owns: "*.example.org" → a test on names.  Knows: RFC 4343 (case).
Never: resolving a name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.errors import AddressError

_PATTERN = re.compile(
    r"(\*\.)?([a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?"
)


class NameSet:
    """Names and "*." patterns; a pattern means every name below it, not the name itself."""

    __slots__ = ("_exact", "_suffixes", "_text")

    def __init__(self, patterns: Iterable[str]) -> None:
        """Read the patterns.

        Raises:  AddressError: a pattern that is neither "name" nor "*.name".
        """
        self._text = tuple(patterns)
        lowered = [pattern.lower().rstrip(".") for pattern in self._text]
        for pattern, given in zip(lowered, self._text, strict=True):
            if not _PATTERN.fullmatch(pattern):
                raise AddressError(given, 'a name such as "ap.example.cn" or "*.example.cn"')
        self._exact = frozenset(one for one in lowered if not one.startswith("*"))
        self._suffixes = tuple(one[1:] for one in lowered if one.startswith("*"))

    def matching(self, names: Iterable[str]) -> str | None:
        """Give the first of the names that is in the set, or None."""
        for name in names:
            if name in self._exact or name.endswith(self._suffixes):
                return name
        return None

    def is_within(self, other: NameSet) -> bool:
        """Say whether each of its names and patterns stands in another set."""
        return self._exact <= other._exact and set(self._suffixes) <= set(other._suffixes)

    def examples(self) -> tuple[str, ...]:
        """Give a name that each pattern matches."""
        return (*sorted(self._exact), *(f"a{suffix}" for suffix in self._suffixes))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return ", ".join(self._text)
