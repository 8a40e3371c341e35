"""What an observer of a wire keeps: how many datagrams, of which sizes, when.  Owns: traces.
Knows: nothing of any protocol.  Never: payloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from gateway.leaks.findings import Seen
from gateway.model import Endpoint, Protocol

_MAX_TRACES = 256
_MAX_WINDOWS = 3_600
_MAX_SIZES = 1_024
_CHANNELS = 4


@dataclass(slots=True)
class Trace:
    """One user, flow or tunnel on the wire."""

    windows: dict[int, list[int]] = field(default_factory=dict)
    """By number of the window: packets out, octets out, packets in, octets in."""
    sizes: Counter[int] = field(default_factory=Counter)
    """How many datagrams of each size went out."""
    by_half: tuple[Counter[int], Counter[int]] = field(
        default_factory=lambda: (Counter(), Counter())
    )
    """Those of even and of odd windows: two looks at the same user."""

    def channel(self, which: int, first: int, last: int) -> list[float]:
        """Give one of the four numbers for each window from `first` to `last`."""
        return [float(self.windows.get(at, _NOTHING)[which]) for at in range(first, last + 1)]


_NOTHING = (0,) * _CHANNELS


class Traces:
    """The traces of one wire.  Bounded: 256 traces of an hour."""

    def __init__(self, window_s: float = 1.0, *, by_client: bool) -> None:
        """Begin.

        Args:    by_client: a trace is one client's (beside the clients); else what passes between
                 two machines (beside the gateway, where the tunnels are).
        """
        self.window_s = window_s
        self._by_client = by_client
        self._traces: dict[Hashable, Trace] = {}
        self.left_out = 0
        """Packets that no trace has for want of room."""

    def seen(
        self,
        client: bytes,
        endpoint: Endpoint,
        time_s: float,
        payload: bytes | memoryview,
        outbound: bool,
        protocol: Protocol | None,
    ) -> None:
        """Look at one packet (as a Finder does)."""
        label: Hashable = client if self._by_client else (client, endpoint.address)
        self.note(label, time_s, len(payload), outbound)

    def seen_all(self, packets: Iterable[Seen]) -> None:
        """Look at packets one after another (as a Finder does)."""
        for packet in packets:
            self.seen(*packet)

    def note(self, label: Hashable, time_s: float, octets: int, outbound: bool) -> None:
        """Add a packet to the trace with this label."""
        trace = self._traces.get(label)
        if trace is None:
            if len(self._traces) >= _MAX_TRACES:
                self.left_out += 1
                return
            trace = self._traces[label] = Trace()
        number = int(time_s // self.window_s)
        window = trace.windows.get(number)
        if window is None:
            if len(trace.windows) >= _MAX_WINDOWS:
                self.left_out += 1
                return
            window = trace.windows[number] = [0] * _CHANNELS
        at = 0 if outbound else 2
        window[at] += 1
        window[at + 1] += octets
        if outbound and (octets in trace.sizes or len(trace.sizes) < _MAX_SIZES):
            trace.sizes[octets] += 1
            trace.by_half[number & 1][octets] += 1

    def traces(self) -> dict[Hashable, Trace]:
        """Give the traces by label."""
        return dict(self._traces)


def period(traces: Iterable[Trace]) -> tuple[int, int]:
    """Give the first and last window in which all of the traces could have something: from the
    latest beginning to the earliest end, or everything if these do not meet."""
    held = [trace.windows for trace in traces if trace.windows]
    if not held:
        return 0, -1
    first, last = max(map(min, held)), min(map(max, held))
    return (first, last) if last - first >= 3 else (min(map(min, held)), max(map(max, held)))
