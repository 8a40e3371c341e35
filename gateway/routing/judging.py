"""One process's share of the judging.  Owns: a queue, its judge, and what of it Python carries.
Knows: the kernel room, the transparent listeners, Twisted's reactor.  Never: rules, other shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from gateway.core import Core
from gateway.errors import CarryError
from gateway.kernel import conntrack
from gateway.kernel.judge import Hands, Judge
from gateway.kernel.nfqueue import QueueSocket
from gateway.kernel.queue_counts import queue_counts
from gateway.kernel.replies import Replies
from gateway.listeners.interfaces import Wiring
from gateway.listeners.transparent_udp import TransparentUdp
from gateway.model import FlowKey, Verdict
from gateway.routing.targets import Targets

_log = Logger(namespace="gateway.routing")

# Flows that say too little are looked for this often.
_EXPIRE_S = 1.0


class Judging:
    """Judges what one queue asks."""

    def __init__(
        self,
        reactor: Any,
        core: Core,
        wiring: Wiring,
        targets: Targets,
        turned: Callable[[], object],
    ) -> None:
        """Build it; the queue opens with `start`.

        Args:    turned: learns that a flow which the kernel let go shall go so no more.
        """
        self._reactor = reactor
        self._core = core
        self._targets = targets
        self._turned = turned
        self._replies = Replies()
        self._udp = TransparentUdp(wiring, self._replies.send)
        self._judge: Judge | None = None
        self._queue: QueueSocket | None = None
        self._number = 0
        self._expiry = LoopingCall(self._expire)
        self._expiry.clock = reactor
        # What the kernel was told to let pass is asked about again.
        core.table.on_turned.append(self._ask_again)
        self._not_forgotten = 0
        self._handed = 0
        # The last that was seen of the queue: what is signed at the end comes after its end.
        self._of_queue: Mapping[str, int] = {}
        self._asked: Mapping[str, int] = {}

    def start(self, queue: int, epoch: int) -> None:
        """Open the queue; the rules that fill it must be there already.

        Args:    epoch: of the marks.
        Raises:  CarryError: another process holds it, or this one may not.
        """
        hands = Hands(
            carry=self._carry, forget=self._forget, answer=self._answer, turned=self._turned
        )
        self._judge = Judge(
            self._core.table,
            hands,
            self._reactor.seconds,
            epoch=epoch,
            targets=self._targets.by_name,
            proxy=self._targets.proxy,
        )
        self._number = queue
        self._queue = QueueSocket([queue], self._judge.judge, batch=self)
        self._reactor.addReader(self._queue)
        self._expiry.start(_EXPIRE_S, now=False)

    def adopt(self, epoch: int) -> None:
        """Go over to another epoch of the marks, right after the rules did."""
        if self._judge is not None:
            self._judge.adopt(epoch)

    def pause(self) -> None:
        """Let packets wait in the kernel's queue, while the rules change under another process."""
        if self._queue is not None:
            self._reactor.removeReader(self._queue)

    def resume(self) -> None:
        """Judge what waits."""
        if self._queue is not None:
            self._reactor.addReader(self._queue)

    def rejudge(self) -> None:
        """Judge what Python carries by the policy that has just come into force."""
        self._udp.rejudge()

    def stop(self) -> Deferred[None]:
        """Close the queue: what asks from here on is dropped.  Fires when all is closed."""
        if self._expiry.running:
            self._expiry.stop()
        if self._queue is not None:
            self._reactor.removeReader(self._queue)
            self._look(self._queue)
            self._account(self._queue)
            self._queue.close()
            self._queue = None
        stopped = self._udp.stop()
        self._replies.close()
        return stopped

    @property
    def counters(self) -> Mapping[str, int]:
        """What was judged and carried so far, by name."""
        return dict(self._counted())

    def _counted(self) -> Iterator[tuple[str, int]]:
        yield from self._udp.counters.items()
        if self._judge is not None:
            yield from ((f"judge: {name}", n) for name, n in self._judge.counters.items())
        if self._queue is not None:
            self._look(self._queue)
        yield from self._of_queue.items()
        yield from ((f"replies: {name}", n) for name, n in self._replies.counters.items())
        yield "conntrack: not forgotten", self._not_forgotten

    @property
    def packets(self) -> Mapping[str, int]:
        """Where the packets that were asked about went, and then those that Python carries."""
        if self._queue is not None:
            self._account(self._queue)
        return {**self._udp.packets, **self._asked}

    def _account(self, queue: QueueSocket) -> None:
        assert self._judge is not None, "there is a queue"
        held = self._judge.held + queue.in_hand
        proxy = self._targets.proxy
        answered = queue.answered.counts(handed=self._handed, held=held, proxy=proxy)
        asked = {"packets: in": queue.counters["packets"], **answered}
        self._asked = {f"queue: {name}": count for name, count in asked.items()}

    def _look(self, queue: QueueSocket) -> None:
        counts = {f"queue: {name}": count for name, count in queue.counters.items()}
        self._of_queue = {**counts, **queue_counts(self._number)}

    def begin(self) -> None:
        """Batch API: its decisions are written down together."""
        self._core.witness.begin_batch()

    def end(self) -> bool:
        """Batch API: no verdict leaves before it is written down, if it must be."""
        return self._core.end_batch()

    def _carry(self, key: FlowKey, payload: bytes, verdict: Verdict) -> None:
        if self._core.witness.flush():
            self._handed += 1
            self._udp.carry(key, payload, verdict)

    def _expire(self) -> None:
        assert self._judge is not None
        self._judge.expire()

    def _answer(self, queue: int, number: int, answer: int) -> None:
        if self._queue is not None:
            self._queue.answer(queue, number, answer)

    def _ask_again(self, key: FlowKey) -> None:
        if self._queue is not None:
            self._turned()
            self._forget(key)

    def _forget(self, key: FlowKey) -> None:
        try:
            conntrack.forget_flow(key)
        except CarryError as error:
            # The flow stays where it is, and its packets are dropped: it is not moved, nor leaked.
            if not self._not_forgotten:
                _log.error("{reason}", reason=str(error))
            self._not_forgotten += 1
