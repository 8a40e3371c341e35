"""Keys beside the log.  Owns: making and reading the pseudonym key and the signing key.
Knows: file modes.  Never: what they are used for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from gateway.errors import DataError
from gateway.evidence.notes import SEED_LEN, Signer
from gateway.evidence.pseudonyms import KEY_LEN

PUBLIC_NAME = "log.pub"
"""The file with the public key: what an auditor is given, before there is anything to check."""


def load_key(directory: Path, random: Callable[[int], bytes]) -> bytes:
    """Read the pseudonym key of a directory, or make one that only its owner can read.

    Raises:  DataError: the file cannot be read or made, or has another length.
    """
    return load_secret(directory / "pseudonym.key", KEY_LEN, random)


def load_signer(directory: Path, random: Callable[[int], bytes]) -> Signer:
    """Read the signing key of a directory, or make one; write the public key beside it.

    Raises:  DataError: a file cannot be read or made, or has another length.
    """
    signer = Signer(load_secret(directory / "log.key", SEED_LEN, random))
    path, text = directory / PUBLIC_NAME, f"{signer.public}\n"
    try:
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    except OSError as error:
        raise DataError(str(path), str(error.strerror), "a file for the public key") from error
    return signer


def _make(path: Path, key: bytes) -> None:
    """Make a file that is there whole or not at all: half a key, on a full disk, would be one that
    no later start can use, nor may replace."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first: its key counts
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def load_secret(path: Path, length: int, random: Callable[[int], bytes]) -> bytes:
    """Read a key of so many octets, or make one that only its owner can read.

    Raises:  DataError: the file cannot be read or made, or has another length.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path, random(length))
        key = path.read_bytes()
    except OSError as error:
        raise DataError(str(path), str(error.strerror), f"a key file of {length} octets") from error
    if len(key) != length:
        raise DataError(str(path), f"has {len(key)} octets", f"{length}")
    return key
