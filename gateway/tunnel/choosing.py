"""Which exit is the nearest.  Owns: the choice among exits, and when it changes.
Knows: round-trip times.  Never: tunnels, flows, clocks; the time is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Another exit is taken for its speed alone if it was faster by this share, and at least by this
# time, for so long: routes of equal length must not take turns.
_SHARE, _MARGIN_S, _PATIENCE_S = 0.15, 0.005, 30.0


@dataclass(frozen=True, slots=True)
class State:
    """An exit, now."""

    is_up: bool
    is_silent: bool
    """It has not answered for so long that something is wrong."""
    rtt_s: float | None
    """Smoothed round-trip time to it; None: not measured yet."""

    @property
    def is_usable(self) -> bool:
        """Whether flows should go there."""
        return self.is_up and not self.is_silent


class Choice:
    """The nearest of some exits."""

    def __init__(self) -> None:
        self.chosen: str | None = None
        self.changes = 0
        self._rival: str | None = None
        self._since_s = 0.0

    def among(self, exits: Mapping[str, State], now_s: float) -> str | None:
        """Choose.

        Args:    exits: in the operator's order, which decides between equals; now_s: a clock that
                 never goes back.
        Returns: an exit that is up; None: there is none.
        """
        usable = {name: one for name, one in exits.items() if one.is_usable}
        if not usable:  # a silent one may come back; there is no other
            usable = {name: one for name, one in exits.items() if one.is_up}
        if self.chosen not in usable:
            self._take(min(usable, key=lambda name: _time(usable[name]), default=None))
        elif rival := self._faster(usable):
            if rival != self._rival:
                self._rival, self._since_s = rival, now_s
            elif now_s - self._since_s >= _PATIENCE_S:
                self._take(rival)
        else:
            self._rival = None
        return self.chosen

    def _faster(self, usable: Mapping[str, State]) -> str | None:
        assert self.chosen is not None, "asked only then"
        now = _time(usable[self.chosen])
        best = min(usable, key=lambda name: _time(usable[name]))
        gain = now - _time(usable[best])
        return best if gain > max(_MARGIN_S, now * _SHARE) else None

    def _take(self, name: str | None) -> None:
        self.chosen, self._rival = name, None
        self.changes += 1


def _time(one: State) -> float:
    """Of what was not measured yet: longer than anything, and finite."""
    return 1e6 if one.rtt_s is None else one.rtt_s
