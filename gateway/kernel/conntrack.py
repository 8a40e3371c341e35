"""What the kernel's connection tracking is told to forget.  Owns: those messages, and sending them.
Knows: linux/netfilter/nfnetlink_conntrack.h; deletion by tuple and by mark.
Never: reading the table: it may be millions long."""

from __future__ import annotations

import errno
import os
import socket
import struct

from gateway.errors import CarryError
from gateway.kernel import nfnetlink
from gateway.kernel.marks import EPOCH_MASK, mark
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
from gateway.model import FlowKey, Transport

_DELETE = 1 << 8 | 2  # NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE
# enum ctattr_type, ctattr_tuple, ctattr_ip, ctattr_l4proto.
_TUPLE_ORIG, _MARK, _MARK_MASK = 1, 8, 21
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_IP = {4: (1, 2), 16: (3, 4)}
_PROTO_NUM, _PROTO_SRC_PORT, _PROTO_DST_PORT = 1, 2, 3
_PROTOCOLS = {Transport.TCP: 6, Transport.UDP: 17}


def delete_flow(key: FlowKey) -> bytes:
    """Write what makes the kernel forget one flow."""
    octets = len(key.destination.address)
    source, destination = _IP[octets]
    addresses = attribute(source, key.client.address)
    addresses += attribute(destination, key.destination.address)
    ports = attribute(_PROTO_NUM, bytes((_PROTOCOLS[key.transport],)))
    ports += attribute(_PROTO_SRC_PORT, struct.pack("!H", key.client.port))
    ports += attribute(_PROTO_DST_PORT, struct.pack("!H", key.destination.port))
    nested = attribute(_TUPLE_IP | NESTED, addresses) + attribute(_TUPLE_PROTO | NESTED, ports)
    family = socket.AF_INET if octets == 4 else socket.AF_INET6
    return _message(family, attribute(_TUPLE_ORIG | NESTED, nested))


def delete_epoch(epoch: int) -> bytes:
    """Write what makes the kernel forget all flows that were judged in an epoch."""
    which = attribute(_MARK, struct.pack("!I", mark(epoch)))
    return _message(socket.AF_UNSPEC, which + attribute(_MARK_MASK, struct.pack("!I", EPOCH_MASK)))


def forget_flow(key: FlowKey) -> bool:
    """Make the kernel forget one flow; False: it knew none.

    Raises:  CarryError: it refuses.
    """
    return _send(delete_flow(key))


def forget_epoch(epoch: int) -> None:
    """Make the kernel forget all flows of an epoch: before its number is used a second time.

    Raises:  CarryError: it refuses.
    """
    _send(delete_epoch(epoch))


def _message(family: int, attributes: bytes) -> bytes:
    return message(_DELETE, REQUEST | ACK, 1, GENERIC.pack(family, 0, 0) + attributes)


def _send(octets: bytes) -> bool:
    answers = nfnetlink.send(octets, "conntrack")
    number = next((error_of(one.body) for one in answers if one.kind == ERROR), 0)
    if number not in (0, errno.ENOENT):
        raise CarryError("conntrack", os.strerror(number))
    return number == 0
