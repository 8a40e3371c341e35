"""How often noise is claimed: random datagrams and streams, by protocol.

Usage: scripts/bench noise [COUNT]    COUNT: of each kind of length, 300,000 if omitted.

Lengths are those of calls: fixed ones that some recogniser asks for, audio, video, full datagrams.
Every octet is random; what is claimed is claimed by chance.  A rate that a count this small cannot
show is told as "< 3/COUNT" (95 %).
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable

from gateway.model import Protocol, Transport
from gateway.wire import recognise

LENGTHS: dict[str, Callable[[random.Random], int]] = {
    "probes, 8..40": lambda chance: chance.randint(8, 40),
    "fixed: 8, 32, 40, 64, 74, 92, 148": lambda chance: chance.choice((8, 32, 40, 64, 74, 92, 148)),
    "audio, 60..200": lambda chance: chance.randint(60, 200),
    "video, 600..1200": lambda chance: chance.randint(600, 1200),
}


def main(count: int) -> None:
    """Measure and print."""
    chance = random.Random(2021)
    for transport in (Transport.UDP, Transport.TCP):
        total = Counter[Protocol]()
        for name, length in LENGTHS.items():
            claims = Counter(
                recognise(transport, chance.randbytes(length(chance))).protocol
                for _ in range(count)
            )
            del claims[Protocol.UNKNOWN]
            total += claims
            told = ", ".join(f"{one} {n / count:.4%}" for one, n in claims.most_common())
            print(f"{transport}  {name:36} {told or 'none'}")
        silent = [one for one in Protocol if not total[one] and one is not Protocol.UNKNOWN]
        print(f"{transport}  each < {3 / count / len(LENGTHS):.1e}: {', '.join(silent)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
