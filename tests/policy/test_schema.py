"""policies/*.json: the JSON Schemas that editors read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from twisted.trial.unittest import SynchronousTestCase

from gateway.document import parse, read
from gateway.policy import SCHEMAS, json_schema
from gateway.policy.sources import LIBRARY
from tests.policy.broken import VALUES
from tests.support.bundled import ROOT
from tests.support.rows import rows

FILES = {"policy": "schema.json", "list": "list.schema.json", "cases": "cases.schema.json"}
POLICIES = ROOT / "policies"
SOUND = [
    *(("policy", POLICIES / name) for name in ("default.yaml", "exit.yaml")),
    ("cases", POLICIES / "default.cases.yaml"),
    *(("list", path) for path in sorted(LIBRARY.glob("*.yaml"))),
]
# Faults that a schema cannot tell: they need the whole file, another file, or arithmetic.
BEYOND = (
    "countries twice",
    "host bits",
    "a prefix too long",
    "a range",
    "a zone",
    "leading noughts",
    "a file of networks that is not there",
    "a review in",
    "a date in words",
    "ports backwards",
    "a jurisdiction that is not there",
    "one of the library",
    "a roll-out",
    "a list",
    "a name that a list",
    "a port that looks octal",
)


def validator(kind: str) -> Draft202012Validator:
    """Give the validator of a kind of file."""
    return Draft202012Validator(json_schema(kind))


@rows(
    current={kind: (kind,) for kind in SCHEMAS},
    sound={path.name: (kind, path) for kind, path in SOUND},
    refused={
        name: (octets,) for name, (octets, _) in VALUES.items() if not name.startswith(BEYOND)
    },
)
class SchemaTests(SynchronousTestCase):
    """An editor that reads a schema says what `gateway check` says, as far as a schema can."""

    def check_current(self, kind: str) -> None:
        """The file is what scripts/build-schema would write."""
        written = json.loads((POLICIES / FILES[kind]).read_text(encoding="utf-8"))
        self.assertEqual(written, json_schema(kind), "run scripts/build-schema")
        Draft202012Validator.check_schema(written)

    def check_sound(self, kind: str, path: Path) -> None:
        """A file that comes with the gateway is valid, and names its schema for editors."""
        self.assertEqual(list(validator(kind).iter_errors(read(path).value)), [])
        first = path.read_text(encoding="utf-8").splitlines()[0]
        reference = first.removeprefix("# yaml-language-server: $schema=")
        where = POLICIES / "jurisdictions" if kind == "list" else POLICIES
        self.assertEqual((where / reference).resolve(), (POLICIES / FILES[kind]).resolve())

    def check_refused(self, octets: bytes) -> None:
        """A value that `gateway check` refuses is invalid."""
        value = parse(octets.decode(), "policy.yaml").value
        self.assertTrue(list(validator("policy").iter_errors(value)))

    def test_described(self) -> None:
        """Every key of a rule, a jurisdiction and a condition says what it is for."""
        definitions: dict[str, Any] = json_schema("policy")["$defs"]
        for name in ("RuleSection", "JurisdictionSection", "When", "Shadow"):
            for key, one in definitions[name]["properties"].items():
                self.assertTrue(one.get("description"), f"{name}.{key}")

    def test_exact(self) -> None:
        """Conditions, actions and countries are enumerations that an editor can offer."""
        text = json.dumps(json_schema("policy"))
        for word in ('"sd-rtn"', '"user-id"', '"signalling"', '"refuse"', '"NO"'):
            self.assertIn(word, text)
        self.assertNotIn('"ChoiceOf', text)
