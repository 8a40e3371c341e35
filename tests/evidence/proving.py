"""What tests of the log need.  Owns: a key, limits, reading what was decided.
Never: a clock of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from gateway.evidence.decisions import DecisionLog
from gateway.evidence.direct import Direct
from gateway.evidence.files import LogLimits
from gateway.evidence.journal import Proving
from gateway.evidence.notes import Signer

SIGNER = Signer(b"s" * 32)
OTHER_SIGNER = Signer(b"t" * 32)
OWN = ("begin", "gap", "end", "epoch")


def nothing() -> Mapping[str, int]:
    """Count nothing."""
    return {}


def proving(
    signer: Signer = SIGNER, counting: Callable[[], Mapping[str, int]] = nothing, **limits: Any
) -> Proving:
    """Give what a log needs; every log of a test has the same name but for its key."""
    return Proving(
        signer=signer,
        random=lambda length: b"r" * length,
        limits=LogLimits(**limits),
        counting=counting,
    )


def decided(text: str) -> list[dict[str, Any]]:
    """Read the records of a log but its own."""
    records = [json.loads(line) for line in text.splitlines()]
    return [record for record in records if not any(kind in record for kind in OWN)]


def journal(log: DecisionLog) -> Direct:
    """Give the journal of a log that is written at once."""
    assert isinstance(log._journal, Direct)
    return log._journal
