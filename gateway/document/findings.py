"""A document held against a schema.  Owns: the base of every section; pydantic's findings →
sentences with their places.  Knows: pydantic.  Never: YAML; what a section is for."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from gateway.document.reading import Document, Step, Steps
from gateway.errors import InputError, Problem


class Section(BaseModel):
    """Base of every part of a document: an unknown key is refused, since it may be a typing error
    in something that was meant to block."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True
    )


SectionType = TypeVar("SectionType", bound=BaseModel)

# Said of what is not there; where a part of the document could not be read, it may be there.
_ABSENCES = frozenset({"missing", "too_short"})


def validate(document: Document, section: type[SectionType]) -> SectionType:
    """Read a document as a section.

    Raises:  InputError: every fault at once, each at its line; of a partial document none that may
             come from what is absent.
    """
    if not isinstance(document.value, dict):
        # Of a document that could not be read it is known already.
        says = [] if document.is_partial else [document.problem((), _no_mapping(document))]
        raise InputError(says)
    problems = set(_empty(document, document.value, ()))
    keys = frozenset(step for place in document.places for step in place if isinstance(step, str))
    try:
        value = section.model_validate(document.value)
    except ValidationError as error:
        problems |= {
            _finding(document, section, detail, keys)
            for detail in _telling(error.errors())
            if not (detail["type"] in _ABSENCES and _may_be_lost(document, detail))
        }
        raise InputError(problems) from error
    if problems:
        raise InputError(problems)
    return value


def _no_mapping(document: Document) -> str:
    what = "is empty" if document.value is None else "is no mapping"
    return f"{what}; expected a mapping of keys to values"


def _may_be_lost(document: Document, detail: ErrorDetails) -> bool:
    """Say whether what is missing may stand where the document could not be read."""
    if not document.is_partial:
        return False
    steps: Steps = ()
    for step in detail["loc"]:
        if (*steps, step) in document.places:
            steps = (*steps, step)
    return document.has_gap(steps)


def _telling(details: Sequence[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Leave out "too few items" where an item is only missing because it is itself at fault."""
    places = [detail["loc"] for detail in details]
    for detail in details:
        steps = detail["loc"]
        inner = any(place[: len(steps)] == steps and place != steps for place in places)
        if detail["input"] is None:
            continue  # of a key without a value it is said that it has none
        if detail["type"] != "too_short" or not inner:
            yield detail


def _empty(document: Document, value: object, steps: Steps) -> Iterator[Problem]:
    """Find keys without a value: `to:` and nothing behind it could be read as "anywhere"."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if inner is None and not document.has_gap((*steps, key)):
                yield document.problem((*steps, key), f'"{key}" has no value')
            yield from _empty(document, inner, (*steps, key))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            if inner is None and not document.has_gap((*steps, at)):
                yield document.problem((*steps, at), "an entry of the list has no value")
            yield from _empty(document, inner, (*steps, at))


def _finding(
    document: Document, section: type[BaseModel], detail: ErrorDetails, keys: frozenset[Step]
) -> Problem:
    """Say one of pydantic's findings in a sentence with its place."""
    steps = detail["loc"]
    key = next((str(step) for step in reversed(steps) if step in keys), "")
    given = detail["input"]
    match detail["type"]:
        case "extra_forbidden":
            sentence = f'unknown key "{key}"{suggestion(key, _known_keys(section, steps[:-1]))}'
        case "missing":
            sentence = f'key "{steps[-1]}" is missing'
        case "string_type" if isinstance(given, int | float):
            sentence = f'"{key}" must be text; write it in quotes'
        case "enum" | "literal_error":
            expected = str(detail.get("ctx", {}).get("expected", ""))
            choices = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
            sentence = f'"{given}" is not known here{suggestion(str(given), choices)}'
        case "tuple_type" | "list_type":
            example = f", such as [{given}]" if isinstance(given, str | int) else ""
            sentence = f'"{key}" must be a list{example}'
        case "model_type" | "dict_type" | "model_attributes_type":
            sentence = f'"{key}" must be a mapping of keys to values'
        case "too_short":
            sentence = f'"{key}" is empty'
        case "string_pattern_mismatch":
            sentence = f'"{given}" may have letters, digits, "_", "." and "-" only'
        case "int_type" | "int_parsing" | "int_from_float":
            sentence = f'"{key}": "{given}" is no whole number{_number_in(given)}'
        case kind if kind.startswith("date"):
            sentence = f'"{given}" is no date such as 2026-11-23'
        case "value_error":
            sentence = str(detail.get("ctx", {}).get("error", detail["msg"]))
        case _:
            message = detail["msg"]
            sentence = f'"{key}": {message[:1].lower()}{message[1:]}' if key else message
    return document.problem(steps, sentence)


def _number_in(given: object) -> str:
    """Offer the number of "AS4134" or "4134"."""
    digits = str(given).upper().removeprefix("AS").strip()
    return f"; did you mean {digits}?" if digits.isascii() and digits.isdigit() else ""


def suggestion(word: str, choices: Sequence[str]) -> str:
    """Say which of the known words may have been meant: "; did you mean …" or "; known are …"."""
    near = difflib.get_close_matches(word.lower(), [choice.lower() for choice in choices], n=1)
    if near:
        meant = next(choice for choice in choices if choice.lower() == near[0])
        return f'; did you mean "{meant}"?'
    if len(choices) <= 16:
        return f"; expected one of {', '.join(dict.fromkeys(choices))}" if choices else ""
    return ""


def _known_keys(section: type[BaseModel], steps: Sequence[Step]) -> list[str]:
    """Give the keys that the section at the end of the steps knows."""
    sections = [section]
    for step in steps:
        inner = [
            found
            for outer in sections
            for name, field in outer.model_fields.items()
            if step in (name, field.alias)
            for found in _sections_in(field.annotation)
        ]
        sections = inner or sections
    return [field.alias or name for one in sections for name, field in one.model_fields.items()]


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, list, tuple, dict) or get_args(
        annotation
    ):
        for argument in get_args(annotation):
            yield from _sections_in(argument)
