"""YAML documents with places.  Owns: YAML 1.2 text → plain values and the line of each; a schema's
findings → sentences with file and line.  Knows: ruamel.yaml, pydantic.
Never: what a policy or a configuration means."""

from gateway.document.findings import Section, SectionType, suggestion, validate
from gateway.document.reading import Document, Step, Steps, octets_of, parse, read, read_partly
from gateway.document.texts import readable

__all__ = [
    "Document",
    "Section",
    "SectionType",
    "Step",
    "Steps",
    "octets_of",
    "parse",
    "read",
    "read_partly",
    "readable",
    "suggestion",
    "validate",
]
