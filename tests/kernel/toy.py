"""A toy gateway for the lab: the kernel room, and a gate that says what a test tells it.
Owns: its rules, its queue, a thread that judges.  Knows: the room's parts.  Never: Twisted's
reactor, a real policy."""

from __future__ import annotations

import os
import select
import threading
import time
from dataclasses import replace
from typing import Any

from gateway.kernel import conntrack, nft, routes
from gateway.kernel.first_octets import FirstOctetsLimits
from gateway.kernel.judge import Hands, Judge, Target
from gateway.kernel.nfqueue import QueueSocket
from gateway.kernel.queue_messages import Queued
from gateway.kernel.replies import Replies
from gateway.kernel.router import Relay, Router
from gateway.model import Action, Endpoint, FlowKey, Verdict
from tests.lab.topology import Lab, Space

ALLOW = Verdict(Action.ALLOW, "toy", "")
BLOCK = Verdict(Action.BLOCK, "toy", "")
REFUSE = Verdict(Action.BLOCK, "toy", "", "refuse")
RELAYED = Verdict(Action.REROUTE, "toy", "", "relay")
BY_EXIT = Verdict(Action.REROUTE, "toy", "", "exit")
WRAP = Verdict(Action.WRAP, "toy", "", "nearest")
UNSETTLED = Verdict(Action.BLOCK, "toy", "", settled=False)
RELAY = Relay(1, Endpoint.parse("203.0.113.9:4001"), Endpoint.parse("[2001:db8:e::9]:4001"))


class Gate:
    """Judges by the last octet of the destination."""

    def __init__(self) -> None:
        self.verdicts = {1: ALLOW, 2: RELAYED, 3: BLOCK, 4: UNSETTLED, 5: ALLOW, 6: WRAP,
                         7: BY_EXIT, 8: REFUSE}  # fmt: skip
        """All else is blocked."""
        self._said: dict[FlowKey, Verdict] = {}
        """By what streams said first."""

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        """Gate API."""
        verdict = self.verdicts.get(key.destination.address[-1], BLOCK)
        if verdict is UNSETTLED and payload is not None:
            self._said[key] = ALLOW if payload.startswith(b"good") else BLOCK
        return self._said.get(key, verdict)

    def wants_more(self, first: bytes) -> bool:
        """Gate API."""
        return len(first) < 4

    def begins(self, key: FlowKey) -> None:
        """Gate API."""
        self._said.pop(key, None)


class Toy:
    """Everything put together, in the lab's gateway."""

    def __init__(self, lab: Lab, **options: Any) -> None:
        """Put the rules up and judge, until `stop`.

        Args:    options: of Router.
        """
        self.gate = Gate()
        self.asked: list[Queued] = []
        """What came to the queue."""
        self.forgotten: list[FlowKey] = []
        """What conntrack has been told to forget."""
        self.late_s = 0.0
        """How far ahead the judge's clock is."""
        self.table = nft.Nft()
        self.replies = Replies()
        self._lab = lab
        self.turn = threading.Lock()
        """Who holds it keeps the judge waiting."""
        has_nft_queue = lab.call(Space.GATEWAY, nft.has_queue)
        self.router = Router(**{
            "clients": ("clients",), "epoch": 1, "has_nft_queue": has_nft_queue,
            "relays": (RELAY,), "spot_check": 0, **options,
        })  # fmt: skip
        targets = {"relay": Target(1, RELAY.octets)}
        for one in self.router.exits:
            targets["exit"] = Target(one.target, carries_all=True)
        hands = Hands(carry=self._carry, forget=self._forget, answer=self._answer)
        self.judge = Judge(self.gate, hands, lambda: time.monotonic() + self.late_s,
                           epoch=self.router.epoch, targets=targets,
                           limits=FirstOctetsLimits(packets=4))  # fmt: skip
        self._bell = os.eventfd(0)
        lab.call(Space.GATEWAY, self._open)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def change(self, **options: Any) -> None:
        """Go over to another desired state."""
        self.prepared(**options)()

    def prepared(self, **options: Any) -> Any:
        """Load another desired state; what this gives puts it into force."""
        router = replace(self.router, **options)
        prepared = self._lab.call(Space.GATEWAY, lambda: self.table.prepare(router))

        def commit() -> None:
            with self.turn:  # as on the reactor: nothing is judged in between
                self._lab.call(Space.GATEWAY, lambda: self.table.commit(prepared))
                self.router = router
                self.judge.adopt(router.epoch)
            self._lab.call(Space.GATEWAY, self.table.tidy)

        return commit

    def expire(self) -> None:
        """Give up the streams that say too little for too long."""
        with self.turn:
            self.judge.expire()

    def stop(self) -> None:
        """Judge no more; the rules stay.  May be called twice."""
        if self._thread.is_alive():
            os.eventfd_write(self._bell, 1)
            self._thread.join()
            os.close(self._bell)
            self.queue.close()
            self.replies.close()

    def _open(self) -> None:
        self.table.apply(self.router)
        routes.apply(routes.desired(self.router))
        self.queue = QueueSocket([self.router.queues.first], self._judged)

    def _run(self) -> None:
        self._lab.enter(Space.GATEWAY)
        poll = select.poll()
        poll.register(self.queue, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        while all(descriptor != self._bell for descriptor, _ in poll.poll()):
            with self.turn:
                self.queue.doRead()

    def _judged(self, queued: Queued) -> int | None:
        self.asked.append(queued)
        return self.judge.judge(queued)

    def _answer(self, queue: int, number: int, answer: int) -> None:
        self.queue.answer(queue, number, answer)

    def _forget(self, key: FlowKey) -> None:
        conntrack.forget_flow(key)
        self.forgotten.append(key)

    def _carry(self, key: FlowKey, payload: bytes, verdict: Verdict) -> None:
        self.replies.send(key.destination, key.client, b"wrapped " + payload)
