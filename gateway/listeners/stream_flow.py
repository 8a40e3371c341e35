"""Which flow a stream is, and what the policy says of it.  Owns: StreamFlow.
Knows: the gate.  Never: carrying the verdict out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from gateway.listeners.interfaces import Gate
from gateway.model import Action, FlowKey, Verdict


class StreamFlow:
    """A stream's flow with its newest verdict, and the flows that it may be instead."""

    def __init__(
        self,
        gate: Gate,
        key: FlowKey,
        verdict: Verdict,
        names: tuple[str, ...] = (),
        others: Iterable[FlowKey] = (),
    ) -> None:
        """Begin with an address that was judged.

        Args:    verdict: of `key` without payload; names: what the client called it; others: what
                 may be dialled, if it is allowed too, where `key` does not answer.
        """
        self.key = key
        self.verdict = verdict
        self.is_over = False
        self._gate = gate
        self._names = names
        self._others = deque(others)

    @property
    def is_stale(self) -> bool:
        """Whether another policy than the one in force gave the verdict."""
        return self.verdict.epoch != self._gate.epoch_number

    def judge(self, first: bytes | None) -> bool:
        """Ask again, by these first bytes; tell whether the new verdict's way is the old one's."""
        before, self.verdict = self.verdict, self._gate.judge(self.key, first, self._names)
        return (before.action, before.target) == (self.verdict.action, self.verdict.target)

    def take_next(self, is_judged: bool, first: bytes | None) -> bool:
        """Turn to the name's next address that may be dialled; False: there is none.

        Args:    is_judged: whether a verdict that waits for first bytes will not do; first: those
                 that are judged already.
        """
        while self._others:
            key = self._others.popleft()
            verdict = self._gate.judge(key, first, self._names)
            if verdict.action is Action.BLOCK or (is_judged and not verdict.settled):
                self._gate.forget(key)
                continue
            self._gate.forget(self.key)
            self.key, self.verdict = key, verdict
            return True
        return False

    def end(self) -> None:
        """Let the gate forget it; may be called twice."""
        if not self.is_over:
            self.is_over = True
            self._gate.forget(self.key)
