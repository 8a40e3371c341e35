"""The summary of an audit.  Owns: counted flows → who was contacted where, what left in plaintext,
what the policy would have done, what could not be read; all bounded.
Knows: the faces in docs/architecture.md.  Never: frames, printing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.audit.account import Accounts, time_text
from gateway.audit.captures import Capture
from gateway.audit.flows import AuditedFlow, Side, Tally, name_of
from gateway.audit.reading import Audit
from gateway.flow.account import Account
from gateway.flow.epoch import Epoch
from gateway.model import Axis, IdentifierKind, Place, Protocol, unpack

# Places, kinds of message, addresses of each: a table that a person reads has fewer.
_MAX_ROWS = 2_048
_MAX_ADDRESSES = 65_536
_MAX_NAMES = 16


@dataclass(slots=True)
class _Contact:
    """Whom clients talked to, of whom the sources say the same."""

    place: Place
    example: bytes
    """The first of its addresses."""
    jurisdictions: tuple[str, ...]
    undetermined: tuple[str, ...]
    where: str
    """Its countries on any axis."""
    operator: str
    addresses: set[bytes] = field(default_factory=set)
    names: dict[str, None] = field(default_factory=dict)
    protocols: Counter[str] = field(default_factory=Counter)
    identifiers: Counter[IdentifierKind] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    """Packets of clients by what the policy would have done."""
    flows: int = 0
    packets: int = 0
    octets: int = 0


@dataclass(slots=True)
class _Exposure:
    """Messages of one kind that showed identifiers."""

    messages: int = 0
    identifiers: Counter[IdentifierKind] = field(default_factory=Counter)
    countries: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Done:
    """What one verdict was given to."""

    flows: int = 0
    packets: int = 0
    octets: int = 0
    reason: str = ""


class Summary:
    """What remains of flows that ended."""

    def __init__(self, epoch: Epoch, accounts: Accounts) -> None:
        self._epoch, self._accounts = epoch, accounts
        self.flows = self.packets = self.octets = self.unjudged = 0
        self.first_s, self.last_s = float("inf"), float("-inf")
        self.exposed = self.barred = 0
        """Messages that showed identifiers; flows of which the policy blocks something."""
        self._reasons = {rule.id: rule.verdict.reason for rule in epoch.policy.rules}
        self._clients: set[bytes] = set()
        self._contacts: dict[Place | None, _Contact] = {}
        self._exposures: dict[tuple[str, ...], _Exposure] = {}
        self._actions: dict[str, _Done] = {}
        self._rules: dict[tuple[str, str], _Done] = {}
        self._read: Counter[str] = Counter()

    def add(self, flow: AuditedFlow) -> None:
        """Take a flow that ended."""
        self.flows += 1
        self.first_s = min(self.first_s, flow.first_s)
        self.last_s = max(self.last_s, flow.last_s)
        if len(self._clients) < _MAX_ADDRESSES:
            self._clients.add(flow.key.client.address)
        is_known = any(_is_known(tally) for tally in flow.tallies())
        for tally in flow.tallies():
            self.packets += tally.packets
            self.octets += tally.octets
            self._read[_legibility(tally, is_known)] += tally.packets
        contact = self._contact(flow)
        for side in (flow.client, flow.server):
            self._expose(side, contact)
        if flow.is_counted_only:
            self.unjudged += 1
        else:
            self._judge(flow, contact)

    def _contact(self, flow: AuditedFlow) -> _Contact:
        address = flow.key.destination.address
        place: Place | None = self._epoch.atlas.place(address)
        if place not in self._contacts and len(self._contacts) >= _MAX_ROWS:
            place = None
        contact = self._contacts.get(place)
        if contact is None:
            found = self._epoch.policy.jurisdictions_of(self._epoch.facts(flow.key, None))
            shown = place or Place({}, doubts=("others, beyond the length of this table",))
            contact = self._contacts[place] = _Contact(
                shown,
                address,
                tuple(sorted(found.members)) if place else (),
                tuple(sorted(found.undetermined)) if place else (),
                "+".join(_countries(shown)) or "unknown",
                _operator(shown),
            )
        if len(contact.addresses) < _MAX_ADDRESSES // 16:
            contact.addresses.add(address)
        contact.flows += 1
        contact.packets += flow.client.packets
        contact.octets += flow.client.octets
        for tally in flow.client.tallies.values():
            if tally.content is not None:
                contact.protocols[str(tally.content.protocol)] += tally.packets
                if len(contact.names) < _MAX_NAMES and tally.content.protocol is not Protocol.DNS:
                    contact.names.update(dict.fromkeys(tally.content.names[:_MAX_NAMES]))
        return contact

    def _expose(self, side: Side, contact: _Contact) -> None:
        who = "client" if side.is_client else "answer"
        for tally in side.tallies.values():
            content = tally.content
            if content is None or not content.plaintext:
                continue
            key = (str(content.protocol), name_of(content), str(content.traffic or ""), who)
            if key not in self._exposures and len(self._exposures) >= _MAX_ROWS:
                key = ("others", "", "", who)
            row = self._exposures.setdefault(key, _Exposure())
            is_stream = side.identifiers is not None
            count = sum((side.messages or {}).values()) if is_stream else tally.packets
            identifiers = side.identifier_counts() if is_stream else _times(tally)
            row.messages += count
            for kind, shown in identifiers.items():
                row.identifiers[kind] += shown
                contact.identifiers[kind] += shown
            row.countries[contact.where] += count
            row.operators[contact.operator] += count
            self.exposed += count

    def _judge(self, flow: AuditedFlow, contact: _Contact) -> None:
        actions, rules = set(), set()
        for tally in flow.client.tallies.values():
            verdict = tally.verdict
            if verdict is None or not tally.packets:
                continue
            action = str(verdict.action)
            for done in (
                self._actions.setdefault(action, _Done()),
                self._rules.setdefault(
                    (verdict.rule, action),
                    _Done(reason=self._reasons.get(verdict.rule, verdict.reason)),
                ),
            ):
                done.packets += tally.packets
                done.octets += tally.octets
            contact.actions[action] += tally.packets
            actions.add(action)
            rules.add((verdict.rule, action))
        for action in actions:
            self._actions[action].flows += 1
        for rule in rules:
            self._rules[rule].flows += 1
        self.barred += "block" in actions

    def account(
        self, audit: Audit, files: Iterable[Capture], findings: Iterable[Mapping[str, object]]
    ) -> Account:
        """Give the summary as the JSON object of `audit --json`."""
        read, found = sum(self._read.values()), list(findings)
        return {
            "captures": [
                {"path": one.path, "frames": one.frames, "fault": one.fault or None}
                for one in files
            ],
            "policy": {"name": self._epoch.policy.name, "data": self._epoch.atlas.revision},
            "first": time_text(self.first_s) if self.flows else None,
            "last": time_text(self.last_s) if self.flows else None,
            "clients": len(self._clients),
            "flows": self.flows,
            "packets": self.packets,
            "bytes": self.octets,
            "contacts": [self._contact_account(one) for one in self._by_packets()],
            "plaintext": [_exposure_account(*pair) for pair in self._exposures_by_count()],
            "verdicts": {action: _done_account(done) for action, done in self._actions.items()},
            "rules": [
                {"rule": rule, "action": action, "reason": done.reason, **_done_account(done)}
                for (rule, action), done in self._rules.items()
            ],
            "not_judged": {"flows": self.unjudged},
            "flows_ended_early": audit.evicted,
            "unread": {
                **asdict(audit.packets.unread),
                "link_types": sorted(audit.packets.unknown_links),
                "of_packets": {name: self._read[name] for name in _LEGIBILITIES},
                "unknown_share": round(self._read["unknown"] / read, 4) if read else None,
            },
            "findings": [*self._findings(), *(one for one in found if one["is_telling"])],
            "notes": [one for one in found if not one["is_telling"]],
            "credits": credits_of(self._epoch),
        }

    def _by_packets(self) -> list[_Contact]:
        return sorted(self._contacts.values(), key=lambda one: -one.packets)

    def _exposures_by_count(self) -> list[tuple[tuple[str, ...], _Exposure]]:
        return sorted(self._exposures.items(), key=lambda pair: -pair[1].messages)

    def _contact_account(self, one: _Contact) -> Account:
        return {
            "countries": {str(axis): list(one.place.values.get(axis, ())) for axis in Axis},
            "asns": list(one.place.asns),
            "operator": _operator(one.place),
            "jurisdictions": list(one.jurisdictions),
            "undetermined": list(one.undetermined),
            "doubts": list(one.place.doubts),
            "evidence": self._accounts.evidence(one.example),
            "addresses": len(one.addresses),
            "example": unpack(one.example),
            "names": list(one.names),
            "protocols": dict(one.protocols.most_common()),
            "identifiers": _kinds(one.identifiers),
            "would": dict(one.actions.most_common()),
            "flows": one.flows,
            "packets": one.packets,
            "bytes": one.octets,
        }

    def _findings(self) -> Iterable[Account]:
        if self.exposed:
            kinds: Counter[IdentifierKind] = Counter()
            for row in self._exposures.values():
                kinds += row.identifiers
            listed = ", ".join(f"{kind} ({count:,})" for kind, count in kinds.most_common())
            sentence = f"{self.exposed:,} messages show identifiers in plaintext: {listed}"
            yield {"kind": "plaintext", "sentence": sentence, "messages": self.exposed}
        if self.barred:
            sentence = f"{self.barred:,} flows hold what the policy blocks"
            yield {"kind": "blocked", "sentence": sentence, "flows": self.barred}


def credits_of(epoch: Epoch) -> list[str]:
    """Give what the sources' licences ask to be said wherever results are shown."""
    return list(dict.fromkeys(one.credit for one in epoch.atlas.sources if one.credit))


_LEGIBILITIES = ("exposed", "clear", "doubtful", "opaque", "unknown", "headers")


def _is_known(tally: Tally) -> bool:
    return tally.content is not None and tally.content.protocol is not Protocol.UNKNOWN


def _legibility(tally: Tally, is_known: bool) -> str:
    """Class packets by what could be read of them.

    Args:    is_known: whether other packets of the flow tell its protocol, so that unknown ones are
             what follows a handshake ("opaque").
    """
    content = tally.content
    if content is None:
        return "headers"
    if content.plaintext:
        return "exposed"
    if content.protocol is Protocol.UNKNOWN:
        return "opaque" if is_known else "unknown"
    return "doubtful" if content.plaintext is None else "clear"


def _times(tally: Tally) -> Mapping[IdentifierKind, int]:
    return {kind: count * tally.packets for kind, count in tally.identifiers().items()}


def _countries(place: Place) -> list[str]:
    return sorted({country for values in place.values.values() for country in values})


def _operator(place: Place) -> str:
    """Name who announces a place, and the country of its owner."""
    networks = ", ".join(f"AS{asn}" for asn in place.asns)
    owners = ", ".join(place.values.get(Axis.OPERATOR, ()))
    return " of ".join(filter(None, (networks, owners))) or "nobody known"


def _exposure_account(key: tuple[str, ...], row: _Exposure) -> Account:
    protocol, message, traffic, who = key
    return {
        "protocol": protocol,
        "message": message,
        "traffic": traffic or None,
        "from": who,
        "messages": row.messages,
        "identifiers": _kinds(row.identifiers),
        "countries": dict(row.countries.most_common()),
        "operators": dict(row.operators.most_common()),
    }


def _done_account(done: _Done) -> dict[str, Any]:
    return {"flows": done.flows, "packets": done.packets, "bytes": done.octets}


def _kinds(counts: Counter[IdentifierKind]) -> dict[str, int]:
    return {str(kind): count for kind, count in counts.most_common()}
