"""Records, plainly.  Owns: what a line of the decision log has to be, by json.dumps of the account.
Knows: flow.account.  Never: quick; the lines of gateway.evidence.lines are compared with these."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

from gateway.flow.account import Account, facts_account, verdict_account
from gateway.flow.epoch import Epoch
from gateway.flow.table import Judged
from gateway.model import Endpoint, FlowKey, Verdict


class PlainRecords:
    """Gives records as JSON objects."""

    def __init__(self, key: bytes, now: datetime) -> None:
        self.key = key
        self.time = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def decided(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> Account:
        """Give the record of a decision: the account, without what could name a person."""
        facts = judged.facts
        key, content = facts.key, facts.content
        evidence = epoch.atlas.evidence(key.destination.address, widest=False)
        account = facts_account(epoch, facts, evidence)
        account["names"] = [self.name(name) for name in account["names"]]
        if content is not None and content.plaintext and payload is not None:
            for described, found in zip(account["plaintext"], content.plaintext, strict=True):
                octets = payload[found.offset : found.offset + found.length]
                described["digest"] = self.digest(octets, b"identifier", 8)
        return {
            **self.head(key.client, f"{key.transport} ", _destination(key)),
            "facts": account,
            "verdict": verdict_account(judged.verdict),
            "policy": epoch.policy.revision,
            "data": epoch.atlas.revision,
        }

    def not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> Account:
        """Give the record of a verdict that could not be carried out."""
        return {
            **self.head(key.client, f"{key.transport} ", _destination(key)),
            "verdict": verdict_account(verdict),
            "not_carried": reason,
        }

    def barred(self, client: Endpoint, name: str, verdict: Verdict) -> Account:
        """Give the record of a name that was refused before it was resolved."""
        named = self.name(name)
        return {
            **self.head(client, "", named),
            "facts": {"names": [named]},
            "verdict": verdict_account(verdict),
        }

    def head(self, client: Endpoint, transport: str, destination: str) -> Account:
        """Give what all records begin with."""
        name = "c-" + self.digest(client.address, b"client", 5)
        return {"time": self.time, "client": name, "flow": f"{transport}{name} > {destination}"}

    def name(self, name: str) -> str:
        """Give a host name, all but its last two labels as a digest."""
        labels = name.split(".")
        if len(labels) <= 2:
            return name
        left = ".".join(labels[:-2]).encode("utf-8", "surrogateescape")
        return ".".join([self.digest(left, b"name", 5), *labels[-2:]])

    def digest(self, octets: bytes, person: bytes, size: int) -> str:
        """Give a keyed digest."""
        return hashlib.blake2b(octets, key=self.key, person=person, digest_size=size).hexdigest()


def _destination(key: FlowKey) -> str:
    """Give a flow's destination as its text has it: with its port, if there are any."""
    return str(key).rpartition(" > ")[2]


def line(record: Account) -> str:
    """Give a record as its line."""
    return json.dumps(record, separators=(",", ":")) + "\n"
