"""The tables of a report.  Owns: which records each row counts, said so that they can be found
again.  Knows: SQL, the view `records`.  Never: words for people; numbers of its own.

A row counts the records for which its `where` is true, and each further number of it those for
which that measure's condition is true too.  So every number has its records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import DataError
from gateway.reporting.store import Store

# More rows are for a program: it has --parquet.
_MAX_ROWS = 300

Row = dict[str, Any]
"""row (TABLE/NUMBER), the dimensions, records, the measures, first, last, where."""

_ACTIONS = {one: f"verdict.action = '{one}'" for one in ("allow", "reroute", "wrap", "block")}
_TRAFFIC = {
    one: f"facts.traffic = '{one}'" for one in ("ping", "signalling", "telemetry", "media", "dns")
}
_PLAIN = {"plaintext": "len(identifiers) > 0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table: records, grouped."""

    name: str
    of: str
    """The records that it is about."""
    by: Mapping[str, str]
    """What they are grouped by: name → expression."""
    each: str | None = None
    """Of `by`, the one whose expression is a list: a record counts for each member of it."""
    measures: Mapping[str, str] = field(default_factory=dict)
    """What is counted besides: name → condition."""

    def rows(self, store: Store, period: str) -> tuple[list[Row], int]:
        """Count: the rows, those of most records first, and how many more there are."""
        found = store.rows(self._query(period))
        rows = [self._row(number, one) for number, one in enumerate(found[:_MAX_ROWS], 1)]
        more = 0 if len(found) <= _MAX_ROWS else self._groups(store, period) - _MAX_ROWS
        return rows, more

    def condition(self, row: Row, measure: str | None = None) -> str:
        """Give the condition for a row's records, or for those of one of its measures.

        Raises:  DataError: it has no such measure.
        """
        if measure is None:
            return str(row["where"])
        if measure not in self.measures:
            expected = ", ".join(self.measures) or "the row alone"
            raise DataError(f"{row['row']}/{measure}", "is no number of the report", expected)
        return f"{row['where']} and {self.measures[measure]}"

    def _query(self, period: str) -> str:
        dimensions = ", ".join(f'_{at} as "{name}"' for at, name in enumerate(self.by))
        measures = "".join(
            f', count(*) filter ({condition}) as "{name}"'
            for name, condition in self.measures.items()
        )
        return (
            f"select {dimensions}, count(*) as records{measures}, min(time) as first, "
            f"max(time) as last from ({self._grouped(period)}) group by {self._numbers} "
            f"order by records desc, {self._numbers} limit {_MAX_ROWS + 1}"
        )

    @property
    def _numbers(self) -> str:
        # No name of a record's own: the conditions of measures ask those.
        return ", ".join(f"_{at}" for at, _ in enumerate(self.by))

    def _grouped(self, period: str) -> str:
        columns = ", ".join(
            f"unnest({_members(expression)}) as _{at}"
            if name == self.each
            else f"{expression} as _{at}"
            for at, (name, expression) in enumerate(self.by.items())
        )
        return f"select {columns}, * from records where {self.of} and {period}"

    def _groups(self, store: Store, period: str) -> int:
        grouped = f"select distinct {self._numbers} from ({self._grouped(period)})"
        return int(store.rows(f"select count(*) as n from ({grouped})")[0]["n"])

    def _row(self, number: int, found: Row) -> Row:
        conditions = [self.of]
        for name, expression in self.by.items():
            value = _spelled(found[name])
            if name == self.each:
                conditions.append(f"list_contains({_members(expression)}, {value})")
            else:
                conditions.append(f"{expression} is not distinct from {value}")
        times = {name: found[name] and time_text(found[name]) for name in ("first", "last")}
        return {"row": f"{self.name}/{number}", **found, **times, "where": " and ".join(conditions)}


NONE = "(none)"
"""The only member of a list that has none."""


def _members(expression: str) -> str:
    return f"case when len({expression}) > 0 then {expression} else ['{NONE}'] end"


def _spelled(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool | int):
        return str(value).lower()
    return "'" + str(value).replace("'", "''") + "'"


def time_text(value: Any) -> str:
    """Give a time of DuckDB's as the log has it."""
    return str(value.isoformat(timespec="milliseconds")) + "Z"


# A block in doubt has the doubt behind its rule's reason (policy.rule).
_REASON = "split_part(verdict.reason, ' (undetermined: ', 1)"
_DECIDED = "kind = 'decided'"

TABLES = (
    Table(
        name="epochs",
        of="kind in ('epoch', 'decided')",
        by={
            "log": "log",
            "policy": "policy",
            "data": "data",
            "epoch": "coalesce(epoch.number, verdict.epoch)",
        },
        measures={"entered": "kind = 'epoch'", **_ACTIONS},
    ),
    Table(
        name="actions",
        of=_DECIDED,
        by={"action": "verdict.action", "mode": "verdict.mode"},
        measures={**_TRAFFIC, **_PLAIN},
    ),
    Table(
        name="jurisdictions",
        of=_DECIDED,
        by={"jurisdiction": 'facts."to".jurisdictions'},
        each="jurisdiction",
        measures={**_ACTIONS, **_PLAIN},
    ),
    Table(
        name="undetermined",
        of=f'{_DECIDED} and len(facts."to".undetermined) > 0',
        by={"jurisdiction": 'facts."to".undetermined'},
        each="jurisdiction",
        measures={**_ACTIONS, **_PLAIN},
    ),
    Table(
        name="countries",
        of=_DECIDED,
        by={"country": "countries"},
        each="country",
        measures={**_ACTIONS, **_PLAIN},
    ),
    Table(
        name="rules",
        of=_DECIDED,
        by={
            "action": "verdict.action",
            "target": "verdict.target",
            "rule": "verdict.rule",
            "reason": _REASON,
        },
        measures={
            "in_doubt": f"verdict.reason <> {_REASON}",
            **_TRAFFIC,
            **_PLAIN,
        },
    ),
    Table(
        name="traffic",
        of=_DECIDED,
        by={
            "traffic": "facts.traffic",
            "protocol": "facts.protocol",
            "message": "facts.message",
        },
        measures={**_ACTIONS, **_PLAIN},
    ),
    Table(
        name="identifiers",
        of=f"{_DECIDED} and len(identifiers) > 0",
        by={"kind": "identifiers"},
        each="kind",
        measures=_ACTIONS,
    ),
    Table(
        name="shadow",
        of=f'{_DECIDED} and verdict."would" is not null',
        by={
            "would": 'verdict."would".action',
            "rule": 'verdict."would".rule',
            "did": "verdict.action",
        },
        measures=_TRAFFIC,
    ),
    Table(
        name="leaks",
        of="kind = 'leak'",
        by={
            "found": "leak.found",
            "kinds": "array_to_string(list_sort(list_distinct(list_transform(leak.plaintext, "
            "lambda one: one.kind))), ', ')",
        },
    ),
    Table(
        name="not-carried",
        of="kind = 'not carried'",
        by={"action": "verdict.action", "rule": "verdict.rule", "reason": "not_carried"},
    ),
    Table(
        name="barred",
        of="kind = 'barred'",
        by={"rule": "verdict.rule", "reason": _REASON},
    ),
    Table(
        name="canaries",
        of="kind = 'canary'",
        by={
            "flow": "canary.flow",
            "note": "canary.note",
            "through": "canary.through",
            "expected": "canary.expected",
            "action": "canary.action",
            "rule": "canary.rule",
            "carried": "canary.carried",
            "outcome": "canary.outcome",
        },
    ),
    Table(
        name="gaps",
        of="""(kind in ('gap', 'unreadable', 'other')
  or kind = 'begin' and not ("begin".clean and "begin".torn = 0 and "begin".set_aside is null
    and "begin".spool_set_aside is null)
  or kind = 'end' and "end".lost > 0)""",
        by={
            "time": "strftime(time, '%Y-%m-%dT%H:%M:%SZ')",
            "log": "log",
            "what": "kind",
            "clean": '"begin".clean',
            "torn": '"begin".torn',
            "set_aside": '"begin".set_aside',
            "lost": 'coalesce(gap.lost, "end".lost)',
        },
    ),
)
"""All of them, in the report's order."""
