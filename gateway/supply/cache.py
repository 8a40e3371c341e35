"""What was fetched before.  Owns: bodies with what lets their publisher say "unchanged".
Never: whether a body is still good: its publisher says so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from gateway.errors import DataError
from gateway.supply.durable import write_file
from gateway.supply.fetched import read_bounded, sha256


@dataclass(frozen=True, slots=True)
class Kept:
    """One body."""

    data: bytes
    tag: str
    """Its ETag; "" for none."""
    modified: str
    """Its Last-Modified, as it came; "" for none."""


class Cache:
    """A folder of bodies by address (of which only the digest is written down)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, url: str) -> Kept | None:
        """Give what was kept; None, if nothing whole was."""
        about, body = self._paths(url)
        try:
            said = json.loads(about.read_bytes())
            data = read_bounded(body)
            if sha256(data) != said["sha256"]:
                return None
            return Kept(data, str(said["tag"]), str(said["modified"]))
        except (OSError, ValueError, LookupError, TypeError, DataError):
            return None  # fetched anew

    def put(self, url: str, kept: Kept) -> None:
        """Keep a body that its publisher can later call unchanged."""
        if not (kept.tag or kept.modified):
            return
        about, body = self._paths(url)
        said = {"sha256": sha256(kept.data), "tag": kept.tag, "modified": kept.modified}
        self._folder.mkdir(exist_ok=True)
        write_file(body, kept.data)
        write_file(about, json.dumps(said).encode())

    def _paths(self, url: str) -> tuple[Path, Path]:
        name = sha256(url.encode())[:32]
        return self._folder / f"{name}.json", self._folder / f"{name}.body"
