"""YAML → Policy; facts → Verdict.  Owns: the policy language.
Knows: ruamel.yaml through document, pydantic.  Never: sockets, kernel, payloads."""

from gateway.policy.case import Case
from gateway.policy.closing import Closing, Fate, Listing
from gateway.policy.given import Given
from gateway.policy.lint_sets import used_jurisdictions
from gateway.policy.linting import lint
from gateway.policy.loading import Loaded, check_list, compile_policy, is_list, load, load_whole
from gateway.policy.parts import Part, leaves, spelled
from gateway.policy.policy import Considered, Policy
from gateway.policy.reading import Frames, given_of
from gateway.policy.remarks import Remark
from gateway.policy.rule import Rule
from gateway.policy.schema import SCHEMAS, json_schema
from gateway.policy.sections import FlowSection
from gateway.policy.subject import Subject
from gateway.policy.truth import Truth, word

__all__ = [
    "SCHEMAS",
    "Case",
    "Closing",
    "Considered",
    "Fate",
    "FlowSection",
    "Frames",
    "Given",
    "Listing",
    "Loaded",
    "Part",
    "Policy",
    "Remark",
    "Rule",
    "Subject",
    "Truth",
    "check_list",
    "compile_policy",
    "given_of",
    "is_list",
    "json_schema",
    "leaves",
    "lint",
    "load",
    "load_whole",
    "spelled",
    "used_jurisdictions",
    "word",
]
