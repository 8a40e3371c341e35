"""A table as the kernel has it.  Owns: reading its chains and rules, and what they hash to.
Knows: linux/netfilter/nf_tables.h.  Never: elements of sets, which may be 300,000: nft itself reads
them all to list a single rule, which takes it seven seconds."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator

from gateway.errors import CarryError, WireError
from gateway.kernel import nfnetlink
from gateway.kernel.netlink import (
    ACK,
    ERROR,
    GENERIC,
    REQUEST,
    attribute,
    attributes,
    error_of,
    message,
)

_NFTABLES = 10  # NFNL_SUBSYS_NFTABLES
_INET = 1  # NFPROTO_INET
_DUMP = 0x300
# enum nf_tables_msg_types.
_GET_TABLE, _GET_CHAIN, _GET_RULE = (_NFTABLES << 8 | n for n in (1, 4, 7))
_GET_SET, _GET_GENERATION = _NFTABLES << 8 | 10, _NFTABLES << 8 | 16
_GENERATION_ID = 1
# enum nft_table_attributes, nft_chain_attributes, nft_rule_attributes, nft_expr_attributes.
_TABLE_NAME = 1
_SET_TABLE, _SET_NAME, _SET_FLAGS = 1, 2, 3
_ANONYMOUS = 1
_CHAIN_TABLE, _CHAIN_SAID = 1, (3, 4, 5, 7)  # name, hook, policy, type
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS, _RULE_USERDATA = 1, 2, 4, 7
_EXPRESSION_NAME, _EXPRESSION_DATA = 1, 2
# enum nft_counter_attributes, nft_immediate_attributes, nft_data_attributes,
# nft_verdict_attributes.
_COUNTER_PACKETS, _IMMEDIATE_DATA, _DATA_VERDICT, _VERDICT_CODE = 2, 2, 2, 1
_NF_DROP = bytes(4)


def generation() -> int:
    """Give the number of netfilter's rules: it grows with every change, whoever makes it.

    Raises:  CarryError: the kernel does not say.
    """
    for said in _ask(_GET_GENERATION, ACK, b""):
        if number := said.get(_GENERATION_ID):
            return int.from_bytes(number, "big")
    raise CarryError("nftables", "the kernel does not say which rules it has")


def has_table(name: str) -> bool:
    """Say whether there is a table of a name.

    Raises:  CarryError: the kernel does not say.
    """
    return (
        next(_ask(_GET_TABLE, ACK, attribute(_TABLE_NAME, nfnetlink.text(name))), None) is not None
    )


def comments(name: str, chain: str) -> bytes:
    """Give the comments of a chain's rules, as the kernel keeps them; b"" if there are none.

    Raises:  CarryError: the kernel does not say.
    """
    wanted = nfnetlink.text(chain)
    found = (rule for rule in _rules(name) if rule.get(_RULE_CHAIN) == wanted)
    return b"".join(rule.get(_RULE_USERDATA, b"") for rule in found)


def fingerprint(name: str) -> str:
    """Hash a table's chains and rules, without counts and handles.

    Raises:  CarryError: the kernel does not say.
    """
    said = hashlib.sha256()
    for chain in _ask(_GET_CHAIN, _DUMP, b""):
        if chain.get(_CHAIN_TABLE) == nfnetlink.text(name):
            said.update(repr([chain.get(kind) for kind in _CHAIN_SAID]).encode())
    for rule in _rules(name):
        expressions = list(_expressions(rule.get(_RULE_EXPRESSIONS, b"")))
        said.update(repr((rule.get(_RULE_CHAIN), expressions)).encode())
    return said.hexdigest()


def drops(name: str) -> dict[str, int]:
    """Give how many packets a table's rules have dropped or refused, by chain.

    Raises:  CarryError: the kernel does not say.
    """
    dropped: dict[str, int] = {}
    for rule in _rules(name):
        parts = dict(_parts(rule.get(_RULE_EXPRESSIONS, b"")))
        if b"counter\0" in parts and _is_drop(parts):
            chain = rule[_RULE_CHAIN].rstrip(b"\0").decode()
            counter = dict(attributes(parts[b"counter\0"]))
            packets = int.from_bytes(counter.get(_COUNTER_PACKETS, b""), "big")
            dropped[chain] = dropped.get(chain, 0) + packets
    return dropped


def _is_drop(parts: dict[bytes, bytes]) -> bool:
    if b"reject\0" in parts:
        return True
    data = dict(attributes(parts.get(b"immediate\0", b""))).get(_IMMEDIATE_DATA, b"")
    verdict = dict(attributes(data)).get(_DATA_VERDICT, b"")
    return dict(attributes(verdict)).get(_VERDICT_CODE) == _NF_DROP


def sets(name: str) -> list[str]:
    """Give the names of a table's sets, without those that stand in rules.

    Raises:  CarryError: the kernel does not say.
    """
    return [
        one[_SET_NAME].rstrip(b"\0").decode()
        for one in _ask(_GET_SET, _DUMP, attribute(_SET_TABLE, nfnetlink.text(name)))
        if one.get(_SET_TABLE) == nfnetlink.text(name)
        and not int.from_bytes(one.get(_SET_FLAGS, b""), "big") & _ANONYMOUS
    ]


def _rules(name: str) -> Iterator[dict[int, bytes]]:
    for rule in _ask(_GET_RULE, _DUMP, attribute(_RULE_TABLE, nfnetlink.text(name))):
        if rule.get(_RULE_TABLE) == nfnetlink.text(name):
            yield rule


def _expressions(octets: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Give a rule's expressions, without what its counters say."""
    for name, data in _parts(octets):
        yield name, b"" if name == b"counter\0" else data


def _parts(octets: bytes) -> Iterator[tuple[bytes, bytes]]:
    for _, element in attributes(octets):
        parts = dict(attributes(element))
        yield parts.get(_EXPRESSION_NAME, b""), parts.get(_EXPRESSION_DATA, b"")


def _ask(kind: int, flags: int, wanted: bytes) -> Iterator[dict[int, bytes]]:
    """Ask, and give the attributes of each answer; nothing, if there is no such table."""
    request = message(kind, REQUEST | flags, 1, GENERIC.pack(_INET, 0, 0) + wanted)
    answers = nfnetlink.ask(request, "nftables")
    try:
        for one in answers:
            if one.kind == ERROR:
                _refused(error_of(one.body))
            elif one.kind >> 8 == _NFTABLES:
                yield dict(attributes(one.body, GENERIC.size))
    except WireError as error:
        raise CarryError("nftables", str(error)) from error


def _refused(number: int) -> None:
    if number not in (0, errno.ENOENT):
        raise CarryError("nftables", os.strerror(number))
