"""Lines of the decision log.  Owns: what is rare → its record, one line of JSON text; the parts of
a decision's record.  Knows: flow.account, whose JSON it spells; RFC 3339 (time).
Never: files; payload octets, clients' addresses, identifiers."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping

from gateway.evidence.pseudonyms import Pseudonyms
from gateway.evidence.texts import to_json, to_json_array
from gateway.flow.account import verdict_account
from gateway.flow.epoch import Epoch
from gateway.flow.guard import Leak
from gateway.model import Endpoint, FlowKey, Identifier, Protocol, Traffic, Verdict

Message = tuple[Protocol, str, Traffic | None]


class Lines:
    """Spells records, each with its line's end."""

    def __init__(self, pseudonyms: Pseudonyms, now: Callable[[], datetime.datetime]) -> None:
        """Begin; `now` gives the time of day, UTC."""
        self._pseudonyms = pseudonyms
        self._now = now

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> str:
        """Spell that a verdict could not be carried out."""
        destination = str(key.destination) if key.transport.has_ports else key.destination.host
        head = self._head(key.client, f"{key.transport} ", destination)
        not_carried = to_json(reason)
        return f'{head},"verdict":{verdict_text(verdict)},"not_carried":{not_carried}}}\n'

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> str:
        """Spell that a name was refused before it was resolved."""
        head = self._head(client, "", self._pseudonyms.name(name))
        facts = f'{{"names":{self._names((name,))}}}'
        return f'{head},"facts":{facts},"verdict":{verdict_text(verdict)}}}\n'

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

    def entered(self, epoch: Epoch) -> str:
        """Spell that a policy with its data came into force."""
        policy = epoch.policy
        account = {"number": epoch.number, "name": policy.name, "mode": str(policy.mode)}
        return (
            f'{{"time":"{self._time()}","epoch":{to_json(account)},'
            f'"policy":{to_json(policy.revision)},"data":{to_json(epoch.atlas.revision)}}}\n'
        )

    def event(self, kind: str, account: Mapping[str, object]) -> str:
        """Spell what happened to the log itself, or a canary's outcome."""
        return f'{{"time":"{self._time()}","{kind}":{to_json(account)}}}\n'

    def _head(self, client: Endpoint, transport: str, destination: str) -> str:
        name = self._pseudonyms.client(client.address)
        flow = to_json(f"{transport}{name} > {destination}")
        return f'{{"time":"{self._time()}","client":"{name}","flow":{flow}'

    def _time(self) -> str:
        return self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _found(self, found: tuple[Identifier, ...], payload: bytes | None) -> str:
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
        return f"[{','.join(texts)}]"

    def _names(self, names: tuple[str, ...]) -> str:
        return to_json_array(map(self._pseudonyms.name, names)) if names else "[]"


def message_text(message: Message) -> str:
    """Spell what a payload is, up to what is found in it."""
    protocol, name, traffic = message
    texts = to_json(str(protocol)), to_json(name or None), to_json(traffic and str(traffic))
    return '"protocol":{},"message":{},"traffic":{},"plaintext":'.format(*texts)


def verdict_text(verdict: Verdict) -> str:
    """Spell a verdict."""
    return to_json(verdict_account(verdict))
