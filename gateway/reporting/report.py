"""The report on a period.  Owns: all that it says, as one JSON object; finding a number's records.
Knows: tables, findings, accounts, what verifying found.  Never: printing, files."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.errors import DataError
from gateway.evidence.verifying import Report as Verified
from gateway.reporting.accounts import balances, last_of_processes
from gateway.reporting.findings import KINDS, findings
from gateway.reporting.store import Store
from gateway.reporting.tables import TABLES, time_text

Account = dict[str, Any]
"""JSON; see docs/evidence.md, The report."""


@dataclass(frozen=True, slots=True)
class Period:
    """Days, UTC, both ends included; None: no end."""

    first: datetime.date | None = None
    last: datetime.date | None = None

    @property
    def condition(self) -> str:
        """Give the condition for its records; one that says no time that can be read is in any."""
        parts = []
        if self.first is not None:
            parts.append(f"time >= '{self.first}'")
        if self.last is not None:
            parts.append(f"time < '{self.last + datetime.timedelta(days=1)}'")
        return f"({' and '.join(parts)} or time is null)" if parts else "true"

    def has(self, time: str) -> bool:
        """Say whether a time, RFC 3339, UTC, is in it."""
        day = time[:10]
        is_early = self.first is not None and day < self.first.isoformat()
        return not is_early and not (self.last is not None and day > self.last.isoformat())


def account_of(store: Store, period: Period, verified: Sequence[Verified]) -> Account:
    """Say everything there is to say of a period; what verifying found is the caller's to say."""
    condition = period.condition
    whole = store.rows(
        f"select count(*) as records, count(*) filter (kind = 'decided') as decisions, "
        f"count(distinct client) as clients, min(time) as first, max(time) as last "
        f"from records where {condition}"
    )[0]
    tables = {}
    for table in TABLES:
        rows, more = table.rows(store, condition)
        tables[table.name] = {"rows": rows, "left_out": more, "of": table.of}
    return {
        "period": {
            "from": period.first and period.first.isoformat(),
            "to": period.last and period.last.isoformat(),
            "condition": condition,
            "first": whole["first"] and time_text(whole["first"]),
            "last": whole["last"] and time_text(whole["last"]),
        },
        "records": whole["records"],
        "decisions": whole["decisions"],
        "clients": whole["clients"],
        "findings": findings(store, condition),
        "tables": tables,
        "processes": [one for log in verified for one in _processes(store, period, log)],
    }


def _processes(store: Store, period: Period, verified: Verified) -> Iterator[Account]:
    begins = store.rows(
        "select n from records where kind = 'begin' and log = ? order by n", [verified.log]
    )
    numbers = [one["n"] for one in begins]
    for one in last_of_processes(verified.trusted, numbers):
        if period.has(one.time):
            yield {
                "log": verified.log,
                "checkpoint": one.size,
                "time": one.time,
                "counts": dict(one.counts),
                "balances": balances(one.counts),
            }


def records_of(store: Store, period: Period, name: str) -> Iterator[str]:
    """Give the records behind a number of the report, as they stand in the log.

    Args:    name: a row's, such as rules/2 or findings/canary; of one of its numbers, such as
             rules/2/ping.
    Raises:  DataError: there is no such row or number.
    """
    condition = _condition(store, period, name)
    return store.lines(f"{condition} and {period.condition}")


def _condition(store: Store, period: Period, name: str) -> str:
    table_name, _, rest = name.partition("/")
    at, _, measure = rest.partition("/")
    if table_name == "findings":
        for kind in KINDS:
            if kind.name == at:
                return kind.where
    for table in TABLES:
        if table.name == table_name:
            for row in table.rows(store, period.condition)[0]:
                if row["row"] == f"{table_name}/{at}":
                    return table.condition(row, measure or None)
    raise DataError(name, "is no row of the report", "a row such as rules/2 or findings/canary")
