"""What the policy would have done.  Owns: messages → tallies with their verdicts.
Knows: an epoch.  Never: frames, files, text."""

from __future__ import annotations

from collections.abc import Hashable

from gateway.audit.flows import BARRED, EXPOSED, Side, Tally
from gateway.flow.epoch import Epoch
from gateway.model import Action, Content, Verdict

_OTHERS = "others"


class Judging:
    """Finds the tally of a message, and judges each tally of a client once."""

    def __init__(self, epoch: Epoch) -> None:
        self.epoch = epoch

    def tally(self, side: Side, content: Content | None) -> Tally:
        """Give the tally that a message of a side is counted in.

        Args:    content: what it is; None: nothing but headers.
        """
        likeness = _likeness(content)
        tally = side.tallies.get(likeness)
        if tally is None:
            verdict = self.verdict(side, content)
            if side.is_full:
                likeness = _coarse(content, verdict)
                tally = side.tallies.get(likeness)
            if tally is None:
                tally = side.tallies[likeness] = Tally(content, verdict)
                tally.mark = _mark(content, verdict)
        if side.flow.first is None and side.is_client and content is not None:
            side.flow.first = tally
        return tally

    def verdict(self, side: Side, content: Content | None) -> Verdict | None:
        """Judge a message; None if nobody would have asked: an answer, or not a client's."""
        if not side.is_client or side.flow.is_counted_only:
            return None
        return self.epoch.judge(self.epoch.facts(side.flow.key, content))


def is_barred(verdict: Verdict | None) -> bool:
    """Say whether nothing would have gone."""
    return verdict is not None and verdict.action is Action.BLOCK


def _mark(content: Content | None, verdict: Verdict | None) -> int:
    mark = EXPOSED if content is not None and content.plaintext else 0
    return mark | BARRED if is_barred(verdict) else mark


def _likeness(content: Content | None) -> Hashable:
    """Give what tells two messages apart: what a policy can look at, and how many identifiers."""
    if content is None:
        return None
    found = content.plaintext
    kinds = None if found is None else tuple([one.kind._value_ for one in found])
    return (
        content.message,
        content.protocol._value_,
        kinds,
        content.traffic,
        content.names,
        (content.addresses),
    )


def _coarse(content: Content | None, verdict: Verdict | None) -> Hashable:
    """Give what messages beyond a side's bound are told apart by: bounded by itself."""
    kinds = frozenset(one.kind for one in content.plaintext or ()) if content is not None else None
    action = None if verdict is None else (verdict.action, verdict.rule)
    return _OTHERS, None if content is None else content.protocol, kinds, action
