"""Entries as records.  Owns: an entry → its record, one line of JSON text.
Knows: flow.account, whose JSON it spells; RFC 3339 (time).  Never: files, deciding; anything that
is not in the entries."""

from __future__ import annotations

import datetime

from gateway.errors import DataError
from gateway.evidence.entries import NO_TEXT, Decision
from gateway.evidence.memo import Memo
from gateway.evidence.pseudonyms import client_name
from gateway.evidence.texts import PREFIX_GAP, UNSEEN, host_text, prefix_text
from gateway.model import Transport

_MAX_TIMES = 1_024
_MAX_ADDRESSES = 16_384

_BEGIN = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)
_TRANSPORTS = tuple(Transport)


class Spelling:
    """Spells the records of one spool, each with its line's end."""

    def __init__(self, where: str) -> None:
        """Begin; `where` is the place that entries are from."""
        self._where = where
        self._texts: list[str] = []
        self._times = Memo(_time, _MAX_TIMES)
        self._evidence = Memo(self._words, _MAX_ADDRESSES)

    def begin(self) -> None:
        """Forget all texts: another spool begins."""
        self._texts.clear()
        self._evidence.clear()

    def take(self, text: str) -> None:
        """Take the next text."""
        self._texts.append(text)

    def line(self, one: Decision) -> str:
        """Spell a decision.

        Raises:  DataError: it rests on a text that was never told.
        """
        try:
            return self._line(one)
        except (IndexError, ValueError, OverflowError) as error:
            raise DataError(self._where, "has a decision that is none", str(error)) from error

    def _line(self, one: Decision) -> str:
        texts, transport = self._texts, _TRANSPORTS[one.transport]
        name, address = client_name(one.client), one.destination.address
        host = host_text(address)
        flow_host = f"[{host}]" if len(address) == 16 and transport.has_ports else host
        port = f":{one.port}" if transport.has_ports else ""
        content = UNSEEN if one.content == NO_TEXT else texts[one.content]
        if content.endswith(":"):
            content += one.plaintext.decode("ascii") or "[]"
        return (
            f'{{"time":"{self._times[one.time_ms]}","client":"{name}",'
            f'"flow":"{transport} {name} > {flow_host}{port}",'
            f'"facts":{{{content},"names":{one.names.decode("ascii") or "[]"},'
            f'"to":{{"address":"{host}","jurisdictions":{texts[one.member]},'
            f'"evidence":{self._evidence[one.destination]}{texts[one.doubts]}}},'
            f'"verdict":{texts[one.verdict]},{texts[one.revisions]}}}\n'
        )

    def _words(self, whose: tuple[int, bytes, bytes, bytes]) -> str:
        words, _, first, last = whose
        text = self._texts[words]
        return text.replace(PREFIX_GAP, prefix_text(first, last)) if first else text


def _time(time_ms: int) -> str:
    time = _BEGIN + time_ms * _MILLISECOND
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
