"""Following live.  Owns: who follows, what each has seen, and when the next events go out.
Knows: server-sent events (HTML Living Standard section 9.2).
Never: what the events tell; a queue: who is slow misses what was in between, and gets the newest.

    1. Once a second, while somebody follows, each part is asked for and spelled.
    2. A part whose text has changed gets the next number.
    3. Each follower that takes what it is given gets the parts with a number above its last one.

An event's id is "RUN-NUMBER"; RUN tells this process from one before it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from gateway.console.guarding import Refusal
from gateway.flow.account import Account

_log = Logger(namespace="gateway.console")

MOST_FOLLOWERS = 16
BATCH_S = 1.0
# Below the idle timeouts of proxies, which begin at 30 s.
_HEARTBEAT_S = 15.0
# A phone that sleeps comes again by itself.
_PATIENCE_S = 20.0

Part = Callable[[], Deferred[Account]]
"""Fires with a JSON object."""


@dataclass(slots=True)
class _Version:
    number: int
    text: str


class Live:
    """Sends what has changed to whoever follows."""

    def __init__(self, reactor: Any, parts: Mapping[str, Part], run: str) -> None:
        """Begin.

        Args:    reactor: gives the time (IReactorTime); parts: by the event's name; run: tells this
                 process from others, without "-".
        """
        self._seconds: Callable[[], float] = reactor.seconds
        self._parts = parts
        self._run = run
        self._number = 0
        self._versions: dict[str, _Version] = {}
        self._followers: list[_Follower] = []
        self._batches = LoopingCall(self._batch)
        self._batches.clock = reactor

    @property
    def followers(self) -> int:
        """How many follow."""
        return len(self._followers)

    def follow(self, request: Request) -> Deferred[None]:
        """Send events from now on; what its Last-Event-ID says it has seen is not sent again.

        Returns: fires when it is over.
        Raises:  Refusal: too many follow already.
        """
        if len(self._followers) >= MOST_FOLLOWERS:
            request.setHeader("Retry-After", "10")
            sentence = f"{MOST_FOLLOWERS} follow already; ask again later"
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, sentence)
        run, _, number = (request.getHeader("last-event-id") or "").partition("-")
        is_ours = run == self._run and number.isascii() and number.isdigit() and len(number) < 16
        follower = _Follower(request, int(number) if is_ours else 0, self._seconds())
        self._followers.append(follower)
        follower.ended.addBoth(self._gone, follower)
        request.setHeader("Content-Type", "text/event-stream")
        request.setHeader("X-Accel-Buffering", "no")
        request.write(b"retry: 3000\n\n")
        if not self._batches.running:
            self._batches.start(BATCH_S).addErrback(_tell)
        elif self._versions:
            follower.take(self._unseen(follower), self._number, self._seconds())
        return follower.ended

    def stop(self) -> None:
        """Send nothing more; the connections are cut by whoever has them."""
        if self._batches.running:
            self._batches.stop()

    def _gone(self, _result: object, follower: _Follower) -> None:
        self._followers.remove(follower)
        if not self._followers:
            self.stop()

    async def _gather(self) -> None:
        for name, part in self._parts.items():
            text = json.dumps(await part(), separators=(",", ":"))
            known = self._versions.get(name)
            if known is None or known.text != text:
                self._number += 1
                self._versions[name] = _Version(self._number, text)

    def _batch(self) -> Deferred[None]:
        gathered = Deferred.fromCoroutine(self._gather())
        # Whatever it is, the next batch must come.
        return gathered.addErrback(_tell).addCallback(lambda _: self._send())

    def _send(self) -> None:
        now_s = self._seconds()
        for follower in tuple(self._followers):
            follower.take(self._unseen(follower), self._number, now_s)

    def _unseen(self, follower: _Follower) -> bytes:
        events = [
            f"id: {self._run}-{one.number}\nevent: {name}\ndata: {one.text}\n\n"
            for name, one in sorted(self._versions.items(), key=lambda each: each[1].number)
            if one.number > follower.seen
        ]
        return "".join(events).encode()


@implementer(IPushProducer)
class _Follower:
    """One who follows: whose transport says when it has had enough."""

    def __init__(self, request: Request, seen: int, now_s: float) -> None:
        self.ended: Deferred[None] = Deferred()
        self.seen = seen
        self._request = request
        self._said_s = self._took_s = now_s
        self._is_full = False
        request.notifyFinish().addBoth(self._finished)
        self._abort: Callable[[], None] = request.channel.forceAbortClient
        request.registerProducer(self, True)

    def take(self, events: bytes, number: int, now_s: float) -> None:
        """Take events up to a number, or a heartbeat if it is time, or be cut for being slow."""
        if self._is_full:
            if now_s - self._took_s > _PATIENCE_S:
                self._abort()
            return
        self._took_s = now_s
        if not events and now_s - self._said_s < _HEARTBEAT_S:
            return
        self._said_s, self.seen = now_s, number
        self._request.write(events or b": still here\n\n")

    def pauseProducing(self) -> None:
        """IPushProducer API."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """IPushProducer API."""
        self._is_full = False

    def stopProducing(self) -> None:
        """IPushProducer API: `notifyFinish` says so too."""

    def _finished(self, _result: object) -> None:
        if not self.ended.called:
            self.ended.callback(None)


def _tell(failure: Failure) -> None:
    _log.failure("gathering what the console's pages follow failed", failure)
