"""Texts that have to be something.  Owns: what the project can read → a check of a schema's.
Knows: pydantic.  Never: what is read."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import AfterValidator

from gateway.errors import AddressError


def readable(read: Callable[[str], object]) -> AfterValidator:
    """Have a text stay as it is, and be a finding where it cannot be read.

    Args:    read: raises AddressError on what it does not take.
    """

    def check(text: str) -> str:
        try:
            read(text)
        except AddressError as error:
            raise ValueError(str(error)) from error
        return text

    return AfterValidator(check)
