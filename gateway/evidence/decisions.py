"""The decision log.  Owns: one JSON line a decision, appended to a file.
Knows: RFC 3339 (time), RFC 8259 (JSON).  Never: payload octets, clients' addresses, identifiers."""

from __future__ import annotations

import datetime
import errno
import json
import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from twisted.logger import Logger

from gateway.errors import DataError
from gateway.evidence.pseudonyms import KEY_LEN, Pseudonyms
from gateway.flow.account import Account, facts_account, verdict_account
from gateway.flow.epoch import Epoch
from gateway.flow.table import Judged
from gateway.model import Endpoint, Evidence, FlowKey, Verdict

_log = Logger(namespace="gateway.evidence")

# Destinations whose evidence is kept at hand: a client's edges are few, and meet again and again.
_MAX_EVIDENCE = 4_096


class DecisionLog:
    """Appends decisions to DIRECTORY/decisions.jsonl."""

    def __init__(
        self, directory: Path, pseudonyms: Pseudonyms, now: Callable[[], datetime.datetime]
    ) -> None:
        """Open the log.

        Args:    now: the time of day, UTC.
        Raises:  DataError: the directory or file cannot be made or written.
        """
        self.path = directory / "decisions.jsonl"
        self._pseudonyms = pseudonyms
        self._now = now
        self._evidence: OrderedDict[bytes, tuple[Evidence, ...]] = OrderedDict()
        self._data = ""
        self._failing = False
        self._torn = False
        self.written = 0
        self.lost = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a record is on its way to the disk before its packet is on its way out.
            # Its owner's only: who was where is in it, if under other names.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file: BinaryIO = os.fdopen(os.open(self.path, flags, 0o600), "ab", buffering=0)
        except OSError as error:
            raise DataError(str(self.path), str(error.strerror), "a writable file") from error

    def write(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> bool:
        """Append one decision; False if it could not be written (a full disk)."""
        return self._write(self.record(epoch, judged, payload))

    def write_not_carried(self, key: FlowKey, verdict: Verdict, reason: str) -> bool:
        """Append that a verdict could not be carried out, and so was a block."""
        return self._write(
            {
                **self._head(key.client, f"{key.transport} {{client}} > {key.destination}"),
                "verdict": verdict_account(verdict),
                "not_carried": reason,
            }
        )

    def write_barred(self, client: Endpoint, name: str, verdict: Verdict) -> bool:
        """Append that a name was refused before it was resolved."""
        named = self._pseudonyms.name(name)
        return self._write(
            {
                **self._head(client, f"{{client}} > {named}"),
                "facts": {"names": [named]},
                "verdict": verdict_account(verdict),
            }
        )

    def _head(self, client: Endpoint, flow: str) -> Account:
        pseudonym = self._pseudonyms.client(client.address)
        return {
            "time": self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "client": pseudonym,
            "flow": flow.format(client=pseudonym),
        }

    def _write(self, record: Account) -> bool:
        line = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        try:
            # After a torn record, a new line: what was half written must not swallow the next.
            self._append(b"\n" + line if self._torn else line)
        except OSError as error:
            self._fail(error)
            return False
        self._failing = self._torn = False
        self.written += 1
        return True

    def _append(self, line: bytes) -> None:
        written = self._file.write(line)
        if written != len(line):
            self._torn = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _fail(self, error: OSError) -> None:
        self.lost += 1
        if not self._failing:
            self._failing = True
            _log.error(
                "decision log {path} cannot be written: {reason}",
                path=str(self.path),
                reason=error.strerror,
            )

    def record(self, epoch: Epoch, judged: Judged, payload: bytes | None) -> Account:
        """Give the record of a decision: the account, without what could name a person."""
        facts, verdict = judged.facts, judged.verdict
        account = facts_account(
            epoch, facts, self._evidence_of(epoch, facts.key.destination.address)
        )
        account["names"] = [self._pseudonyms.name(name) for name in account["names"]]
        content = facts.content
        if content is not None and content.plaintext and payload is not None:
            for described, found in zip(account["plaintext"], content.plaintext, strict=True):
                octets = payload[found.offset : found.offset + found.length]
                described["digest"] = self._pseudonyms.identifier(octets)
        key = facts.key
        return {
            **self._head(key.client, f"{key.transport} {{client}} > {key.destination}"),
            "facts": account,
            "verdict": verdict_account(verdict),
            "policy": epoch.policy.revision,
            "data": epoch.atlas.revision,
        }

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _evidence_of(self, epoch: Epoch, address: bytes) -> tuple[Evidence, ...]:
        if self._data != epoch.atlas.revision:
            self._data = epoch.atlas.revision
            self._evidence.clear()
        evidence = self._evidence.get(address)
        if evidence is None:
            if len(self._evidence) >= _MAX_EVIDENCE:
                self._evidence.popitem(last=False)
            evidence = self._evidence[address] = epoch.atlas.evidence(address, widest=False)
        return evidence


def load_key(directory: Path, random: Callable[[int], bytes]) -> bytes:
    """Read the pseudonym key of a directory, or make one that only its owner can read.

    Raises:  DataError: the file cannot be read or made, or has another length.
    """
    path = directory / "pseudonym.key"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(random(KEY_LEN))
        key = path.read_bytes()
    except OSError as error:
        raise DataError(
            str(path), str(error.strerror), f"a key file of {KEY_LEN} octets"
        ) from error
    if len(key) != KEY_LEN:
        raise DataError(str(path), f"has {len(key)} octets", f"{KEY_LEN}")
    return key
