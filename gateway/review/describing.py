"""Flow profiles in words.  Owns: a set of profiles → the fewest phrases that say which flows it is.
Never: verdicts, addresses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from gateway.model import IdentifierKind, Protocol, Traffic, Transport, unpack
from gateway.review.atoms import Atoms
from gateway.review.profiles import Profile, Profiles

_MAX_PHRASES = 6
_MAX_NAMED = 4
_TRAFFIC = 1
"""The aspect's number."""

_Labels = tuple[str, ...]
"""One word for each aspect: transport, traffic, protocol, plaintext, name, port, client."""
_Box = tuple[frozenset[str], ...]
"""For each aspect, the words that it may have."""

Value = TypeVar("Value", bound=str)


class Describing:
    """Puts profiles into words."""

    def __init__(self, profiles: Profiles) -> None:
        self._labels = tuple(_labels(one, profiles.atoms) for one in profiles.all)
        self._known: dict[frozenset[int], list[str]] = {}
        self._words = tuple(frozenset(column) for column in zip(*self._labels, strict=True))

    def phrases(self, which: frozenset[int]) -> list[str]:
        """Say which profiles these are; ["every flow"] if they are all."""
        if which not in self._known:
            self._known[which] = self._phrases(which)
        return self._known[which]

    def _phrases(self, which: frozenset[int]) -> list[str]:
        if len(which) == len(self._labels):
            return ["every flow"]
        left = dict.fromkeys(sorted(which))
        found: list[str] = []
        while left and len(found) < _MAX_PHRASES:
            box = self._largest(self._labels[next(iter(left))], which)
            found.append(self._phrase(box))
            left = {at: None for at in left if not _holds(box, self._labels[at])}
        if left:
            found.append(f"{len(left)} more of {len(self._labels)} kinds of flow")
        return found

    def _largest(self, labels: _Labels, which: frozenset[int]) -> _Box:
        """Widen one profile, aspect by aspect, as long as only profiles of the set are meant."""
        box: _Box = tuple(frozenset((word,)) for word in labels)
        for aspect, words in enumerate(self._words):
            free = _replaced(box, aspect, words)
            is_meant: dict[str, bool] = {}
            for at, one in enumerate(self._labels):
                if _holds(free, one):
                    is_meant[one[aspect]] = at in which and is_meant.get(one[aspect], True)
            meant = frozenset(word for word, is_so in is_meant.items() if is_so)
            box = _replaced(box, aspect, meant)
        return box

    def _phrase(self, box: _Box) -> str:
        """Write a box: aspects that rule nothing more out are left out, what a flow is for last."""
        for aspect in sorted(range(len(box)), key=lambda aspect: aspect == _TRAFFIC):
            free = _replaced(box, aspect, self._words[aspect])
            possible = {one[aspect] for one in self._labels if _holds(free, one)}
            if box[aspect].issuperset(possible):
                box = free
        told = (
            _joined(words) for words, every in zip(box, self._words, strict=True) if words != every
        )
        return ", ".join(filter(None, told)) or "every flow"


def _replaced(box: _Box, aspect: int, words: frozenset[str]) -> _Box:
    return (*box[:aspect], words, *box[aspect + 1 :])


def _holds(box: _Box, labels: _Labels) -> bool:
    return all(label in words for label, words in zip(labels, box, strict=True))


def _joined(words: frozenset[str]) -> str:
    return " or ".join(sorted(words - {""}))


def _labels(one: Profile, atoms: Atoms) -> _Labels:
    content = one.content
    if not one.transport.has_ports:
        kind = "ICMP" if one.transport is Transport.ICMP else "other protocols of IP, fragments"
        told: tuple[str, ...] = (kind, "", "")
    elif content is None:
        told = ("TCP before its first bytes", "", "")
    else:
        told = (
            f"traffic {_alike(content.traffic, Traffic, atoms.traffic)}"
            if content.traffic
            else "traffic not told",
            _protocol(content.protocol, atoms),
            _plaintext(one, atoms),
        )
    carried = content.names if content else ()
    name = f"named {one.names[0]}" + (" in its payload" if carried else "") if one.names else ""
    port = f"port {one.port}" if any(atoms.ports) and one.transport.has_ports else ""
    client = f"from {unpack(one.client)} and the like" if atoms.clients or atoms.staged else ""
    return (str(one.transport), *told, name or "without a name", port, client)


def _alike(value: Value, kinds: Iterable[Value], asked: Iterable[frozenset[Value]]) -> str:
    """Name all values that no rule tells from one."""
    wanted = tuple(asked)
    alike = [str(kind) for kind in kinds if all((kind in one) is (value in one) for one in wanted)]
    return "/".join(alike) if len(alike) <= _MAX_NAMED else "other"


def _protocol(protocol: Protocol, atoms: Atoms) -> str:
    if protocol is Protocol.UNKNOWN:
        return "protocol unknown"
    known = [one for one in Protocol if one not in (Protocol.UNKNOWN, Protocol.ICMP)]
    named = _alike(protocol, known, atoms.protocols)
    return "other protocols" if named == "other" else f"protocol {named}"


def _plaintext(one: Profile, atoms: Atoms) -> str:
    found = one.content.plaintext if one.content else None
    if found is None:
        return "plaintext not told"
    kinds = sorted({str(each.kind) for each in found})
    if len(kinds) == 1 and any(wanted == frozenset(IdentifierKind) for wanted in atoms.plaintext):
        others = [wanted for wanted in atoms.plaintext if wanted != frozenset(IdentifierKind)]
        if not others:
            return "with identifiers"
    return f"with {' '.join(kinds)}" if kinds else "without identifiers"


def tally(amounts: Mapping[str, object], most: int) -> list[str]:
    """Name the first of what was counted, and how many more there are."""
    names = list(amounts)
    more = [f"and {len(names) - most:,} more"] if len(names) > most else []
    return [*names[:most], *more]
