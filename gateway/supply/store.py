"""The folder of newer data.  Owns: versions, which is in use, which was before, the lock.
Knows: flock(2), rename(2).  Never: what data are good.

DIRECTORY/versions/NAME/{evidence.xz, manifest.json}   whole, or named .new-… and swept
DIRECTORY/current, previous                            links to versions/NAME; current is in use
DIRECTORY/lock, cache/, refused.json

Putting a version into use: 1. write it beside the others, 2. rename it, 3. `previous` → what is in
use, 4. `current` → the new one, 5. sweep what nothing points to.  Until 4 the old one is in use."""

from __future__ import annotations

import fcntl
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from gateway.config.updates import CURRENT, EVIDENCE
from gateway.errors import DataError
from gateway.supply.durable import point, sync_folder, write_file
from gateway.supply.fetched import read_bounded, sha256

_MANIFEST = "manifest.json"
_PREVIOUS = "previous"
_REFUSED = "refused.json"
_STAGED = ".new-"

Manifest = Mapping[str, object]


class Store:
    """One folder of data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._versions = folder / "versions"

    @property
    def cache(self) -> Path:
        """Where fetched bodies are kept."""
        return self.folder / "cache"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who writes here.

        Raises:  DataError: another update runs, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._versions.mkdir(mode=0o700, exist_ok=True)
            with (self.folder / "lock").open("wb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    what = "another update is running"
                    raise DataError(str(self.folder), what, "one at a time") from None
                yield
        except OSError as error:
            where = str(error.filename or self.folder)
            raise DataError(where, error.strerror or str(error), "a folder to write to") from error

    def manifest(self) -> Manifest | None:
        """Say what is in use; None: the bundled data.

        Raises:  DataError: what is in use is not what its manifest says.
        """
        return self._checked(self.folder / CURRENT)

    def evidence(self) -> Path | None:
        """Give the fused file in use; None: the bundled one."""
        link = self.folder / CURRENT
        return link / EVIDENCE if link.is_symlink() else None

    def _checked(self, version: Path) -> Manifest | None:
        if not version.is_symlink():
            return None
        try:
            manifest = json.loads((version / _MANIFEST).read_bytes())
            found = manifest["sha256"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DataError(str(version), f"its manifest: {error}", "a whole version") from error
        if sha256(read_bounded(version / EVIDENCE)) != found:
            what = f"{EVIDENCE} is not what its manifest says"
            raise DataError(str(version), what, "whole data; `gateway update --back` leaves these")
        return manifest if isinstance(manifest, dict) else {}

    def stage(self, evidence: bytes, manifest: Manifest) -> Path:
        """Step 1: write a version, not in use.

        Args:    manifest: about it; its own SHA-256 is added.
        """
        self._sweep_staged()
        staged = Path(tempfile.mkdtemp(prefix=_STAGED, dir=self._versions))
        write_file(staged / EVIDENCE, evidence)
        said = {**manifest, "sha256": sha256(evidence)}
        write_file(staged / _MANIFEST, json.dumps(said, indent=2, ensure_ascii=False).encode())
        return staged

    def discard(self, staged: Path) -> None:
        """Forget a version that was not put into use."""
        shutil.rmtree(staged, ignore_errors=True)

    def install(self, staged: Path) -> str:
        """Steps 2 to 5: put a staged version into use.

        Returns: its name.
        """
        name = sha256((staged / EVIDENCE).read_bytes())[:16]
        version = self._versions / name
        if self._name_of(CURRENT) == name:
            self.discard(staged)
            return name
        if version.exists():
            shutil.rmtree(version)
        staged.rename(version)
        sync_folder(self._versions)
        self._keep_previous(self._name_of(CURRENT))
        point(self.folder / CURRENT, f"versions/{name}")
        (self.folder / _REFUSED).unlink(missing_ok=True)
        self._sweep()
        return name

    def back(self) -> str:
        """Return to what was in use before; what is in use is refused from now on.

        Returns: the name of what is in use now; "" for the bundled data.
        Raises:  DataError: nothing was before.
        """
        current, previous = self._name_of(CURRENT), self._name_of(_PREVIOUS)
        if current is None:
            raise DataError(str(self.folder), "the bundled data are in use", "an update before")
        if previous == current:
            raise DataError(str(self.folder), "nothing was in use before", "an update before")
        if previous is not None:
            self._checked(self.folder / _PREVIOUS)
        self._refuse()
        if previous is None:
            (self.folder / CURRENT).unlink()
            sync_folder(self.folder)
        else:
            point(self.folder / CURRENT, f"versions/{previous}")
        self._sweep()
        return previous or ""

    def is_refused(self, inputs: object) -> bool:
        """Tell whether a person went back from what these files made."""
        try:
            return bool(json.loads((self.folder / _REFUSED).read_bytes()) == inputs)
        except (OSError, ValueError):
            return False

    def _refuse(self) -> None:
        try:
            manifest = json.loads((self.folder / CURRENT / _MANIFEST).read_bytes())
            inputs = manifest["inputs"]
        except (OSError, ValueError, LookupError, TypeError):
            return  # it is corrupt: the same files may well be good
        write_file(self.folder / _REFUSED, json.dumps(inputs).encode())

    def _keep_previous(self, current: str | None) -> None:
        if current is not None:
            point(self.folder / _PREVIOUS, f"versions/{current}")
        else:
            (self.folder / _PREVIOUS).unlink(missing_ok=True)

    def _name_of(self, link: str) -> str | None:
        path = self.folder / link
        return path.readlink().name if path.is_symlink() else None

    def _sweep(self) -> None:
        kept = {self._name_of(CURRENT), self._name_of(_PREVIOUS)}
        for version in self._versions.iterdir():
            if version.name not in kept:
                shutil.rmtree(version, ignore_errors=True)

    def _sweep_staged(self) -> None:
        for one in self._versions.glob(f"{_STAGED}*"):
            shutil.rmtree(one, ignore_errors=True)
