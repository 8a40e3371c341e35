"""The way to the queue where nft has no word for it.  Owns: one rule, put in by netlink.
Knows: nf_tables' expression "target" (linux/netfilter/nf_tables_compat.h), the target NFQUEUE
(linux/netfilter/xt_NFQUEUE.h).  Never: iptables, other rules.

It is what iptables-nft sends for -j NFQUEUE; put into a chain of our own table it needs no hook
more, and goes with the table."""

from __future__ import annotations

import errno
import os
import struct

from gateway.errors import CarryError
from gateway.kernel import nfnetlink
from gateway.kernel.netlink import (
    ACK,
    ERROR,
    GENERIC,
    NESTED,
    REQUEST,
    attribute,
    error_of,
    message,
)
from gateway.kernel.router import Queues

_NFTABLES = 10
_NEW_TABLE, _NEW_CHAIN, _NEW_RULE = (_NFTABLES << 8 | kind for kind in (0, 3, 6))
_BATCH_BEGIN, _BATCH_END = 16, 17
_CREATE = 0x400  # NLM_F_CREATE; without NLM_F_APPEND a rule goes to the head of its chain
_INET = 1
# enum nft_rule_attributes, nft_expr_attributes, nft_target_attributes.
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_ELEMENT, _EXPRESSION_NAME, _EXPRESSION_DATA = 1, 1, 2
_TARGET_NAME, _TARGET_REVISION, _TARGET_INFO = 1, 2, 3
_REVISION = 3
_BYPASS = 1  # NFQ_FLAG_BYPASS
# struct xt_NFQ_info_v3, aligned to 8: first queue, how many, flags.
_INFO = struct.Struct("=HHH2x")


def insert(table: str, chain: str, queues: Queues, *, bypass: bool = False) -> None:
    """Put "to these queues, balanced by flow" at the head of a chain.

    Args:    bypass: what finds nobody listening goes on, instead of being dropped.
    Raises:  CarryError: the kernel refuses: it has no NFQUEUE target.
    """
    _send([rule(table, chain, queues, bypass=bypass)])


def has_target() -> bool:
    """Say whether the kernel has the target: it is asked for, in a table that is never committed.

    Raises:  CarryError: this process may not ask.
    """
    name = "gateway-asks"
    table = attribute(1, nfnetlink.text(name))
    chain = attribute(1, nfnetlink.text(name)) + attribute(3, nfnetlink.text("c"))
    made = [
        message(_NEW_TABLE, REQUEST | _CREATE, 1, GENERIC.pack(_INET, 0, 0) + table),
        message(_NEW_CHAIN, REQUEST | _CREATE, 2, GENERIC.pack(_INET, 0, 0) + chain),
        rule(name, "c", Queues(0)),
        # Sent so that the transaction fails whatever became of the rule, and changes nothing.
        message(_NEW_RULE, REQUEST | ACK, 4, GENERIC.pack(_INET, 0, 0) + table),
    ]
    return 3 not in _errors(made)


def rule(table: str, chain: str, queues: Queues, *, bypass: bool = False) -> bytes:
    """Write the message that adds the rule; its sequence number is 3."""
    info = _INFO.pack(queues.first, queues.count, _BYPASS if bypass else 0)
    target = attribute(_TARGET_NAME, nfnetlink.text("NFQUEUE"))
    target += attribute(_TARGET_REVISION, struct.pack("!I", _REVISION))
    target += attribute(_TARGET_INFO, info)
    expression = attribute(_EXPRESSION_NAME, nfnetlink.text("target"))
    expression += attribute(_EXPRESSION_DATA | NESTED, target)
    body = attribute(_RULE_TABLE, nfnetlink.text(table)) + attribute(
        _RULE_CHAIN, nfnetlink.text(chain)
    )
    body += attribute(_RULE_EXPRESSIONS | NESTED, attribute(_ELEMENT | NESTED, expression))
    return message(_NEW_RULE, REQUEST | ACK | _CREATE, 3, GENERIC.pack(_INET, 0, 0) + body)


def _send(made: list[bytes]) -> None:
    found = [number for number in _errors(made).values() if number]
    if found:
        raise CarryError("nftables", f"the target NFQUEUE: {os.strerror(found[0])}")


def _errors(made: list[bytes]) -> dict[int, int]:
    """Send one batch; give the errors of its messages by their sequence numbers."""
    head = struct.pack("!BBH", 0, 0, _NFTABLES)
    batch = [message(_BATCH_BEGIN, REQUEST, 0, head), *made, message(_BATCH_END, REQUEST, 9, head)]
    answers = nfnetlink.send(b"".join(batch), "nftables")
    numbers = {one.sequence: error_of(one.body) for one in answers if one.kind == ERROR}
    if errno.EPERM in numbers.values():
        raise CarryError("nftables", os.strerror(errno.EPERM))
    return {sequence: number for sequence, number in numbers.items() if number}
