"""What router mode's processes say to each other.  Owns: orders and reports ⇄ lines.
Knows: RFC 8259 (JSON), one object a line.  Never: pipes, what an order does."""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict, dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from gateway.errors import WireError

MAX_LINE_LEN = 1 << 20
"""An account names every rule that decided."""
Said = TypeVar("Said")


@dataclass(frozen=True, slots=True)
class Prepare:
    """To a worker: load an epoch, and let packets wait."""

    number: int
    """Of the policy's epoch."""
    today: datetime.date
    reads: bool
    state: str
    """What must come of it."""
    kind: Literal["prepare"] = "prepare"


@dataclass(frozen=True, slots=True)
class Adopt:
    """To a worker: judge by what was prepared."""

    epoch: int
    """Of the marks."""
    kind: Literal["adopt"] = "adopt"


@dataclass(frozen=True, slots=True)
class Abandon:
    """To a worker: judge on as before."""

    kind: Literal["abandon"] = "abandon"


@dataclass(frozen=True, slots=True)
class Ready:
    """From a worker: what was ordered last is done; at first, that it judges."""

    kind: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True)
class Refused:
    """From a worker: what was ordered cannot be done, and why."""

    reason: str
    kind: Literal["refused"] = "refused"


@dataclass(frozen=True, slots=True)
class Account:
    """From a worker, every few seconds: what it counted since it began."""

    flows: int
    """That it remembers now."""
    epoch: int
    """Of the policy."""
    rules: dict[str, int]
    """How often each rule has decided since this epoch is in force."""
    numbers: dict[str, dict[str, int]]
    """By group and name (accounts)."""
    kind: Literal["account"] = "account"


Order = Prepare | Adopt | Abandon
Report = Ready | Refused | Account
_BY_KIND = Field(discriminator="kind")
_ORDERS: TypeAdapter[Order] = TypeAdapter(Annotated[Order, _BY_KIND])
_REPORTS: TypeAdapter[Report] = TypeAdapter(Annotated[Report, _BY_KIND])


def line(said: Order | Report) -> bytes:
    """Write an order or a report, without the line's end."""
    return json.dumps(asdict(said), default=str).encode()


def order(octets: bytes) -> Order:
    """Read an order.

    Raises:  WireError: it is none.
    """
    return _read(_ORDERS, octets)


def report(octets: bytes) -> Report:
    """Read a report.

    Raises:  WireError: it is none.
    """
    return _read(_REPORTS, octets)


def _read(adapter: TypeAdapter[Said], octets: bytes) -> Said:
    try:
        return adapter.validate_json(octets)
    except ValidationError as error:
        raise WireError("a worker's line", 0, str(error.errors()[0]["msg"])) from error
