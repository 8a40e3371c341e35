"""The rules of router mode.  Owns: Router → Table, and what an epoch's change is.
Knows: nft(8), netfilter's hooks; docs/architecture.md, "Router mode".  Never: applying them.

    prerouting -160  ask      who need not ask: flows judged in this epoch; who dies: denied places
    prerouting -150  queue    what asks goes to Python; nobody listens: dropped
    prerouting -140  divert   flows for the local proxy go there
    prerouting -100  nat      relays
    forward    -150  keep     verdicts are stored, blocks remembered; no verdict, no way; from
                              outside only answers
    input      -150  incoming what of the clients the gateway itself takes
    output     -300  replies  datagrams as from another address are not tracked
    postrouting 100  source   masquerading"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.kernel import signatures, table
from gateway.kernel.marks import (
    ANSWER,
    BLOCK,
    BLOCK_PLACE,
    CONTENT,
    DIRECT,
    EARLIER,
    EPOCH_MASK,
    JUDGE,
    LOOKS,
    LOOKS_MASK,
    OTHERS_MASK,
    PROVISIONAL,
    REPLY,
    TARGET_MASK,
    epoch_before,
    mark,
)
from gateway.kernel.router import LocalProxy, Router
from gateway.kernel.table import Chain, Set, Table

# Elements of each set that remembers blocks; a full one forgets nothing, and what does not fit is
# judged again with its next packet.
_MAX_BLOCKED = 65_536
_PLACE = "{ip} saddr . {ip} daddr . meta l4proto . th dport"
_FLOW = "{ip} saddr . {ip} daddr . meta l4proto . th sport . th dport"
_OTHER = "{ip} saddr . {ip} daddr . meta l4proto"
_KEYS = {"places": _PLACE, "flows": _FLOW, "others": _OTHER}
_PORTS = {"places": " . inet_service", "flows": " . inet_service . inet_service", "others": ""}
_FAMILIES = ((4, "ip", "ipv4"), (6, "ip6", "ipv6"))


def render(router: Router) -> Table:
    """Give the table that a desired state means."""
    return Table(router.name, router.epoch, tuple(_sets(router)), tuple(_chains(router)))


def epoch_change(old: Router, new: Router) -> str | None:
    """Write the transaction from one epoch to another: constants, and the difference of the sets.

    Conntrack is not touched: every flow that was judged asks again with its next packet.
    Returns: None if only a new table will do.
    """
    return table.difference(render(old), render(new))


def _sets(router: Router) -> Iterator[Set]:
    for family, _, kind in _FAMILIES:
        denied = router.denied4 if family == 4 else router.denied6
        spec = f"type {kind}_addr; flags interval;"
        yield Set(f"denied{family}", spec, 4 if family == 4 else 16, denied)
        for name, ports in _PORTS.items():
            kinds = f"{kind}_addr . {kind}_addr . inet_proto{ports}"
            limits = f"size {_MAX_BLOCKED}; flags dynamic,timeout; timeout {router.block_s}s;"
            yield Set(f"{name}{family}", f"type {kinds}; {limits}", is_volatile=True)


def _chains(router: Router) -> Iterator[Chain]:
    yield from signatures.chains(router.signatures)
    yield from _targets(router)
    yield Chain("known", tuple(_known(router)))
    yield Chain("denied", tuple(_denied(router)))
    yield Chain("question", tuple(_question(router)))
    yield Chain("options", tuple(_options()))
    yield Chain("from_clients", tuple(_from_client()))
    yield Chain("ask", tuple(_ask(router)), _hook("filter", "prerouting", -160))
    if router.has_nft_queue:
        to_queue = f"{_is(JUDGE, JUDGE)} counter queue num {router.queues.first}"
        if router.queues.count > 1:
            to_queue += f"-{router.queues.last}"
        yield Chain("queue", (to_queue,), _hook("filter", "prerouting", -150))
    yield Chain("refuse", tuple(_refuse(router)))
    # A hook costs every packet something, so those that have nothing to do are left out.
    if router.proxy is not None:
        yield Chain("proxied", tuple(_proxied(router.proxy)))
        divert = tuple(_from_clients(router, "goto proxied"))
        yield Chain("divert", divert, _hook("filter", "prerouting", -140))
    if router.relays:
        yield Chain("relays", tuple(_nat(router)))
        nat = tuple(_from_clients(router, "goto relays"))
        yield Chain("nat", nat, _hook("nat", "prerouting", -100))
    yield Chain("outside", tuple(_outside(router)))
    yield Chain("late", tuple(_late(router)))
    yield Chain("leave", tuple(_leave(router)))
    yield Chain("provisional", tuple(_provisional(router)))
    yield Chain("keep", tuple(_keep(router)), _hook("filter", "forward", -150))
    yield Chain("own", tuple(_own(router)))
    incoming = tuple(_from_clients(router, "goto own"))
    yield Chain("incoming", incoming, _hook("filter", "input", -150))
    reply = f"{_is(TARGET_MASK, mark(0, REPLY))} notrack"
    yield Chain("replies", (reply,), _hook("filter", "output", -300))
    if source := tuple(_source(router)):
        yield Chain("source", source, _hook("nat", "postrouting", 100))


def _hook(kind: str, hook: str, priority: int) -> str:
    return f"type {kind} hook {hook} priority {priority}; policy accept;"


def _is(mask: int, value: int, of: str = "meta") -> str:
    return f"{of} mark and {mask:#010x} == {value:#010x}"


def _is_not(mask: int, value: int, of: str = "meta") -> str:
    return f"{of} mark and {mask:#010x} != {value:#010x}"


def _set(value: int, keep: int = OTHERS_MASK, of: str = "meta") -> str:
    """Change our bits of a mark, and leave those of `keep` as they are."""
    changed = f" or {value:#010x}" if value else ""
    return f"{of} mark set {of} mark and {keep:#010x}{changed}"


def _clients(router: Router) -> str:
    return "{ " + ", ".join(f'"{name}"' for name in router.clients) + " }"


def _by_target(router: Router, of: str, verb: str, chain: str) -> Iterator[str]:
    """Send each target to its chain, by one comparison each and the commonest first.

    A verdict map would be one look-up; but the kernel may finish with the rules of one generation
    while the elements are the next one's already, and a packet of an accepted flow finds none.
    """
    for number in (DIRECT, *router.targets):
        yield f"{_is(TARGET_MASK, mark(0, number), of)} {verb} {chain}_{number}"


def _from_clients(router: Router, verdict: str) -> Iterator[str]:
    """Begin a chain that is for packets from the clients' side: the others go on behind it."""
    return (f'iifname "{name}" {verdict}' for name in router.clients)


def _targets(router: Router) -> Iterator[Chain]:
    """One chain a target for each thing that needs its number as a constant: nft 1.0.6 cannot put
    the bits of two marks together."""
    for number in (DIRECT, *router.targets, BLOCK):
        now, asks = mark(router.epoch, number), mark(0, number, JUDGE | EARLIER)
        yield Chain(f"to_{number}", (f"{_set(now, OTHERS_MASK | 0xFF)} accept",))
        yield Chain(f"earlier_{number}", (_set(asks, OTHERS_MASK | 0xFF),))
    for number in (DIRECT, *router.targets):
        yield Chain(f"remember_{number}", tuple(_remember(router.epoch, number)))
    for relay in router.relays:
        ways = [
            f"{ip} daddr {at.host} goto remember_{relay.target}"
            for at, ip in ((relay.v4, "ip"), (relay.v6, "ip6"))
            if at
        ]
        yield Chain(f"leave_{relay.target}", (*ways, "counter drop"))
    for one in router.exits:
        way = f'oifname "{one.interface}" goto remember_{one.target}'
        yield Chain(f"leave_{one.target}", (way, "counter drop"))
    if router.proxy is not None:  # what is for the proxy is not forwarded
        yield Chain(f"leave_{router.proxy.target}", ("counter drop",))
    yield Chain(f"leave_{DIRECT}", (f"goto remember_{DIRECT}",))


def _remember(epoch: int, number: int) -> Iterator[str]:
    now, judged = mark(epoch, number), EPOCH_MASK | TARGET_MASK | PROVISIONAL
    yield f"{_is_not(judged, now, 'ct')} {_is_not(EPOCH_MASK, mark(epoch))} accept"  # chain late
    if number == DIRECT:  # where NAT has sent it elsewhere, it is not direct
        yield f"{_is_not(judged, now, 'ct')} ct status dnat counter drop"
    yield f"{_is_not(judged, now, 'ct')} {_set(now, of='ct')}"
    yield f"{_is(LOOKS_MASK, 0)} accept"
    for look in LOOKS:
        yield f"{_is(look, look)} ct mark set ct mark or {look:#010x}"
    yield "accept"


def _ask(router: Router) -> Iterator[str]:
    yield from _from_clients(router, "goto from_clients")


def _from_client() -> Iterator[str]:
    # A source route hides where a packet goes.  The header's length is IPv4's; what IPv6 has in
    # its place leads to a chain that finds nothing.
    yield "@nh,0,8 and 0x0f > 0x05 goto options"
    yield "rt seg-left > 0 counter drop"
    yield "goto question"


def _options() -> Iterator[str]:
    yield "ip option lsrr exists counter drop"
    yield "ip option ssrr exists counter drop"
    yield "goto question"


def _question(router: Router) -> Iterator[str]:
    yield _set(0)
    yield "meta l4proto udp jump signatures"
    sampled = f"numgen random mod {router.spot_check} != 0 " if router.spot_check else ""
    direct = _is(EPOCH_MASK | TARGET_MASK | PROVISIONAL, mark(router.epoch), "ct")
    yield f"{direct} {sampled}goto to_{DIRECT}"
    yield f"{_is(EPOCH_MASK | PROVISIONAL, mark(router.epoch), 'ct')} goto known"
    # What is addressed to the gateway itself is nobody's flow: chain own decides.
    yield f"fib daddr type != unicast {_set(0)} accept"
    yield "ip daddr @denied4 goto denied"
    yield "ip6 daddr @denied6 goto denied"
    # A flow that an earlier epoch let go: Python must know where to, for NAT cannot move it.
    # One that this table does not know is said to have gone nowhere.
    judged = f"{_is_not(EPOCH_MASK, 0, 'ct')} {_is(PROVISIONAL, 0, 'ct')}"
    yield f"{judged} jump earlier_{BLOCK}"
    yield from (f"{judged} {rule}" for rule in _by_target(router, "ct", "jump", "earlier"))
    yield f"{_is(CONTENT, CONTENT)} accept"
    for family, ip, _ in _FAMILIES:
        for name in ("places", "flows"):
            key = _KEYS[name].format(ip=ip)
            yield f"meta l4proto {{ tcp, udp }} {key} @{name}{family} goto denied"
        key = _KEYS["others"].format(ip=ip)
        yield f"meta l4proto != {{ tcp, udp }} {key} @others{family} counter drop"
    yield f"meta mark set meta mark or {JUDGE:#x} counter"


def _known(router: Router) -> Iterator[str]:
    if router.spot_check:
        asks = f"meta mark set meta mark or {JUDGE:#x}"
        yield f"{_is(TARGET_MASK, 0, 'ct')} {asks}"  # the one of so many that did not go on
        yield f"{_is_not(TARGET_MASK, 0, 'ct')} numgen random mod {router.spot_check} 0 {asks}"
    yield from _by_target(router, "ct", "goto", "to")
    # Blocked in this epoch, but a signature asks on its own account.
    blocked = _is(TARGET_MASK, mark(0, BLOCK), "ct")
    yield f"{blocked} {_is(CONTENT, CONTENT)} goto to_{BLOCK}"
    yield "counter goto denied"


def _denied(router: Router) -> Iterator[str]:
    # A flow that was up: its answers stop too.
    blocked = _set(mark(router.epoch, BLOCK), of="ct")
    yield f"{_is_not(EPOCH_MASK, 0, 'ct')} {blocked}"
    yield from _drop(router)


def _drop(router: Router) -> Iterator[str]:
    if router.resets_tcp:
        yield "meta l4proto tcp counter reject with tcp reset"
    yield "counter drop"


def _refuse(router: Router) -> Iterator[str]:
    yield _set(mark(router.epoch, BLOCK), of="ct")
    for family, ip, _ in _FAMILIES:
        for name, target in (("places", BLOCK_PLACE), ("flows", BLOCK)):
            key = _KEYS[name].format(ip=ip)
            which = _is(TARGET_MASK, mark(0, target))
            yield f"{which} meta l4proto {{ tcp, udp }} update @{name}{family} {{ {key} }}"
        key = _KEYS["others"].format(ip=ip)
        yield f"meta l4proto != {{ tcp, udp }} update @others{family} {{ {key} }}"
    yield from _drop(router)


def _proxied(proxy: LocalProxy) -> Iterator[str]:
    # A verdict takes the question away; with it, the packet has not been in the queue.
    which = f"{_is(TARGET_MASK | JUDGE, mark(0, proxy.target))} meta l4proto tcp"
    yield f"{which} tproxy ip to 127.0.0.1:{proxy.port} accept"
    yield f"{which} tproxy ip6 to [::1]:{proxy.port} accept"


def _nat(router: Router) -> Iterator[str]:
    for relay in router.relays:
        which = f"{_is(TARGET_MASK, mark(0, relay.target))} meta l4proto {{ tcp, udp }}"
        for at, ip in ((relay.v4, "ip"), (relay.v6, "ip6")):
            if at is not None:
                yield f"{which} dnat {ip} to {at}"


def _keep(router: Router) -> Iterator[str]:
    yield from _from_clients(router, "goto leave")
    yield "goto outside"


def _leave(router: Router) -> Iterator[str]:
    # Nearly all packets: of a flow that is direct and remembered, with nothing to add.
    now, everything = mark(router.epoch), EPOCH_MASK | TARGET_MASK | JUDGE | PROVISIONAL
    known = _is(EPOCH_MASK | TARGET_MASK | PROVISIONAL, now, "ct")
    yield f"{_is(everything | LOOKS_MASK, now)} {known} accept"
    yield f"{_is_not(EPOCH_MASK | JUDGE, mark(router.epoch))} goto late"
    yield f"{_is(TARGET_MASK, mark(0, BLOCK))} goto refuse"
    yield f"{_is(TARGET_MASK, mark(0, BLOCK_PLACE))} goto refuse"
    yield f"{_is(PROVISIONAL, PROVISIONAL)} goto provisional"
    yield from _by_target(router, "meta", "goto", "leave")
    yield "counter drop"


def _late(router: Router) -> Iterator[str]:
    """A packet of an accepted flow that chain ask let go before the epoch changed may go on, and is
    remembered by nobody; Python's own answers of that time may not, for Python may be late."""
    before = mark(epoch_before(router.epoch))
    yield f"{_is_not(EPOCH_MASK | JUDGE | PROVISIONAL | ANSWER, before)} counter drop"
    yield f"{_is(EPOCH_MASK, 0, 'ct')} counter drop"
    yield from _by_target(router, "meta", "goto", "leave")
    yield "counter drop"


def _provisional(router: Router) -> Iterator[str]:
    """Its answers may pass (a handshake needs them); the flow goes on asking."""
    now = mark(router.epoch, DIRECT, PROVISIONAL)
    yield f"{_is_not(TARGET_MASK, 0)} counter drop"
    yield f"{_is_not(EPOCH_MASK | TARGET_MASK | PROVISIONAL, now, 'ct')} {_set(now, of='ct')}"
    yield "accept"


def _outside(router: Router) -> Iterator[str]:
    yield f"oifname != {_clients(router)} accept"
    judged, open_ = _is_not(EPOCH_MASK, 0, "ct"), _is_not(TARGET_MASK, mark(0, BLOCK), "ct")
    yield f"ct direction reply {judged} {open_} accept"
    yield "counter drop"


def _own(router: Router) -> Iterator[str]:
    if router.proxy is not None:
        now = mark(router.epoch, router.proxy.target)
        which = _is(EPOCH_MASK | TARGET_MASK | JUDGE, now)
        stored = _is_not(EPOCH_MASK | TARGET_MASK, now, "ct")
        yield f"{which} {stored} {_set(now, of='ct')} accept"
        yield f"{which} accept"
    yield "ct state established,related ct direction reply accept"  # what the gateway asked for
    yield (
        "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, "
        "mld-listener-report, mld2-listener-report, mld-listener-done, echo-request } accept"
    )
    yield "icmp type echo-request accept"
    for transport, port in router.own:
        yield f"{transport} dport {port} accept"
    yield "counter drop"


def _source(router: Router) -> Iterator[str]:
    for one in router.exits:
        if one.masquerade:
            yield f'iifname {_clients(router)} oifname "{one.interface}" masquerade'
    if router.masquerade:
        yield f"iifname {_clients(router)} oifname != {_clients(router)} masquerade"
