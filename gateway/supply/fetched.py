"""Where bytes come from.  Owns: the Source protocol, what it gives; files.
Never: forms; whether the bytes are any good."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gateway.config.updates import Described, FileSource, Form
from gateway.errors import DataError
from gateway.model import Axis
from gateway.regular import open_regular
from gateway.supply.column import Said

MAX_FETCHED_LEN = 128 << 20
"""Octets as they come, packed or not."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file, and what is said of it."""

    data: bytes
    form: Form
    axis: Axis | None
    said: Said
    """`built` may be "": then the data must say."""


class Source(Protocol):
    """A place that newer data come from: one small class a kind."""

    def fetch(self) -> tuple[Fetched, ...]:
        """Get what is there now.

        Raises:  DataError: it cannot be had, or is not what it must be.
        """


class File:
    """A file of this host."""

    def __init__(self, section: FileSource, path: Path) -> None:
        self._section = section
        self._path = path

    def fetch(self) -> tuple[Fetched, ...]:
        """Source API."""
        data = read_bounded(self._path)
        return (fetched(data, self._section, str(self._path), self._section.built_text),)


def read_bounded(path: Path) -> bytes:
    """Read a file that is not too large.

    Raises:  DataError: it is, or is not readable.
    """
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FETCHED_LEN + 1)
    except OSError as error:
        raise DataError(str(path), error.strerror or str(error), "a readable file") from error
    if len(data) > MAX_FETCHED_LEN:
        raise DataError(str(path), "is too large", f"{MAX_FETCHED_LEN >> 20} MiB at most")
    return data


def fetched(data: bytes, section: Described, package: str, built: str) -> Fetched:
    """Say of bytes what the configuration says."""
    said = Said(section.name, built, section.licence, section.credit, package, sha256(data))
    return Fetched(data, section.form, section.axis, said)


def sha256(data: bytes) -> str:
    """Give the SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
