"""The shape of records, for DuckDB.  Owns: which members of a record are read, as what.
Knows: docs/evidence.md, Records; DuckDB's types.  Never: counting."""

from __future__ import annotations

_EVIDENCE = 'STRUCT(axis VARCHAR, "value" VARCHAR, stale BOOLEAN)'
_TO = (
    f"STRUCT(address VARCHAR, jurisdictions VARCHAR[], evidence {_EVIDENCE}[], "
    "undetermined VARCHAR[])"
)
_FACTS = (
    "STRUCT(protocol VARCHAR, message VARCHAR, traffic VARCHAR, "
    f'plaintext STRUCT(kind VARCHAR)[], names VARCHAR[], "to" {_TO})'
)
_WOULD = "STRUCT(action VARCHAR, target VARCHAR, rule VARCHAR)"
_VERDICT = (
    "STRUCT(action VARCHAR, target VARCHAR, rule VARCHAR, reason VARCHAR, mode VARCHAR, "
    f'epoch BIGINT, "would" {_WOULD})'
)
_BEGIN = (
    "STRUCT(log VARCHAR, records BIGINT, clean BOOLEAN, torn BIGINT, set_aside VARCHAR, "
    "why VARCHAR, spool_set_aside VARCHAR[])"
)
_CANARY = (
    "STRUCT(flow VARCHAR, note VARCHAR, through VARCHAR, expected VARCHAR, "
    "action VARCHAR, rule VARCHAR, carried VARCHAR, outcome VARCHAR)"
)

COLUMNS = {
    "n": "BIGINT",
    "time": "TIMESTAMP",
    "client": "VARCHAR",
    "flow": "VARCHAR",
    "facts": _FACTS,
    "verdict": _VERDICT,
    "not_carried": "VARCHAR",
    "policy": "VARCHAR",
    "data": "VARCHAR",
    "begin": _BEGIN,
    "gap": "STRUCT(lost BIGINT)",
    "end": "STRUCT(lost BIGINT)",
    "canary": _CANARY,
    "epoch": 'STRUCT("number" BIGINT, "name" VARCHAR, mode VARCHAR)',
    "leak": "STRUCT(found VARCHAR, plaintext STRUCT(kind VARCHAR)[])",
}
"""Member → type; what is not here is not read, what is not there is null."""

KIND = """case
  when n is null then 'unreadable'
  when "begin" is not null then 'begin' when gap is not null then 'gap'
  when "end" is not null then 'end' when canary is not null then 'canary'
  when epoch is not null then 'epoch' when leak is not null then 'leak'
  when verdict is null then 'other'
  when not_carried is not null then 'not carried'
  when facts."to" is null then 'barred'
  else 'decided' end"""
"""What a record is."""

COUNTRIES = """list_sort(list_distinct(list_transform(
  list_filter(facts."to".evidence, lambda one: length(one."value") = 2
    and not coalesce(one.stale, false)),
  lambda one: one."value")))"""
"""Every country that a source names on any axis."""

IDENTIFIERS = "list_sort(list_distinct(list_transform(facts.plaintext, lambda one: one.kind)))"
"""The kinds of identifier that were in plaintext."""
