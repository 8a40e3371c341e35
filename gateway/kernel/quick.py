"""The quick way.  Owns: the first rules that a packet meets, by which media of known flows goes on.
Knows: marks, nft(8), which of nft's expressions the kernel carries out without a call.
Never: what becomes of all other packets (chain slow's matter).

Nearly all packets of a call are media of a flow that was judged and is direct; each rule that they
meet costs a call its share of the machine.  So the flow's conntrack mark says what need not be
asked of each packet (it is UDP, its client's, and leaves for the outside), and the rules ask the
rest, of packets in either direction, as comparisons of up to four aligned octets."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.kernel import signatures
from gateway.kernel.marks import CONTENT, EPOCH_MASK, JUDGE, PROVISIONAL, QUICK, TARGET_MASK, mark
from gateway.kernel.phrases import become, has, hook
from gateway.kernel.router import Router
from gateway.kernel.table import Chain

SLOW = "slow"
"""The chain of everything else."""

# One packet in 32 has this in its checksum, which depends on all that it says: of these some are
# judged again.  To draw lots for each packet costs more.  (In what containers of this host send the
# checksum may not be filled in yet; there it depends on addresses and length alone.)
_LOT, _DRAWN = "@th,48,16 and 0x001f == 0x0000", 32


def chains(router: Router) -> Iterator[Chain]:
    """Give the chains that chain ask begins with."""
    media = signatures.media(router.signatures)
    known = EPOCH_MASK | TARGET_MASK | PROVISIONAL | QUICK
    now = mark(router.epoch, flags=QUICK)
    # Nothing is left to look at once in this flow.
    is_seen = has(known | media.looks, now | media.looks, "ct")
    on = f"{become(mark(router.epoch))} accept"
    kinds = tuple(f"{signatures.match(kind)} goto {SLOW}" for kind in media.kinds)
    yield Chain("quick", (*kinds, f"{has(known, now, 'ct')} {on}", f"goto {SLOW}"))
    if router.spot_check:
        yield Chain("spot_check", (*_drawn(router), f"{is_seen} {on}", "goto quick"))
    what = (*_media(media, router.spot_check), f"{is_seen} {on}", "goto quick")
    whole4, whole6 = (_whole(router, octets) for octets in (20, 40))
    # IPv6 without extension headers; IPv4 without options, of which the flow's mark says that it is
    # UDP, or an ICMP error that belongs to it.
    yield Chain("ask6", (f"@nh,0,8 and 0xf0 != 0x60 goto {SLOW}", f"@nh,48,8 != 0x11 goto {SLOW}",
                         whole6, *what))  # fmt: skip
    # After mangle (-150), where other software sets marks, so that none of them looks like ours.
    ask = hook("filter", "prerouting", -149)
    asked = JUDGE | CONTENT
    pieces: tuple[str, ...] = ()
    if router.marks_pieces:
        pieces = (f"{has(asked, asked)} goto pieces",)
        yield Chain("pieces", tuple(_pieces(router)))
    yield Chain("ask", (*pieces, "@nh,0,8 != 0x45 goto ask6", whole4, *what), ask)


def _pieces(router: Router) -> Iterator[str]:
    """Several datagrams in one piece are judged each by itself."""
    for name in router.clients:
        yield f'iifname "{name}" meta l4proto udp {become(JUDGE | CONTENT)} goto question'
    yield f"goto {SLOW}"


def _whole(router: Router, header_len: int) -> str:
    """What is longer than a client's link could carry may be several datagrams."""
    longest = min(router.mtu_by_client.values()) - header_len
    return f"@th,32,16 > {longest:#06x} goto {SLOW}"


def _media(media: signatures.Media, spot_check: int) -> Iterator[str]:
    yield f"{signatures.match(signatures.MEDIA, '!=')} goto {SLOW}"
    yield from (f"{signatures.match(suspect)} goto {SLOW}" for suspect in media.suspects)
    if spot_check > _DRAWN:
        yield f"{_LOT} goto spot_check"
    elif spot_check:
        yield "goto spot_check"


def _drawn(router: Router) -> Iterator[str]:
    """Judge some of the drawn packets again, if they are a client's.  Without a checksum all are
    drawn."""
    one_of = router.spot_check
    chances = [("", one_of)]
    if one_of > _DRAWN:
        chances = [("@th,48,16 0x0000 ", one_of), ("@th,48,16 != 0x0000 ", round(one_of / _DRAWN))]
    known, now = EPOCH_MASK | TARGET_MASK | PROVISIONAL, mark(router.epoch)
    for name in router.clients:
        for which, chance in chances:
            lot = f"{which}numgen random mod {chance} 0"
            yield f'{lot} iifname "{name}" {has(known, now, "ct")} goto sample_0'
