"""Who else looks at the packets of an audit.  Owns: that interface (a seam for finders of patterns
over several packets, such as ping sweeps).  Never: an observer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from gateway.model import FlowKey


class Observer(Protocol):
    """Sees every packet with payload, in the captures' order, and tells what it found at the end.

    Its memory and its time for a packet are bounded.
    """

    def seen(self, flow: FlowKey, is_from_client: bool, time_s: float, payload: bytes) -> None:
        """Look at a datagram, or a segment as it was captured."""

    def findings(self) -> Iterable[Mapping[str, object]]:
        """Give what was found, as JSON objects: `kind` (one word), `sentence` (for a person), and
        facts."""
