"""What a comparison costs: the bundled data against a variant, over all of IPv4 and IPv6.

In the variant one in a hundred of the distinct words on location is another.  Printed are medians
over rounds, nothing being remembered of any place, and the ratio to loading
the bundled data.  The goal: two data files in under 10 s on a loaded machine of 2 cores.
"""

from __future__ import annotations

import datetime
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TypeVar

from gateway import geo, policy
from gateway.flow.epoch import Epoch
from gateway.geo.bundle import decode, encode
from gateway.geo.loading import BUNDLED_FILE
from gateway.model import Mode
from gateway.review.space import compare

ROUNDS = 5
DAY = datetime.date(2026, 11, 23)
POLICY = Path(__file__).parents[2] / "policies" / "default.yaml"

Value = TypeVar("Value")


def variant(folder: Path) -> Path:
    """Write the bundled data with other words on location here and there."""
    bundle = decode((resources.files("gateway.geo") / "data" / BUNDLED_FILE).read_bytes(), "")
    chance, location = random.Random(1), bytearray(bundle.location)
    for at in chance.sample(range(1, len(location)), len(location) // 100):
        location[at] = chance.randrange(len(bundle.countries))
    file = folder / BUNDLED_FILE
    file.write_bytes(encode(replace(bundle, location=bytes(location))))
    return file


def timed(times: list[float], call: Callable[[], Value]) -> Value:
    """Call, and note how many seconds it took."""
    begin = time.perf_counter()
    value = call()
    times.append(time.perf_counter() - begin)
    return value


def load(path: Path | None) -> geo.Atlas:
    """Load a data file; None: the bundled one."""
    return geo.load([geo.Bundled(path)], today=DAY, max_age_days=120)


def main() -> None:
    """Measure and print."""
    loading: list[float] = []
    data: list[float] = []
    mode: list[float] = []
    ours = policy.load(POLICY, DAY)
    shadow = replace(ours, mode=Mode.SHADOW)
    with tempfile.TemporaryDirectory() as name:
        file = variant(Path(name))
        for _ in range(ROUNDS):
            old, new = timed(loading, lambda: load(None)), load(file)
            timed(data, partial(compare, Epoch.of(1, ours, old), Epoch.of(2, ours, new)))
            again = load(None)
            timed(mode, partial(compare, Epoch.of(1, ours, again), Epoch.of(2, shadow, again)))
    base = statistics.median(loading)
    print(f"medians of {ROUNDS} rounds; loading the bundled data {base:.2f} s")
    for what, times in (("two data files", data), ("every address changes", mode)):
        median = statistics.median(times)
        print(
            f"{what}: {median:.2f} s, {median / base:.1f} times loading; worst {max(times):.2f} s"
        )


if __name__ == "__main__":
    main()
