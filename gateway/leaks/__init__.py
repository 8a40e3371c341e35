"""What leaks.  Owns: finders of identifiers, given and unnamed; ping sweeps; the observer's test.
Knows: statistics, and the encodings of values.  Never: files, sockets, the clock, chance; policy.

A Finder is shown packets (`seen`) and asked in the end (`findings`); what it keeps is bounded."""

from gateway.leaks.alike import Limits
from gateway.leaks.findings import Certainty, Finder, Finding, Scope, Seen, Span
from gateway.leaks.given import GivenFinder
from gateway.leaks.matching import Match, match
from gateway.leaks.observer import ObserverReport, Presence, Sizes, observe
from gateway.leaks.sweeps import SweepDetector, SweepFinder, SweepLimits
from gateway.leaks.traces import Trace, Traces
from gateway.leaks.unnamed import UnnamedFinder
from gateway.leaks.values import Given, Hit, Values, compile_values, read_values

__all__ = [
    "Certainty",
    "Finder",
    "Finding",
    "Given",
    "GivenFinder",
    "Hit",
    "Limits",
    "Match",
    "ObserverReport",
    "Presence",
    "Scope",
    "Seen",
    "Sizes",
    "Span",
    "SweepDetector",
    "SweepFinder",
    "SweepLimits",
    "Trace",
    "Traces",
    "UnnamedFinder",
    "Values",
    "compile_values",
    "match",
    "observe",
    "read_values",
]
