"""Decisions as entries.  Owns: a decision → the entry that its record is spelled from, quickly.
Knows: what of a record repeats from one flow to the next, and rests on what.
Never: files; payload octets, clients' addresses, identifiers; how a record is spelled as a whole.

This is what the thread that decides does for the log; the rest is done elsewhere, later
(transcribing).  So what repeats is looked up by identity where it can be."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache

from gateway.evidence.destinations import Destinations, Memberships
from gateway.evidence.entries import (
    DECIDED,
    NO_TEXT,
    TEXT,
    Destination,
    destination,
    long,
    pack_decision,
)
from gateway.evidence.lines import Lines, message_text, verdict_text
from gateway.evidence.memo import Memo
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.evidence.texts import to_json
from gateway.flow.epoch import Epoch
from gateway.flow.table import Judged
from gateway.model import Action, Content, Place, Transport, Verdict

# As many as a flow table remembers by default; 0.2 kB each.
_MAX_CLIENTS = 65_536
_MAX_ADDRESSES = 16_384
_MAX_VERDICTS = 4_096
_MAX_CONTENTS = 4_096
_MAX_MEMBERSHIPS = 8_192

_BEGIN = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)
# An enum's member is hashed by a function of Python's; which one it is, is not.
_TRANSPORTS = {id(transport): place for place, transport in enumerate(Transport)}


class _Verdict:
    """A verdict that was told."""

    __slots__ = ("count", "number", "verdict")

    def __init__(self, verdict: Verdict, number: int) -> None:
        self.verdict, self.number, self.count = verdict, number, 0


class Recorder(Lines):
    """Gives decisions' entries; everything else is spelled as a line at once, since it is rare."""

    def __init__(
        self,
        pseudonyms: Pseudonyms,
        now: Callable[[], datetime.datetime],
        say: Callable[[bytes], None],
    ) -> None:
        """Begin.

        Args:    now: the time of day, UTC.  say: takes an entry that comes before those that rest
                 on it, and is no record.
        """
        super().__init__(pseudonyms, now)
        self._say = say
        self._count = 0
        self._epoch: Epoch | None = None
        self._destinations: Destinations
        self._revisions = 0
        # A flood comes from clients that are all new: their way through this has to be short.
        self._client = lru_cache(_MAX_CLIENTS)(pseudonyms.client_digest)
        self._texts: Memo[str, int] = Memo(self._tell, 1 << 20)
        self._contents: dict[tuple[int, str, int, bool], int] = {}
        self._whose: Memo[bytes, bytes] = Memo(self._destination, _MAX_ADDRESSES)
        self._members: Memo[Memberships, tuple[int, int]] = Memo(self._member, _MAX_MEMBERSHIPS)
        self._of_place: Memo[Place, tuple[int, int]] = Memo(self._member_of, _MAX_MEMBERSHIPS)
        self._verdicts: dict[int, _Verdict] = {}
        self._actions: Counter[Action] = Counter()

    def begin(self) -> None:
        """Begin another spool: what was told is told again."""
        self._count = 0
        self._texts.clear()
        self._contents.clear()
        self._forget_epoch()

    @property
    def actions(self) -> Counter[Action]:
        """Decisions so far, by action."""
        actions = self._actions.copy()
        for known in self._verdicts.values():
            actions[known.verdict.action] += known.count
        return actions

    def entries(
        self, epoch: Epoch, decisions: Iterable[tuple[Judged, bytes | None]]
    ) -> list[bytes]:
        """Give decisions' entries, in pieces.

        Args:    decisions: each with what the facts' identifiers lie in; None: they have no
                 digests.
        """
        if epoch is not self._epoch:
            self._enter(epoch)
        # What was decided together has one time, that of its being written down.
        time_ms = (self._now() - _BEGIN) // _MILLISECOND
        members, of_place = self._members, self._of_place
        place_decides, whose = self._destinations.place_decides, self._whose
        name, verdicts, revisions = self._client, self._verdicts, self._revisions
        pieces: list[bytes] = []
        for judged, payload in decisions:
            facts, verdict = judged.facts, judged.verdict
            (transport, client, to), content = facts.key, facts.content
            plaintext, number = b"", NO_TEXT
            if content is not None:
                found = content.plaintext
                if found:
                    plaintext = self._found(found, payload).encode()
                number = self._content(content)
            names = self._names(facts.names).encode() if facts.names else b""
            if place_decides and not (names or facts.further_places):
                member, doubts = of_place[facts.place]
            else:
                member, doubts = members[self._destinations.memberships(facts)]
            known = verdicts.get(id(verdict)) or self._remember(verdict)
            known.count += 1
            # In the order of Decision.
            pieces += (
                pack_decision(
                    DECIDED,
                    time_ms,
                    name(client.address),
                    _TRANSPORTS[id(transport)],
                    to.port,
                    number,
                    member,
                    doubts,
                    known.number,
                    revisions,
                    len(plaintext),
                    len(names),
                ),
                whose[to.address],
            )
            if plaintext or names:
                pieces += (plaintext, names)
        return pieces

    def _enter(self, epoch: Epoch) -> None:
        self._forget_epoch()
        self._epoch, self._destinations = epoch, Destinations(epoch)
        policy, data = to_json(epoch.policy.revision), to_json(epoch.atlas.revision)
        self._revisions = self._texts[f'"policy":{policy},"data":{data}']

    def _forget_epoch(self) -> None:
        """Forget what rests on the epoch; verdicts carry its number."""
        self._epoch = None
        self._whose.clear()
        self._members.clear()
        self._of_place.clear()
        self._forget_verdicts()

    def _forget_verdicts(self) -> None:
        self._actions = self.actions
        self._verdicts.clear()

    def _tell(self, text: str) -> int:
        number, self._count = self._count, self._count + 1
        self._say(long(TEXT, text))
        return number

    def _content(self, content: Content) -> int:
        """Tell what a payload is; what is found in it comes behind, unless it cannot be told."""
        protocol, message, traffic = content.protocol, content.message, content.traffic
        kind = (id(protocol), message, id(traffic), content.plaintext is None)
        number = self._contents.get(kind)
        if number is None:
            if len(self._contents) >= _MAX_CONTENTS:
                self._contents.clear()
            text = message_text((protocol, message, traffic))
            number = self._texts[text + ("null" if content.plaintext is None else "")]
            self._contents[kind] = number
        return number

    def _member(self, member: Memberships) -> tuple[int, int]:
        return self._texts[member.certain], self._texts[member.doubts]

    def _member_of(self, place: Place) -> tuple[int, int]:
        return self._member(self._destinations.of_place(place))

    def _remember(self, verdict: Verdict) -> _Verdict:
        """Remember a verdict by which object it is: rules give the same one each time."""
        if len(self._verdicts) >= _MAX_VERDICTS:
            self._forget_verdicts()
        known = _Verdict(verdict, self._texts[verdict_text(verdict)])
        self._verdicts[id(verdict)] = known
        return known

    def _destination(self, address: bytes) -> bytes:
        words, first, last = self._destinations.words(address)
        return destination(Destination(self._texts[words], address, first, last))
