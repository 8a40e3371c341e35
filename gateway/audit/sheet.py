"""The sheet that pages for print share: its look, and a map of tiles.  Owns: jinja2's environment,
the countries and where each lies on a grid.  Knows: jinja2, ISO 3166-1 (countries.csv).
Never: what a page tells."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from jinja2 import BaseLoader, DictLoader, Environment, StrictUndefined, Template


@dataclass(frozen=True, slots=True)
class Country:
    """One tile of the map."""

    code: str
    name: str
    column: int
    row: int


def template(package: str, name: str, filters: Mapping[str, Callable[..., object]]) -> Template:
    """Give a page of a package, with filters of its own; whatever is put into it is escaped."""
    environment = Environment(
        loader=_loader(package, name),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": "{:,}".format, **filters}
    return environment.get_template(name)


def _loader(package: str, name: str) -> BaseLoader:
    own = {name: files(package).joinpath(name)}
    shared = {one: files("gateway.audit").joinpath(one) for one in ("sheet.html", "map.html")}
    return DictLoader({one: path.read_text("utf-8") for one, path in (shared | own).items()})


@functools.cache
def countries() -> Mapping[str, Country]:
    """Give all countries by their codes."""
    text = files("gateway.audit").joinpath("countries.csv").read_text("utf-8")
    return {
        one["code"]: Country(one["code"], one["name"], int(one["column"]), int(one["row"]))
        for one in csv.DictReader(text.splitlines())
    }
