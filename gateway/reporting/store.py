"""Records to ask about.  Owns: logs → one table in DuckDB, over a Parquet export; bounded memory.
Knows: DuckDB.  Never: what is asked; writing beside a log.

The export is made anew each time, in a folder of its own that is removed: one that was kept beside
the log could be changed without being found out, and a report rests on what was verified."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from gateway.errors import DataError
from gateway.evidence.files import LogFiles
from gateway.reporting.shape import COLUMNS, COUNTRIES, IDENTIFIERS, KIND

if TYPE_CHECKING:
    import duckdb

# More than this is spilled to the folder of the export.
_MEMORY = "512MB"
# Longer than any record (evidence.files).
_MAX_RECORD_LEN = 1 << 20
_MAX_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Log:
    """One log to read."""

    files: LogFiles
    records: int | None
    """Those from this number on were not there when it was verified; None: it is broken, and all
    that can be read is read."""

    @property
    def name(self) -> str:
        """Its folder and stem."""
        return str(self.files.folder / self.files.stem)

    def paths(self) -> list[Path]:
        """Give its files of records, the oldest first."""
        return [path for path in self.files.there() if path.suffix == ".jsonl"]


class Store:
    """Answers queries over the view `records`: log, file, kind, countries, identifiers, and the
    members of shape.COLUMNS."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def rows(self, query: str, values: Sequence[object] = ()) -> list[dict[str, Any]]:
        """Ask, and give all of a small answer."""
        asked = self._connection.execute(query, list(values))
        names = [column[0] for column in asked.description or ()]
        return [dict(zip(names, row, strict=True)) for row in asked.fetchall()]

    def count(self, condition: str) -> int:
        """Count the records for which a condition is true."""
        return int(self.rows(f"select count(*) as n from records where {condition}")[0]["n"])

    def lines(self, condition: str) -> Iterator[str]:
        """Give the records for which a condition is true, as they stand in the log."""
        self._connection.execute(
            "create or replace temp table asked as "
            f"select file, n from records where {condition} and n is not null"
        )
        files = [one["file"] for one in self.rows("select distinct file from asked order by file")]
        for file in files:
            yield from self._lines_of(file)

    def _lines_of(self, file: str) -> Iterator[str]:
        # The delimiter occurs in no JSON text: a line is one column.
        asked = self._connection.execute(
            f"""select line from read_csv(?, columns = {{'line': 'VARCHAR'}}, delim = '\x01',
            quote = '', escape = '', header = false, auto_detect = false, strict_mode = false,
            max_line_size = {_MAX_RECORD_LEN}) where
            try_cast(regexp_extract(line, '^\\{{"n":(\\d+),', 1) as bigint) in
            (select n from asked where file = ?)
            order by try_cast(regexp_extract(line, '^\\{{"n":(\\d+),', 1) as bigint)""",
            [_literal(file), file],
        )
        while some := asked.fetchmany(_MAX_AT_ONCE):
            yield from (line for (line,) in some)


@contextmanager
def opened(logs: Sequence[Log], keep: Path | None = None) -> Iterator[Store]:
    """Export logs, and give what can be asked about them.

    Args:    keep: a file for the export, which stays; omitted: it is removed.
    Raises:  DataError: a file cannot be read, or was moved meanwhile.
    """
    import duckdb  # here: what runs a gateway has no use for its 50 MB

    with TemporaryDirectory(prefix="gateway-report-") as folder:
        export = keep or Path(folder, "records.parquet")
        connection = duckdb.connect(config={"temp_directory": folder})
        try:
            _restrain(connection)
            try:
                _export(connection, logs, export)
            except duckdb.Error as error:
                what = f"cannot be read: {str(error).splitlines()[0]}"
                where = ", ".join(log.name for log in logs)
                raise DataError(where, what, "decision logs") from error
            path = _quoted(_literal(str(export)))
            connection.execute(f"create view records as select * from read_parquet({path})")
            yield Store(connection)
        finally:
            connection.close()


def _restrain(connection: duckdb.DuckDBPyConnection) -> None:
    for setting in (
        f"memory_limit = '{_MEMORY}'",
        "preserve_insertion_order = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "TimeZone = 'UTC'",
    ):
        connection.execute(f"set {setting}")


def _export(connection: duckdb.DuckDBPyConnection, logs: Sequence[Log], export: Path) -> None:
    columns = ", ".join(f"'{name}': '{type_}'" for name, type_ in COLUMNS.items())
    connection.execute("create temp table logs (file varchar, log varchar, records bigint)")
    paths = []
    for log in logs:
        for path in log.paths():
            if path.stat().st_size:
                paths.append(str(path))
                of_log = [str(path), log.name, log.records]
                connection.execute("insert into logs values (?, ?, ?)", of_log)
    if not paths:
        raise DataError(", ".join(log.name for log in logs), "has no records", "a decision log")
    query = f"""copy (select log, file, {KIND} as kind, {COUNTRIES} as countries,
        {IDENTIFIERS} as identifiers, {", ".join(f'"{name}"' for name in COLUMNS)}
        from read_json([{", ".join(_quoted(_literal(path)) for path in paths)}],
        format = 'newline_delimited', columns = {{{columns}}}, ignore_errors = true,
        filename = 'file', maximum_object_size = {_MAX_RECORD_LEN})
        join logs using (file) where n is null or records is null or n < records)
        to {_quoted(str(export))} (format parquet, compression zstd, use_tmp_file false)"""
    os.close(os.open(export, os.O_WRONLY | os.O_CREAT, 0o600))  # nobody else's to read
    connection.execute(query)


def _literal(path: str) -> str:
    """Spell a path so that DuckDB finds no pattern in it."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
