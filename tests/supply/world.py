"""A small world for the tests of supply.  Owns: data in use, a policy, a configuration, files.
Never: the bundled data."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from gateway import config
from gateway.config import Config
from gateway.config.updates import Form
from gateway.geo.bundle import Bundle, encode
from gateway.model import Axis
from gateway.supply import checks
from gateway.supply import update as module
from gateway.supply.checks import Finding
from gateway.supply.column import Said
from gateway.supply.fetched import Fetched
from gateway.supply.update import Means, Outcome, store_of, update
from tests.geo.worlds import bundle

TODAY = datetime.date(2026, 11, 23)
A = 0x0B000000
"""11.0.0.0: the United States' /8; 12.0.0.0 and on is China's."""
POLICY = """
policy: promise
jurisdictions:
  china: {location: [CN], registration: [CN], operator: [CN]}
rules:
- {id: rest, when: {to: {not: china}}, action: allow}
"""
IN_USE = "2026-11-01"


def in_use(built: str = IN_USE) -> Bundle:
    """Make the data in use."""
    names = ("dbip-lite", "nro", "iptoasn", "operators")
    rows = (
        (0, ("", "", 0)),
        (A, ("US", "US", 64496)),
        (A + (1 << 24), ("CN", "CN", 64497)),
        (A + (2 << 24), ("", "", 0)),
    )
    return bundle(rows, built=dict.fromkeys(names, built))


def csv(*rows: tuple[str, str, str]) -> str:
    """Write lines FIRST,LAST,VALUE."""
    return "".join(",".join(row) + "\n" for row in rows)


SAME = csv(("11.0.0.0", "11.255.255.255", "US"), ("12.0.0.0", "12.255.255.255", "CN"))
"""Locations as they are in use."""


def delegated(registry: str = "apnic", code: str = "CN", first: str = "12.0.0.0") -> str:
    """Write a registry's file of one record of each kind."""
    lines = (
        f"2.3|{registry}|20261120|3|19830613|20261119|+1000",
        f"{registry}|*|asn|*|1|summary",
        f"{registry}|*|ipv4|*|1|summary",
        f"{registry}|*|ipv6|*|1|summary",
        f"{registry}|{code}|asn|64497|2|20110414|allocated|A1",
        f"{registry}|{code}|ipv4|{first}|16777216|20110414|allocated|A1",
        f"{registry}|{code}|ipv6|2001:db8::|32|20110414|allocated|A1",
    )
    return "\n".join(lines) + "\n"


def fetched(data: bytes, form: Form, axis: Axis | None = None, built: str = "") -> Fetched:
    """Give bytes as if they had been fetched."""
    return Fetched(data, form, axis, Said("", built, "", "", "a file", "0" * 64))


class World:
    """A folder with a configuration whose update brings locations from a csv."""

    def __init__(self, folder: Path, patch: Callable[[object, str, object], object]) -> None:
        self.folder = folder
        (folder / "policy.yaml").write_text(POLICY)
        self.bring(SAME)
        small = encode(in_use())
        patch(module, "_bundled_file", lambda: small)
        patch(checks, "built_in", lambda: ())
        self.config = self.configured()
        store = store_of(self.config)
        with store.locked():
            store.install(store.stage(small, {"inputs": []}))
        self.store = store
        self.asked: list[Finding] = []

    def bring(self, text: str) -> None:
        """Let the source have other locations."""
        (self.folder / "location.csv").write_text(text)

    def configured(self, built: str = "2026-11-20", more: str = "", sources: str = "") -> Config:
        """Write a configuration."""
        mine = f"{{kind: file, path: location.csv, form: csv, axis: location, built: {built}}}"
        (self.folder / "gateway.yaml").write_text(
            "policy: policy.yaml\n"
            'listeners: [{kind: socks5, address: "127.0.0.1:1080"}]\n'
            "geo:\n  sources: [updated]\n  updates:\n    directory: data\n"
            f"    sources: [{sources or mine}]\n{more}"
        )
        self.config = config.load(self.folder / "gateway.yaml")
        return self.config

    def update(self, *, yes: bool = False, check_only: bool = False) -> Outcome:
        """Update."""

        def agree(found: Sequence[Finding]) -> bool:
            self.asked += found
            return yes

        means = Means(today=TODAY, clock=lambda: 0.0, tell=lambda _: None, agree=agree)
        return update(self.config, means, check_only=check_only)

    def state(self) -> Mapping[str, object]:
        """Say what is in use."""
        return self.store.manifest() or {}
