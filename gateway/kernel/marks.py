"""Marks: what the kernel knows of a verdict, in 32 bits of a packet or of its conntrack entry.
Owns: the layout.  Knows: skb and conntrack marks.  Never: nft's syntax, policy, sockets.

    31      24 23      16 15       8 7        0
    | epoch   | target   | others'  | flags    |

The third byte belongs to other software; nothing of ours reads or changes it."""

from __future__ import annotations

EPOCH_MASK = 0xFF000000
TARGET_MASK = 0x00FF0000
OTHERS_MASK = 0x0000FF00
FLAGS_MASK = 0x000000FF

EPOCHS = 255
"""Epochs are 1..255 and then 1 again; 0 says that no epoch judged."""

JUDGE = 0x01
"""Please judge: what bears it goes to the queue, and nowhere else."""
QUICK = 0x01
"""The same bit on a conntrack entry: datagrams of a flow that leaves for the outside, and of which
chain ask looks at what they say and at nothing else."""
PROVISIONAL = 0x02
"""This packet may pass, and its flow is not judged yet (TCP before its first octets)."""
EARLIER = 0x04
"""On a packet that asks: an epoch before this one let its flow go to the target in the mark."""
ANSWER = 0x04
"""The same bit on a packet that comes from the queue: Python gave its mark, and not an epoch's
rules."""
CONTENT = 0x08
"""On a packet that asks: a signature in it asks, whatever its flow's verdict is."""
LOOKS = (0x10, 0x20, 0x40, 0x80)
"""A kind of datagram that is looked at once a flow was seen in this one; a bit a kind."""
LOOKS_MASK = 0xF0

DIRECT = 0
"""The target of a flow that goes where its client sends it."""
FIRST_TARGET, LAST_TARGET = 1, 250
"""Targets of relays, interface exits and the local proxy."""
REFUSE_PLACE, REFUSE = 251, 252
"""As the two below, and the client is told: a TCP reset, or ICMP "administratively prohibited"."""
REPLY = 253
"""The target of datagrams that we send to clients as from another address: not tracked."""
BLOCK_PLACE = 254
"""Blocked whatever it carries: the kernel remembers client, destination, protocol and port."""
BLOCK = 255
"""Blocked: the kernel remembers the flow."""


def mark(epoch: int, target: int = DIRECT, flags: int = 0) -> int:
    """Make a mark.

    Args:    epoch: 0..255; target: 0..255; flags: JUDGE and its like, or'ed.
    """
    assert 0 <= epoch <= EPOCHS, epoch
    assert 0 <= target <= 255, target
    assert 0 <= flags <= FLAGS_MASK, flags
    return epoch << 24 | target << 16 | flags


def epoch_of(value: int) -> int:
    """Give the epoch of a mark; 0: none."""
    return value >> 24 & 0xFF


def target_of(value: int) -> int:
    """Give the target of a mark."""
    return value >> 16 & 0xFF


def kept(value: int) -> int:
    """Give what a verdict keeps of the asking packet's mark: others' byte, what was looked at."""
    return value & (OTHERS_MASK | LOOKS_MASK)


def epoch_before(epoch: int) -> int:
    """Give the epoch before one; 255 before 1."""
    assert 1 <= epoch <= EPOCHS, epoch
    return epoch - 1 or EPOCHS


def next_epoch(epoch: int) -> int:
    """Give the epoch after one; 1 after 255, and after 0."""
    assert 0 <= epoch <= EPOCHS, epoch
    return epoch % EPOCHS + 1
