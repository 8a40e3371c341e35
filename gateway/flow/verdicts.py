"""Verdicts, remembered by all that they rest on.  Owns: what of a flow a policy can tell apart.
Knows: that content and destination decide, and the client where a rule asks who it is.
Never: payloads, the clock; what was decided for one flow and no other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from gateway.flow.epoch import Epoch
from gateway.flow.flows import Judged
from gateway.model import Content, Facts, FlowKey, IdentifierKind, Verdict

# Some 0.7 kB each.  The oldest makes room, one at a time: to forget all at once would keep packets
# waiting for milliseconds.
_MAX_KNOWN = 8_192
# A NamedTuple's own constructor takes twice as long.
_tuple = tuple.__new__
_NO_KINDS: frozenset[IdentifierKind] = frozenset()


class Verdicts:
    """One epoch's verdicts.  New flows are mostly alike: many clients ask for few destinations, and
    begin with the same messages."""

    def __init__(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._asks_clients = epoch.policy.asks_clients
        self._known: OrderedDict[Hashable, tuple[Facts, Verdict]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def judge(self, key: FlowKey, content: Content | None, names: tuple[str, ...] = ()) -> Judged:
        """Gather the facts of a flow, and judge them.

        Args:    as Epoch.facts.
        """
        transport, client, destination = key
        discs = self._epoch.discs
        if discs is not None and destination.address in discs:
            # What round trips refute changes from one to the next.
            facts = self._epoch.facts(key, content, names)
            return Judged(facts, self._epoch.judge(facts))
        rests_on = (
            destination,
            transport,
            None if content is None else likeness(content),
            names,
            client.address if self._asks_clients else None,
        )
        known = self._known.get(rests_on)
        if known is None:
            facts = self._epoch.facts(key, content, names)
            known = facts, self._epoch.judge(facts)
            if len(self._known) >= _MAX_KNOWN:
                self._known.popitem(last=False)
            self._known[rests_on] = known
        (_, place, seen, names, *others), verdict = known
        # Where identifiers lie is each datagram's own.
        content = seen if content is None else content
        return Judged(_tuple(Facts, (key, place, content, names, *others)), verdict)


def likeness(content: Content) -> Hashable:
    """Give what a policy can tell two datagrams of one flow apart by."""
    found = content.plaintext
    return (
        content.protocol,
        content.message,
        content.traffic,
        (frozenset([one.kind for one in found]) if found else _NO_KINDS)
        if found is not None
        else None,
        content.names,
        content.addresses,
        content.may_show_more,
        content.hides_name,
    )
