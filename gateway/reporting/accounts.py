"""Accounts of processes.  Owns: what each process counted, by its last checkpoint, and whether that
adds up.  Knows: docs/evidence.md, Counts.  Never: records."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gateway.evidence.checkpoints import Checkpoint

Balance = dict[str, Any]
"""what, into, out_of (numbers), holds."""

_PACKETS = "packets: "
# What is counted as it comes in, and as it goes somewhere.
_KINDS = (_PACKETS, "streams: ", "octets: ")
# The kernel writes its numbers one after another, and packets come meanwhile.
_MOMENT = 2


def last_of_processes(
    checkpoints: Iterable[Checkpoint], begins: Sequence[int]
) -> Iterator[Checkpoint]:
    """Give the last checkpoint of each process, since counts are one process's.

    Args:    begins: the numbers of the records `begin`, ascending.
    """
    last: Checkpoint | None = None
    for one in checkpoints:
        if last is not None and _process(last, begins) != _process(one, begins):
            yield last
        last = one
    if last is not None:
        yield last


def _process(checkpoint: Checkpoint, begins: Sequence[int]) -> int:
    return bisect_left(begins, checkpoint.size)


def balances(counts: Mapping[str, int]) -> list[Balance]:
    """Say whether what came in went somewhere, as far as it was counted."""
    conserved = [one for kind in _KINDS for one in _conserved(counts, kind)]
    return [*_records(counts), *conserved, *_handed(counts), *_queue(counts)]


def _records(counts: Mapping[str, int]) -> Iterator[Balance]:
    decided = [count for name, count in counts.items() if name.startswith("decided: ")]
    if "records: written" in counts:
        names = ("written", "lost", "in hand")
        out = sum(counts.get(f"records: {name}", 0) for name in names)
        yield _balance("decisions = written + lost + in hand", sum(decided), out)


def _conserved(counts: Mapping[str, int], kind: str) -> Iterator[Balance]:
    """What Python carries, of each listener (listeners.packets, listeners.streams) and the exit."""
    where = [name.removesuffix(f"{kind}in") for name in counts if name.endswith(f"{kind}in")]
    for one in sorted(where):
        came = f"{one}{kind}in"
        ways = [name for name in counts if name.startswith(f"{one}{kind}") and name != came]
        words = " + ".join(sorted(name.removeprefix(f"{one}{kind}") for name in ways))
        out = sum(counts[name] for name in ways)
        yield _balance(f"{one}{kind.removesuffix(': ')} in = {words}", counts[came], out)


def _handed(counts: Mapping[str, int]) -> Iterator[Balance]:
    handed = counts.get(f"queue: {_PACKETS}handed over")
    if handed:
        into = counts.get(f"{_PACKETS}in", 0)
        yield _balance("handed over by the queue = taken to be carried", handed, into)


def _queue(counts: Mapping[str, int]) -> Iterator[Balance]:
    """The kernel's account of its queue, against Python's."""
    came, held = f"queue: {_PACKETS}in", f"queue: {_PACKETS}held"
    if "kernel: queued" in counts and came in counts:
        # What Python holds waits in the kernel too.
        out = counts[came] - counts.get(held, 0)
        out += counts.get("kernel: waiting", 0) + counts.get("kernel: dropped, not delivered", 0)
        what = "kernel's queue = packets answered + waiting + not delivered"
        yield _balance(what, counts["kernel: queued"], out, _MOMENT)


def _balance(what: str, into: int, out_of: int, within: int = 0) -> Balance:
    return {"what": what, "in": into, "out": out_of, "holds": abs(into - out_of) <= within}
