"""A toy gateway for the lab: the whole room with a policy of a few lines, in a process of its own.
Owns: that policy, that process.  Knows: the room's parts, Twisted.  Never: imported by a test.

    python toy.py '{"proxy": 7000, "spot_check": 0, ...}'     SIGHUP: the next epoch, other policy
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import replace
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.task import LoopingCall

from gateway.kernel import conntrack, nft, routes
from gateway.kernel.judge import Hands, Judge, Target
from gateway.kernel.lock import Lock
from gateway.kernel.marks import next_epoch
from gateway.kernel.nfqueue import QueueSocket, kernel_states
from gateway.kernel.replies import Replies
from gateway.kernel.router import InterfaceExit, LocalProxy, Relay, Router
from gateway.model import Action, Endpoint, FlowKey, Transport, Verdict, pack
from gateway.wire import signature

DENIED = (
    (int.from_bytes(pack("198.51.100.0"), "big"), int.from_bytes(pack("198.51.100.255"), "big")),
)
DENIED6 = tuple(
    (int.from_bytes(pack(first), "big"), int.from_bytes(pack(last), "big"))
    for first, last in [("2001:db8:c::", "2001:db8:c::ffff")]
)
RELAY = Relay(1, Endpoint.parse("203.0.113.9:4001"), Endpoint.parse("[2001:db8:e::9]:4001"))


class Gate:
    """By the last octet of the destination: 1 and 5 allow (5 not in the second epoch), 2 and 9
    reroute (9 not in the second epoch: allow), 3 block, 4 by the first octets, 6 wrap;
    every signature is wrapped, but to 4."""

    def __init__(self) -> None:
        self.is_second = False
        self.asked = 0

    def judge(self, key: FlowKey, payload: bytes | None, names: tuple[str, ...] = ()) -> Verdict:
        self.asked += 1
        signed = key.transport is Transport.UDP and payload and signature(payload) is not None
        if signed and key.destination.address[-1] != 4:
            return Verdict(Action.WRAP, "wrap", "", "nearest")
        match key.destination.address[-1]:
            case 1:
                return Verdict(Action.ALLOW, "one", "")
            case 5 if not self.is_second:
                return Verdict(Action.ALLOW, "five", "")
            case 9 if self.is_second:
                return Verdict(Action.ALLOW, "nine", "")
            case 2 | 9:
                return Verdict(Action.REROUTE, "two", "", "relay")
            case 4 if key.transport is Transport.UDP:
                return Verdict(Action.ALLOW, "four", "")
            case 4 if payload is None:
                return Verdict(Action.BLOCK, "four", "", settled=False)
            case 4 if payload and payload.startswith(b"good"):
                return Verdict(Action.ALLOW, "four", "")
            case 6:
                return Verdict(Action.WRAP, "six", "", "nearest")
            case 7:
                return Verdict(Action.REROUTE, "seven", "", "wg")
        return Verdict(Action.BLOCK, "rest", "")

    def wants_more(self, first: bytes) -> bool:
        return len(first) < 4

    def judge_address(self, client: bytes, destination: bytes) -> Action:
        return Action.ALLOW if destination[-1] == 1 else Action.BLOCK


class Toy:
    """Everything put together."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.gate = Gate()
        self.replies = Replies()
        self.lock = Lock("gateway")
        self.lock.take()
        self.nft = nft.Nft()
        before = self.nft.installed()
        proxy = options.get("proxy")
        exit_by = options.get("exit")
        self.router = Router(
            clients=("clients",),
            epoch=next_epoch(before.epoch if before else 0),
            has_nft_queue=nft.has_queue(),
            denied4=DENIED,
            denied6=DENIED6,
            relays=(RELAY,),
            exits=(InterfaceExit(2, exit_by),) if exit_by else (),
            proxy=LocalProxy(3, proxy) if proxy else None,
            spot_check=options.get("spot_check", 0),
            masquerade=options.get("masquerade", False),
        )
        self.nft.apply(self.router)
        routes.apply(routes.desired(self.router))
        hands = Hands(carry=self.carry, forget=conntrack.forget_flow, answer=self.answer)
        targets = {"relay": Target(1, RELAY.octets)}
        if exit_by:
            targets["wg"] = Target(2)
        self.judge = Judge(
            self.gate,
            hands,
            cast(Any, _reactor).seconds,
            epoch=self.router.epoch,
            targets=targets,
            proxy=3 if proxy else None,
        )
        self.queue = QueueSocket([self.router.queues.first], self.judge.judge)
        cast(Any, _reactor).addReader(self.queue)
        LoopingCall(self.judge.expire).start(1.0)

    def answer(self, queue: int, number: int, answer: int) -> None:
        self.queue.answer(queue, number, answer)

    def carry(self, key: FlowKey, payload: bytes, verdict: Verdict) -> None:
        print("carried", key, payload.hex(), flush=True)
        self.replies.send(key.destination, key.client, b"wrapped " + payload[:4])

    def reload(self) -> None:
        """Go over to the next epoch: 5 is denied, by the gate in IPv6 and by the kernel in IPv4."""
        self.gate.is_second = True
        five = int.from_bytes(pack("192.0.2.5"), "big")
        self.router = replace(
            self.router,
            epoch=next_epoch(self.router.epoch),
            denied4=(*DENIED, (five, five)),
        )
        self.nft.apply(self.router)
        self.judge.adopt(self.router.epoch)
        print("epoch", self.router.epoch, flush=True)

    def report(self) -> None:
        print(
            json.dumps(
                {
                    "asked": self.gate.asked,
                    "queue": self.queue.counters,
                    "judge": self.judge.counters,
                    "kernel": [repr(one) for one in kernel_states()],
                }
            ),
            "reported",
            flush=True,
        )


def main() -> None:
    toy = Toy(json.loads(sys.argv[1]))
    run: Any = _reactor
    signal.signal(signal.SIGHUP, lambda *_: run.callFromThread(toy.reload))
    signal.signal(signal.SIGUSR1, lambda *_: run.callFromThread(toy.report))
    print("ready, epoch", toy.router.epoch, flush=True)
    run.run()


if __name__ == "__main__":
    main()
