"""Logs for operators.  Owns: Twisted's log events → text or JSON lines on a stream.
Knows: twisted.logger, RFC 3339.  Never: decisions; those are evidence."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TextIO

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)

FORMATS = ("text", "json")
LEVELS = ("debug", "info", "warn", "error")


def begin(stream: TextIO, form: str, level: str) -> None:
    """Send every log event of at least a level to a stream, one line each, from now on."""
    write = _json_line if form == "json" else _text_line

    def observer(event: LogEvent) -> None:
        stream.write(write(event) + "\n")
        stream.flush()

    least = LogLevel.lookupByName(level)
    # Twisted's own factories announce each socket at info level, with addresses of clients.
    levels = LogLevelFilterPredicate(defaultLogLevel=least)
    for namespace in ("twisted", "log_legacy"):
        levels.setLogLevelForNamespace(namespace, max(least, LogLevel.warn, key=_rank))
    filtered = FilteringLogObserver(_observer(observer), [levels])
    globalLogBeginner.beginLoggingTo([filtered], redirectStandardIO=False)


def _observer(function: object) -> ILogObserver:
    return function  # type: ignore[return-value]  # a callable provides ILogObserver


def _rank(level: object) -> int:
    return list(LogLevel.iterconstants()).index(level)


def _time(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(float(event.get("log_time", 0.0)), UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _text_line(event: LogEvent) -> str:
    level = getattr(event.get("log_level"), "name", "info")
    name = event.get("log_namespace", "-")
    return f"{_time(event)} {level:5} {name}: {_message(event)}"


def _json_line(event: LogEvent) -> str:
    record = {
        "time": _time(event),
        "level": getattr(event.get("log_level"), "name", "info"),
        "namespace": event.get("log_namespace", "-"),
        "message": _message(event),
    }
    return json.dumps(record, ensure_ascii=False)


def _message(event: LogEvent) -> str:
    message = formatEvent(event)
    failure = event.get("log_failure")
    if failure is not None:
        message = f"{message}: {failure.getTraceback()}"
    return message
