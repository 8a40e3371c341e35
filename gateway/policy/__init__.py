"""YAML → Policy; facts → Verdict.  Owns: the policy language.
Knows: ruamel.yaml through document, pydantic, netaddr.  Never: sockets, kernel, payloads."""

from gateway.policy.case import Case
from gateway.policy.closing import Closing, Fate, Listing
from gateway.policy.given import Given
from gateway.policy.loading import compile_policy, load
from gateway.policy.parts import Part, leaves, spelled
from gateway.policy.policy import Considered, Policy
from gateway.policy.reading import Frames, given_of
from gateway.policy.rule import Rule
from gateway.policy.sections import FlowSection
from gateway.policy.subject import Subject
from gateway.policy.truth import Truth, word

__all__ = [
    "Case",
    "Closing",
    "Considered",
    "Fate",
    "FlowSection",
    "Frames",
    "Given",
    "Listing",
    "Part",
    "Policy",
    "Rule",
    "Subject",
    "Truth",
    "compile_policy",
    "given_of",
    "leaves",
    "load",
    "spelled",
    "word",
]
