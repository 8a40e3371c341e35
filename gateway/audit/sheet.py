"""The sheet that pages for print share: its look, and a map of tiles.  Owns: jinja2's environment.
Knows: jinja2.  Never: what a page tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files

from jinja2 import BaseLoader, DictLoader, Environment, StrictUndefined, Template


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
