"""Who else looks at the packets of an audit.  Owns: that interface, and the finders of leaks behind
it.  Knows: the leak finders.  Never: what a finder looks for; files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from gateway.audit.account import time_text
from gateway.leaks import Finder, Finding, Scope, Seen, Span, Traces
from gateway.model import unpack

TELLING = frozenset((Scope.USER, Scope.ROOM, Scope.SESSION, Scope.GIVEN))
"""What tells of a person: the other findings are notes."""


class Observer(Protocol):
    """Sees packets with payload, in the captures' order, and tells what it found at the end.

    Its memory and its time for a packet are bounded.
    """

    reads_streams: bool
    """Whether it is shown TCP segments too, as they were captured."""

    def seen(self, packets: Sequence[Seen]) -> None:
        """Look at the next packets with payload, as finders of leaks take them; the protocol is
        None where no recogniser knows, or was asked."""

    def findings(self) -> Iterable[Mapping[str, object]]:
        """Give what was found, as JSON objects: `kind` (one word), `sentence` (for a person),
        `is_telling` (whether it tells of a person), and facts."""


class FinderObserver:
    """Shows packets to a finder of leaks."""

    def __init__(self, finder: Finder, *, reads_streams: bool) -> None:
        """Begin.

        Args:    reads_streams: show it TCP segments too: where they begin means nothing.
        """
        self._finder, self.reads_streams = finder, reads_streams

    def seen(self, packets: Sequence[Seen]) -> None:
        """Observer API."""
        self._finder.seen_all(packets)

    def found(self) -> list[Finding]:
        """Give what was found, as the finder says it."""
        return self._finder.findings()

    def findings(self) -> Iterable[Mapping[str, object]]:
        """Observer API."""
        return map(finding_account, self._finder.findings())


class TraceObserver:
    """Keeps traces of when how much went."""

    reads_streams = True

    def __init__(self, traces: Traces) -> None:
        self.traces = traces

    def seen(self, packets: Sequence[Seen]) -> None:
        """Observer API."""
        self.traces.seen_all(packets)

    def findings(self) -> Iterable[Mapping[str, object]]:
        """Observer API: traces say nothing by themselves."""
        return ()


def finding_account(one: Finding) -> Mapping[str, object]:
    """Give a finding as a JSON object."""
    return {
        "kind": str(one.scope),
        "sentence": one.sentence,
        "is_telling": one.scope in TELLING,
        "finder": one.finder,
        "certainty": str(one.certainty),
        "identifier": None if one.kind is None else str(one.kind),
        "encoding": one.encoding or None,
        "clients": [unpack(client) for client in one.clients],
        "endpoints": list(map(str, one.endpoints)),
        "endpoint_count": one.endpoint_count,
        "packets": one.packets,
        "expected_by_chance": one.expected,
        "first": time_text(one.first_s),
        "last": time_text(one.last_s),
        "spans": [_span(span) for span in one.spans],
    }


def _span(span: Span) -> Mapping[str, int]:
    return {
        "shortest": span.shortest,
        "longest": span.longest,
        "lengths": span.lengths,
        "offset": span.offset,
        "length": span.length,
    }
