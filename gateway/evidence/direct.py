"""The log, written at once.  Owns: entries spelled and given to the journal in the same process.
Knows: the journal.  Never: what a record says.

For processes that decide little (the demo, tests): one that decides much spools (spool)."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from gateway.evidence.entries import Decision, entries
from gateway.evidence.files import LogFiles
from gateway.evidence.journal import Journal, Proving
from gateway.evidence.spelling import Spelling

# Texts that are remembered; then they are told again.
_MAX_TEXTS = 16_384


class Direct(Journal):
    """A journal that takes entries (decisions.Sink)."""

    def __init__(
        self,
        files: LogFiles,
        now: Callable[[], datetime.datetime],
        proving: Proving,
        on_begin: Callable[[], None],
    ) -> None:
        """Open it, as a journal; `on_begin` is called when texts have to be told again."""
        super().__init__(files, now, proving)
        self._on_begin = on_begin
        self._spelling = Spelling(str(files.current))
        self._texts = 0

    def say(self, entry: bytes) -> None:
        """Take a text that entries rest on."""
        for _, text in entries(entry, "the log"):
            assert isinstance(text, str), "only texts are told"
            self._spelling.take(text)
        self._texts += 1

    def gather_entries(self, pieces: list[bytes], count: int) -> None:
        """Take so many decisions' entries, in pieces."""
        for _, decision in entries(b"".join(pieces), "the log"):
            assert isinstance(decision, Decision), "it is a decision"
            self.gather(self._spelling.line(decision))

    def hand_over(self) -> int:
        """Write the records that wait, as a journal."""
        if self._texts >= _MAX_TEXTS:
            self._texts = 0
            self._spelling.begin()
            self._on_begin()
        return super().hand_over()
