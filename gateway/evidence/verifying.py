"""Verifying a log.  Owns: what can be concluded from a log, its checkpoints and the public key.
Knows: signed checkpoints, the tree.  Never: the network, the private key, writing anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gateway.errors import DataError
from gateway.evidence import checkpoints
from gateway.evidence.checkpoints import Checkpoint, Entry
from gateway.evidence.files import LogFiles
from gateway.evidence.notes import PublicKey
from gateway.evidence.proofs import Proof
from gateway.evidence.spool import spool_files
from gateway.evidence.tree import Stretch, consistency_path, inclusion_path
from gateway.evidence.walking import Broken, Finding, Walk, Walked, find


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked about a log besides whether it is whole."""

    record: int | str | None = None
    """A record to prove: its number, or text that is in it."""
    since: Checkpoint | None = None
    """A checkpoint known from elsewhere, its signature checked."""


@dataclass(slots=True)
class Report:
    """What can be concluded about one log."""

    log: str
    """Its path without suffix."""
    origin: str = ""
    checkpoints: int = 0
    first: int = 0
    """The first record that is there; those before it were removed by retention."""
    records: int = 0
    """All records ever, as far as the log tells."""
    proven: int = 0
    """Of them, those that the last checkpoint vouches for."""
    last: Checkpoint | None = None
    trusted: list[Checkpoint] = field(default_factory=list)
    """All that were signed by the key, up to the first that was not."""
    findings: list[Finding] = field(default_factory=list)
    """The first thing wrong in the checkpoints, and the first in the records."""
    open: list[str] = field(default_factory=list)
    """What is not proven."""
    shown: list[str] = field(default_factory=list)
    """What else is proven."""
    proof: Proof | None = None
    consistency: list[bytes] | None = None
    """From the checkpoint asked for to the last (RFC 9162 section 2.1.4)."""


def verify(files: LogFiles, key: PublicKey, asked: Asked) -> Report:
    """Verify one log.

    Raises:  OSError: a file cannot be read.
    """
    report = Report(str(files.folder / files.stem))
    trusted, signed = _checkpoints(report, files, key)
    report.trusted = trusted
    if not trusted:
        return report
    report.last = trusted[-1]
    report.origin, report.checkpoints = report.last.origin, len(trusted)
    index = asked.record
    if isinstance(index, str):
        index = find(files, index.encode())
        if index is None:
            report.findings.append(Finding(report.log, f'no record has "{asked.record}" in it'))
    marks = frozenset(() if asked.since is None else (asked.since.size,))
    try:
        walk = Walk(files, [entry.since for entry in signed], marks, index)
        walked = walk.go()
    except Broken as broken:
        report.findings.append(broken.finding)
        return report
    _conclude(report, walked, files)
    _prove_record(report, walked, index, signed[-1])
    _hold_against(report, walked, asked.since, trusted, signed)
    return report


def _checkpoints(
    report: Report, files: LogFiles, key: PublicKey
) -> tuple[list[Checkpoint], list[Entry]]:
    """Read the checkpoints, up to the first that cannot be trusted."""
    path = files.checkpoints
    trusted: list[Checkpoint] = []
    signed: list[Entry] = []
    try:
        if not path.exists():
            raise DataError(str(path), "is missing, so nothing is proven", "a file of checkpoints")
        octets = path.read_bytes()
        for entry, checkpoint in _trusted(checkpoints.read(octets, str(path)), key, str(path)):
            signed.append(entry)
            trusted.append(checkpoint)
        done = sum(len(bytes(entry)) for entry in signed)
        if done < len(octets) or not signed:
            line = octets.count(b"\n", 0, done) + 1
            raise DataError(f"{path}:{line}", "is no whole checkpoint", "text, signature, since")
    except DataError as error:
        report.findings.append(Finding(error.path, str(error).removeprefix(f"{error.path}: ")))
    return trusted, signed


def _trusted(
    entries: Iterable[Entry], key: PublicKey, file: str
) -> Iterator[tuple[Entry, Checkpoint]]:
    """Give checkpoints that were signed, each going on from the one before."""
    whole = Stretch()
    before: Checkpoint | None = None
    for entry in entries:
        where = f"{file}:{entry.line}"
        checkpoint = entry.checkpoint(key, where)
        if entry.since.begin != whole.end:
            what = f"does not follow the checkpoint before, of {whole.end} records"
            raise DataError(where, what, "the next checkpoint")
        whole = whole.then(entry.since)
        if checkpoint.root != whole.root():
            raise DataError(where, "does not go on from the checkpoint before", "the same tree")
        if before is not None and before.origin != checkpoint.origin:
            raise DataError(where, "is another log's", f"a checkpoint of {before.origin}")
        if before is not None and before.first > checkpoint.first:
            raise DataError(where, "keeps what was removed already", f"first {before.first}")
        before = checkpoint
        yield entry, checkpoint


def _conclude(report: Report, walked: Walked, files: LogFiles) -> None:
    assert report.last is not None
    report.first, report.records, report.proven = walked.first, walked.whole.end, walked.proven
    signed_first = report.last.first
    if walked.first > signed_first:
        what = f"records {signed_first} to {walked.first - 1} are missing: no checkpoint says that "
        report.findings.append(Finding(report.log, f"{what}retention removed them"))
    elif walked.first:
        report.open.append(
            f"records 0 to {walked.first - 1} were removed by retention, by the checkpoint of "
            f"{report.last.size} records at {report.last.time}; their hashes are still in the tree"
        )
    if walked.whole.end > report.proven:
        report.open.append(
            f"records {report.proven} to {walked.whole.end - 1}, behind the last checkpoint, are "
            "not signed yet: who can write to the log could have changed them"
        )
    if waiting := spool_files(files):
        report.open.append(
            f"what is in {waiting[0].path.name} and later may not be in the log yet: the gateway "
            "writes it there, and the next start does, if it was killed"
        )
    if walked.torn_len:
        report.open.append(
            f"the log ends with {walked.torn_len} octets of a record that is not whole"
        )


def _prove_record(report: Report, walked: Walked, index: int | None, last: Entry) -> None:
    if index is None:
        return
    if not walked.first <= index < report.proven:
        where = "was removed" if index < walked.first else "is not there, or not signed yet"
        report.findings.append(Finding(report.log, f"record {index} {where}: no proof"))
        return
    path = inclusion_path(walked.marks[index], walked.tails[index + 1])
    report.proof = Proof(walked.record, index, tuple(path), last.note)


def _hold_against(
    report: Report,
    walked: Walked,
    since: Checkpoint | None,
    trusted: list[Checkpoint],
    signed: list[Entry],
) -> None:
    """Hold the log against a checkpoint known from elsewhere."""
    if since is None or since.origin != report.origin:
        if since is None:
            report.open.append(
                "that nothing was cut off behind the last checkpoint, checkpoints and all: hold "
                "it against a checkpoint kept elsewhere (--since)"
            )
        return
    then = walked.marks.get(since.size) or _signed_at(since.size, signed)
    known = f"the checkpoint of {since.size} records at {since.time}"
    if since.size > walked.whole.end:
        what = f"has {walked.whole.end} records, fewer than {known}: it was cut back"
        report.findings.append(Finding(report.log, what))
    elif then is None:
        what = f"cannot be held against {known}: those records were removed"
        report.findings.append(Finding(report.log, what))
    elif then.root() != since.root:
        report.findings.append(Finding(report.log, f"is not the log of {known}"))
    else:
        report.shown.append(f"the log goes on from {known}, and nothing before it was changed")
        if since.size in walked.tails:
            report.consistency = consistency_path(then, walked.tails[since.size])


def _signed_at(size: int, signed: list[Entry]) -> Stretch | None:
    whole = Stretch()
    for entry in signed:
        whole = whole.then(entry.since)
        if whole.end == size:
            return whole
    return None
