"""The rules that ask.  Owns: the chains of prerouting: who need not ask, who dies unasked, and what
goes to the queue.  Knows: marks, nft(8).  Never: the forwarding chains.

One hook holds all of it, so that a packet of a known flow crosses no other."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.kernel import quick, signatures
from gateway.kernel.marks import (
    BLOCK,
    BLOCK_PLACE,
    CONTENT,
    DIRECT,
    EARLIER,
    EPOCH_MASK,
    JUDGE,
    PROVISIONAL,
    REFUSE,
    REFUSE_PLACE,
    TARGET_MASK,
    mark,
)
from gateway.kernel.phrases import KEEP_FLAGS, become, by_target, gain, has, lacks, shut, straight
from gateway.kernel.ranges import Ranges
from gateway.kernel.router import CANARIES, Queues, Router
from gateway.kernel.table import Chain
from gateway.model import unpack

ASKING, SAMPLED = "asking", "sampled"
"""The chains that lead to the queue: for what may not pass unanswered, and for spot checks."""

FAMILIES = ((4, "ip", "ipv4"), (6, "ip6", "ipv6"))
PLACE = "{ip} saddr . {ip} daddr . meta l4proto . th dport"
FLOW = "{ip} saddr . {ip} daddr . meta l4proto . th sport . th dport"
OTHER = "{ip} saddr . {ip} daddr . meta l4proto"
KEYS = {"places": PLACE, "flows": FLOW, "others": OTHER}
MANNERS = (("", "denied", BLOCK_PLACE, BLOCK), ("refused_", "refused", REFUSE_PLACE, REFUSE))
"""How a client learns of a block: prefix of the sets that remember it, the chain that does it, the
targets of a place and of a flow."""


def chains(router: Router) -> Iterator[Chain]:
    """Give the chains of prerouting that ask."""
    yield from _epochs_chains(router)
    yield Chain(ASKING, tuple(_to_queue(router, "")))
    yield Chain(SAMPLED, tuple(_to_queue(router, " flags bypass")))
    yield Chain("denied", tuple(_denied(router, BLOCK, ())))
    yield Chain("refused", tuple(_denied(router, REFUSE, REFUSAL)))
    yield Chain("known", tuple(_known(router)))
    yield Chain("handshake", tuple(_handshake(router)))
    yield Chain("question", tuple(_question(router)))
    yield from signatures.chains(router.signatures)
    yield Chain("errors", tuple(_errors()))
    yield Chain("unusual", tuple(_unusual()))
    yield Chain("from_clients", tuple(_from_clients(router)))
    yield Chain(quick.SLOW, tuple(_slow(router)))
    yield from quick.chains(router)


REFUSAL = (
    "meta l4proto tcp counter reject with tcp reset",
    "limit rate 100/second counter reject with icmpx admin-prohibited",
)


def _to_queue(router: Router, flags: str) -> Iterator[str]:
    """Send to the queue; where nft cannot say so the rule is put in by netlink (compat), and until
    it is there what asks is dropped."""
    if router.has_nft_queue:
        yield f"counter queue{flags} to {_numbers(router.queues)}"
    elif not flags:
        yield "counter drop"


def _numbers(queues: Queues) -> str:
    return f"{queues.first}-{queues.last}" if queues.count > 1 else f"{queues.first}"


def _epochs_chains(router: Router) -> Iterator[Chain]:
    """One chain a target for each thing that needs its number as a constant: nft 1.0.6 cannot put
    the bits of two marks together."""
    for number in (DIRECT, *router.targets, BLOCK):
        now, asks = mark(router.epoch, number), mark(0, number, JUDGE | EARLIER)
        on = (become(now, KEEP_FLAGS), f"{has(JUDGE, JUDGE)} goto {ASKING}", "accept")
        yield Chain(f"to_{number}", on)
        yield Chain(f"earlier_{number}", (become(asks, KEEP_FLAGS),))
    for number in (DIRECT, *router.targets):
        sample = (become(mark(router.epoch, number)), f"goto {SAMPLED}")
        yield Chain(f"sample_{number}", sample)


def _from_clients(router: Router) -> Iterator[str]:
    yield "@nh,0,8 != 0x45 jump unusual"
    for name, mtu in router.mtu_by_client.items():
        # Maybe several datagrams in one piece: the queue cuts it, and each is judged by itself.
        which = f'iifname "{name}" meta l4proto udp meta length > {mtu}'
        yield f"{which} {become(JUDGE | CONTENT)} goto question"
    yield "meta l4proto udp jump signatures"
    # The kernel may keep an ended stream's mark for the next of its five-tuple: a SYN (and no ACK)
    # begins anew.
    yield f"meta l4proto tcp @th,104,8 and 0x12 == 0x02 {become(0, of='ct')}"
    yield "meta l4proto icmp jump errors"
    yield "meta l4proto ipv6-icmp jump errors"
    now, known = mark(router.epoch), EPOCH_MASK | TARGET_MASK | PROVISIONAL
    sampled = f"numgen random mod {router.spot_check} != 0 " if router.spot_check else ""
    yield f"{has(known, now, 'ct')} {sampled}{become(now)} accept"
    yield become(0)
    yield "goto question"


def _slow(router: Router) -> Iterator[str]:
    for name in router.clients:
        yield f'iifname "{name}" goto from_clients'
    yield from shut("iif", router.numbers)
    # Chain keep asks no interface of what this hook lets go straight: nobody else may say so.
    yield f"{straight(router.epoch)} {become(0)}"


def _errors() -> Iterator[str]:
    """A client's ICMP errors quote what came to it, which may be the answer to a wrapped ping, with
    all that it names.  Only "too big" passes, which paths depend on; no such answer is too big."""
    yield "icmp type destination-unreachable icmp code != frag-needed counter drop"
    yield "icmp type { 4, 5, 11, 12 } counter drop"  # source quench, redirect, exceeded, problem
    yield "icmpv6 type destination-unreachable counter drop"
    yield "icmpv6 type { 3, 4, 137 } counter drop"  # time exceeded, problem, redirect


def _unusual() -> Iterator[str]:
    """A source route hides where a packet goes: IPv4's options, and IPv6's routing header."""
    yield "ip6 nexthdr udp return"
    # Connection tracking looks through it, and the signatures do not.
    yield "meta l4proto ah counter drop"
    yield "rt seg-left > 0 counter drop"
    yield "ip option lsrr exists counter drop"
    yield "ip option ssrr exists counter drop"


def _question(router: Router) -> Iterator[str]:
    yield f"{has(EPOCH_MASK | PROVISIONAL, mark(router.epoch), 'ct')} goto known"
    provisional = mark(router.epoch, DIRECT, PROVISIONAL)
    awaited = EPOCH_MASK | TARGET_MASK | PROVISIONAL
    yield f"{has(awaited, provisional, 'ct')} meta l4proto tcp jump handshake"
    yield f"{has(awaited, provisional, 'ct')} {gain(PROVISIONAL)}"
    # What is addressed to the gateway itself is nobody's flow: chain own decides.
    yield f"fib daddr type != unicast {become(0)} accept"
    for address in router.canaries:  # their decisions are not written down: nobody may be one
        ip = "ip" if len(address) == 4 else "ip6"
        yield f'{ip} saddr {unpack(address)} iifname != "{CANARIES}" counter drop'
    # What no receiver would take (a wrong checksum, a segment outside the window) must not be what
    # a flow is judged by.
    yield "ct state invalid counter drop"
    for family, ip, _ in FAMILIES:
        for denial in denials(router, family):
            yield f"{ip} daddr @{denial.name} goto {denial.chain}"
    # A flow that an earlier epoch let go: Python must know where to, for NAT cannot move it.
    # One that this table does not know is said to have gone nowhere.
    judged = f"{lacks(EPOCH_MASK, 0, 'ct')} {has(PROVISIONAL, 0, 'ct')}"
    yield f"{judged} jump earlier_{BLOCK}"
    targets = (DIRECT, *router.targets)
    yield from (f"{judged} {rule}" for rule in by_target(targets, "ct", "jump", "earlier"))
    yield f"{has(CONTENT, CONTENT)} goto {ASKING}"
    for family, ip, _ in FAMILIES:
        for prefix, chain, _, _ in MANNERS:
            for name in ("places", "flows"):
                key = KEYS[name].format(ip=ip)
                yield f"meta l4proto {{ tcp, udp }} {key} @{prefix}{name}{family} goto {chain}"
            key = KEYS["others"].format(ip=ip)
            yield f"meta l4proto != {{ tcp, udp }} {key} @{prefix}others{family} goto {chain}"
    yield f"{gain(JUDGE)} goto {ASKING}"


@dataclass(frozen=True, slots=True)
class Denial:
    """What is blocked whatever it carries, of one family and one manner."""

    chain: str
    family: int
    ranges: Ranges

    @property
    def name(self) -> str:
        """The set's: other ranges are another set, so that the next epoch's can be loaded beside
        the one in use."""
        octets = b"".join(
            first.to_bytes(16, "big") + last.to_bytes(16, "big") for first, last in self.ranges
        )
        return f"{self.chain}{self.family}_{hashlib.sha256(octets).hexdigest()[:12]}"


def _handshake(router: Router) -> Iterator[str]:
    """A stream whose first octets are awaited: its bare acknowledgements tell Python nothing.  They
    are known by their length, with or without the option of time stamps (RFC 7323)."""
    onward = f"{become(mark(router.epoch, DIRECT, PROVISIONAL))} accept"
    for header, octets in (("@nh,0,8 0x45", 20), ("ip6 nexthdr tcp", 40)):
        for words in (8, 5):
            bare = f"meta length {octets + 4 * words} tcp doff {words}"
            yield f"{header} {bare} tcp flags & (fin | syn | rst) == 0 {onward}"


def denials(router: Router, family: int) -> list[Denial]:
    """Give what is blocked whatever it carries, of a family; empty sets are left out."""
    four = (router.denied4, router.refused4)
    ranges = four if family == 4 else (router.denied6, router.refused6)
    found = (Denial("denied", family, ranges[0]), Denial("refused", family, ranges[1]))
    return [denial for denial in found if denial.ranges]


def _known(router: Router) -> Iterator[str]:
    """A flow that was judged in this epoch, and is not simply direct: a signature asks, or it is
    sampled, or it goes elsewhere, or nowhere."""
    targets = (DIRECT, *router.targets)
    asks = has(CONTENT, CONTENT)
    yield from (f"{asks} {rule}" for rule in by_target(targets, "ct", "goto", "to"))
    yield f"{asks} goto to_{BLOCK}"
    if router.spot_check:
        # Of direct ones, the one of so many that did not go on.
        yield f"{has(TARGET_MASK, 0, 'ct')} goto sample_{DIRECT}"
        rules = by_target(router.targets, "ct", "goto", "sample")
        yield from (f"numgen random mod {router.spot_check} 0 {rule}" for rule in rules)
    yield from by_target(targets, "ct", "goto", "to")
    yield f"{has(TARGET_MASK, mark(0, REFUSE), 'ct')} goto refused"
    yield "counter goto denied"


def _denied(router: Router, target: int, refusal: tuple[str, ...]) -> Iterator[str]:
    # A flow that was up: its answers stop too, and a stream is told, or its client waits in vain.
    was_up = lacks(EPOCH_MASK, 0, "ct")
    yield f"{was_up} {become(mark(router.epoch, target), of='ct')}"
    if not refusal:
        yield f"{was_up} meta l4proto tcp counter reject with tcp reset"
    yield from refusal
    yield "counter drop"
