"""YAML → Policy; facts → Verdict.  Owns: the policy language.
Knows: ruamel.yaml through document, pydantic, netaddr.  Never: sockets, kernel, payloads."""

from gateway.policy.case import Case
from gateway.policy.closing import Closing, Fate, Listing
from gateway.policy.loading import compile_policy, load
from gateway.policy.policy import Considered, Policy
from gateway.policy.truth import word

__all__ = [
    "Case",
    "Closing",
    "Considered",
    "Fate",
    "Listing",
    "Policy",
    "compile_policy",
    "load",
    "word",
]
