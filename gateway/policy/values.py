"""The smallest values of a policy file.  Owns: countries, networks, ports, names, as they are
written and as they are read, each with its JSON Schema.
Knows: pydantic, ISO 3166-1.  Never: keys; what a policy decides."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)

from gateway.document import Section, readable, suggestion
from gateway.model import IdentifierKind
from gateway.policy.countries import COMMON_ERRORS, COUNTRIES
from gateway.policy.names import NameSet
from gateway.policy.networks import address_range

ANY = "any"
_KINDS = (ANY, *(str(kind) for kind in IdentifierKind))

_PORTS = re.compile(r"([0-9]{1,5})(?: ?- ?([0-9]{1,5}))?")


def _country(text: str) -> str:
    if text in COUNTRIES:
        return text
    upper = text.upper()
    meant = upper if upper in COUNTRIES else COMMON_ERRORS.get(upper)
    hint = f'; did you mean "{meant}"?' if meant else ""
    raise ValueError(f'"{text}" is no ISO 3166-1 alpha-2 country code{hint}')


def _identifier_kind(text: str) -> str:
    if text not in _KINDS:
        raise ValueError(f'"{text}" is no kind of identifier{suggestion(text, _KINDS)}')
    return text


def _ports(given: object) -> object:
    """Read 8000 or "4000-4030" as (first, last)."""
    if isinstance(given, tuple):
        return given
    found = _PORTS.fullmatch(str(given))
    if found and not isinstance(given, bool):
        first, last = int(found[1]), int(found[2] or found[1])
        if first <= last <= 65535:
            return first, last
        if last < first <= 65535:
            raise ValueError(f'"{given}" runs backwards; did you mean "{last}-{first}"?')
    raise ValueError(f'"{given}" is no port or range of ports such as 8000 or "4000-4030"')


Country = Annotated[
    str,
    AfterValidator(_country),
    WithJsonSchema({"enum": sorted(COUNTRIES), "description": "ISO 3166-1 alpha-2."}),
]
Network = Annotated[str, readable(address_range)]
NamePattern = Annotated[str, readable(lambda text: NameSet([text]))]
PlaintextKind = Annotated[
    str, AfterValidator(_identifier_kind), WithJsonSchema({"enum": list(_KINDS)})
]
PortRange = Annotated[
    tuple[int, int],
    BeforeValidator(_ports),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 65535},
                {"type": "string", "pattern": f"^{_PORTS.pattern}$"},
            ]
        }
    ),
]
Asn = Annotated[int, Field(ge=0, le=4294967295, strict=True)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=64)]


class NetworkFile(Section):
    """A file of networks: one a line, behind "#" is comment."""

    file: str
    """Its path; a relative one is beside the file that names it."""


def _form_of(value: object) -> str:
    return "<file>" if isinstance(value, dict | NetworkFile) else "<text>"


def _as_entries(value: object) -> object:
    return [value] if isinstance(value, dict) else value


_FILE_SCHEMA = {
    "type": "object",
    "description": "A file of networks, one a line; its path from this file.",
    "properties": {"file": {"type": "string"}},
    "required": ["file"],
    "additionalProperties": False,
}

Networks = Annotated[
    tuple[
        Annotated[
            Annotated[Network, Tag("<text>")] | Annotated[NetworkFile, Tag("<file>")],
            Discriminator(_form_of),
        ],
        ...,
    ],
    BeforeValidator(_as_entries),
    WithJsonSchema(
        {
            "anyOf": [
                _FILE_SCHEMA,
                {"type": "array", "items": {"anyOf": [{"type": "string"}, _FILE_SCHEMA]}},
            ]
        }
    ),
]
"""Networks, addresses and ranges, and files of them; a file alone needs no list around it."""
