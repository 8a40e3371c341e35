"""YAML → Policy; facts → Verdict.  Owns: the policy language.
Knows: ruamel.yaml through document, pydantic.  Never: sockets, kernel, payloads."""

from gateway.policy.case import Case
from gateway.policy.closing import Closing, Fate, Listing
from gateway.policy.lint_sets import used_jurisdictions
from gateway.policy.linting import lint
from gateway.policy.loading import Loaded, check_list, compile_policy, is_list, load, load_whole
from gateway.policy.policy import Considered, Policy
from gateway.policy.remarks import Remark
from gateway.policy.schema import SCHEMAS, json_schema
from gateway.policy.truth import word

__all__ = [
    "SCHEMAS",
    "Case",
    "Closing",
    "Considered",
    "Fate",
    "Listing",
    "Loaded",
    "Policy",
    "Remark",
    "check_list",
    "compile_policy",
    "is_list",
    "json_schema",
    "lint",
    "load",
    "load_whole",
    "used_jurisdictions",
    "word",
]
