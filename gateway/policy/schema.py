"""JSON Schema.  Owns: the language's sections → what editors check and complete by.
Knows: pydantic, JSON Schema 2020-12.  Never: faults that only the whole file can tell."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from gateway.document import Section
from gateway.policy.countries import COUNTRIES
from gateway.policy.sections import CasesSection, PolicySection
from gateway.policy.sets import ListSection

SCHEMAS: Mapping[str, type[Section]] = MappingProxyType(
    {"policy": PolicySection, "list": ListSection, "cases": CasesSection}
)
"""The kinds of file, and what each has to be."""


# Keys whose values are named by the document, not by JSON Schema.
_NAMED = ("properties", "$defs")


def json_schema(kind: str) -> dict[str, Any]:
    """Give the JSON Schema of a kind of file."""
    raw = SCHEMAS[kind].model_json_schema(by_alias=True, mode="validation")
    schema = _plain(raw, raw.get("$defs", {}))
    definitions = schema.pop("$defs", {})
    kept = {name: one for name, one in definitions.items() if not _is_choice(name)}
    kept["Country"] = {"description": "ISO 3166-1 alpha-2.", "enum": sorted(COUNTRIES)}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": kept}


def _plain(value: Any, definitions: Mapping[str, Any]) -> Any:
    """Leave out what is said of Python: titles, null (a key without a value is refused), names of
    generic classes."""
    if isinstance(value, str):
        return " ".join(value.split("\n"))
    if isinstance(value, list):
        return [_plain(one, definitions) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("enum") == sorted(COUNTRIES):
        return {"$ref": "#/$defs/Country"}
    said: dict[str, Any] = {
        key: _properties(one, definitions) if key in _NAMED else _plain(one, definitions)
        for key, one in value.items()
        if key not in ("title", "default", "discriminator")
    }
    choices = said.get("anyOf")
    if choices and {"type": "null"} in choices:
        choices.remove({"type": "null"})
        if len(choices) == 1:
            said = {**said.pop("anyOf")[0], **said}
    name = str(said.get("$ref", "")).rpartition("/")[2]
    if _is_choice(name):
        del said["$ref"]
        said = {**_plain(definitions[name], definitions), **said}
    return said


def _properties(value: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(one, definitions) for name, one in value.items()}


def _is_choice(name: str) -> bool:
    return name.startswith("ChoiceOf")
