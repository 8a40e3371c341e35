"""Lines of the decision log.  Owns: a decision → its record, one line of JSON text, quickly.
Knows: flow.account, whose JSON it spells; RFC 3339 (time).
Never: files; payload octets, clients' addresses, identifiers.

Nearly all of a record repeats from one flow to the next.  So each part is spelled once for all that
it rests on and remembered, and a record is put together of texts."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping

from gateway.evidence.destinations import Destinations, to_json, to_json_array
from gateway.evidence.memo import Memo
from gateway.evidence.pseudonyms import Pseudonyms
from gateway.flow.account import verdict_account
from gateway.flow.epoch import Epoch
from gateway.flow.guard import Leak
from gateway.flow.table import Judged
from gateway.model import Content, Endpoint, FlowKey, Protocol, Traffic, Verdict

# Clients whose pseudonyms are at hand, 0.2 kB each.
_MAX_CLIENTS = 16_384
# Verdicts at hand, 0.6 kB each: those of rules, and those whose reasons tell of doubts.
_MAX_VERDICTS = 4_096
# Kinds of message at hand.
_MAX_MESSAGES = 1_024

_MILLISECOND = datetime.timedelta(milliseconds=1)
_NEVER = datetime.datetime.min.replace(tzinfo=datetime.UTC)
_UNSEEN = '"protocol":null,"message":null,"traffic":null,"plaintext":null'

_Message = tuple[Protocol, str, Traffic | None]


class Lines:
    """Spells records, each with its line's end."""

    def __init__(self, pseudonyms: Pseudonyms, now: Callable[[], datetime.datetime]) -> None:
        """Begin; `now` gives the time of day, UTC."""
        self._pseudonyms = pseudonyms
        self._now = now
        self._time_from = self._time_until = _NEVER
        self._time_text = ""
        self._clients = Memo(pseudonyms.client, _MAX_CLIENTS)
        self._messages = Memo(_message, _MAX_MESSAGES)
        self._verdicts = Memo(_verdict, _MAX_VERDICTS)
        self._epoch: Epoch | None = None
        self._destinations: Destinations
        self._revisions = ""

    def decided(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> str:
        """Spell a decision.

        Args:    payload: what the facts' identifiers lie in; None: they have no digests.
        """
        if epoch is not self._epoch:
            self._enter(epoch)
        facts = judged.facts
        transport, client, destination = facts.key
        name = self._clients[client.address]
        host, to = self._destinations.spelled(facts)
        # Brackets are for the port's sake, as in FlowKey's text.
        to_whom = f"{host}:{destination.port}" if transport.has_ports else host.strip("[]")
        return (
            f'{{"time":"{self._time()}","client":"{name}",'
            f'"flow":"{transport} {name} > {to_whom}",'
            f'"facts":{{{self._content(facts.content, payload)},"names":{self._names(facts.names)},'
            f'"to":{to}}},'
            f'"verdict":{self._verdicts[judged.verdict]},{self._revisions}}}\n'
        )

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> str:
        """Spell that a verdict could not be carried out."""
        destination = str(key.destination) if key.transport.has_ports else key.destination.host
        head = self._head(key.client, f"{key.transport} ", destination)
        not_carried = to_json(reason)
        return f'{head},"verdict":{self._verdicts[verdict]},"not_carried":{not_carried}}}\n'

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> str:
        """Spell that a name was refused before it was resolved."""
        head = self._head(client, "", self._pseudonyms.name(name))
        facts = f'{{"names":{self._names((name,))}}}'
        return f'{head},"facts":{facts},"verdict":{self._verdicts[verdict]}}}\n'

    def leaked(self, key: FlowKey, leak: Leak) -> str:
        """Spell that a flow shows identifiers by value, or is one of a sweep."""
        destination = str(key.destination) if key.transport.has_ports else key.destination.host
        head = self._head(key.client, f"{key.transport} ", destination)
        shown = [
            {"kind": str(one.kind), "offset": one.offset, "length": one.length}
            for one in leak.identifiers
        ]
        account = {"found": str(leak.found), "plaintext": shown}
        return f'{head},"leak":{to_json(account)}}}\n'

    def event(self, kind: str, account: Mapping[str, object]) -> str:
        """Spell what happened to the log itself, or a canary's outcome."""
        return f'{{"time":"{self._time()}","{kind}":{to_json(account)}}}\n'

    def _head(self, client: Endpoint, transport: str, destination: str) -> str:
        name = self._clients[client.address]
        flow = to_json(f"{transport}{name} > {destination}")
        return f'{{"time":"{self._time()}","client":"{name}","flow":{flow}'

    def _enter(self, epoch: Epoch) -> None:
        self._epoch, self._destinations = epoch, Destinations(epoch)
        policy, data = to_json(epoch.policy.revision), to_json(epoch.atlas.revision)
        self._revisions = f'"policy":{policy},"data":{data}'
        self._verdicts.clear()  # they carry their epoch's number

    def _time(self) -> str:
        now = self._now()
        if not self._time_from <= now < self._time_until:  # it may go backwards too
            self._time_from = now.replace(microsecond=now.microsecond // 1000 * 1000)
            self._time_until = self._time_from + _MILLISECOND
            self._time_text = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return self._time_text

    def _content(self, content: Content | None, payload: bytes | None) -> str:
        if content is None:
            return _UNSEEN
        message = self._messages[content.protocol, content.message, content.traffic]
        found = content.plaintext
        if not found:
            return message + ("null" if found is None else "[]")
        if payload is None:
            texts = [
                f'{{"kind":"{one.kind}","offset":{one.offset},"length":{one.length}}}'
                for one in found
            ]
        else:
            digest = self._pseudonyms.identifier
            texts = [
                f'{{"kind":"{one.kind}","offset":{one.offset},"length":{one.length},'
                f'"digest":"{digest(payload[one.offset : one.offset + one.length])}"}}'
                for one in found
            ]
        return f"{message}[{','.join(texts)}]"

    def _names(self, names: tuple[str, ...]) -> str:
        return to_json_array(map(self._pseudonyms.name, names)) if names else "[]"


def _message(message: _Message) -> str:
    protocol, name, traffic = message
    texts = to_json(str(protocol)), to_json(name or None), to_json(traffic and str(traffic))
    return '"protocol":{},"message":{},"traffic":{},"plaintext":'.format(*texts)


def _verdict(verdict: Verdict) -> str:
    return to_json(verdict_account(verdict))
