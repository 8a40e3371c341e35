"""Checkpoints.  Owns: what is signed about a log, and the file of all checkpoints of one log.
Knows: C2SP tlog-checkpoint, signed notes.  Never: records, when to sign.

The file has three paragraphs a checkpoint, each with an empty line behind it: the text, its
signature, and `since SIZE HASH…`, the stretch of the tree from the checkpoint before.  That line
is not signed: what it leads to is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.errors import DataError
from gateway.evidence.notes import PublicKey, Signer, from_base64, to_base64
from gateway.evidence.tree import HASH_LEN, Stretch

_EXPECTED = "origin, size, root, time, first and counts, each on a line of its own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is signed: the log had these records at that time."""

    origin: str
    """Which log, of which key; another log has another one."""
    size: int
    """Records."""
    root: bytes
    """The root hash over them."""
    time: str
    """UTC, RFC 3339, by the gateway's own clock."""
    first: int
    """The first record that is kept: those before it were removed by retention."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What the process counted since it started, by name."""

    def __str__(self) -> str:
        lines = [self.origin, str(self.size), to_base64(self.root), f"time {self.time}"]
        lines += [f"first {self.first}"]
        lines += [f"count {count} {name}" for name, count in sorted(self.counts.items())]
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, text: str, where: str) -> Checkpoint:
        """Read what str() spells.

        Raises:  DataError: anything else; `where` is the place it is from.
        """
        lines = text.splitlines()
        if len(lines) < 5:
            raise DataError(where, "is no checkpoint of a decision log", _EXPECTED)
        origin, size, root, time, first, *counts = lines
        try:
            made = cls(
                origin=origin,
                size=int(size),
                root=from_base64(root) or b"",
                time=time.removeprefix("time "),
                first=int(first.removeprefix("first ")),
                counts=dict(_count(line) for line in counts),
            )
        except ValueError:
            raise DataError(where, "is no checkpoint of a decision log", _EXPECTED) from None
        if str(made) != text or len(made.root) != HASH_LEN or not 0 <= made.first <= made.size:
            raise DataError(where, "is no checkpoint of a decision log", _EXPECTED)
        return made


def _count(line: str) -> tuple[str, int]:
    word, number, name = line.split(" ", 2)
    if word != "count":
        raise ValueError(line)
    return name, int(number)


@dataclass(frozen=True, slots=True)
class Entry:
    """One checkpoint of the file."""

    note: bytes
    """As it was signed."""
    since: Stretch
    """From the checkpoint before, to this one."""
    line: int = 0
    """Where in the file it begins, from 1."""

    def __bytes__(self) -> bytes:
        hashes = "".join(f" {to_base64(node)}" for node in self.since.nodes)
        return self.note + f"\nsince {self.since.begin}{hashes}\n\n".encode()

    def checkpoint(self, key: PublicKey, where: str) -> Checkpoint:
        """Give what was signed.

        Raises:  DataError: it was not signed by this key, or is something else.
        """
        return Checkpoint.parse(key.text_of(self.note, where), where)


def sign(signer: Signer, checkpoint: Checkpoint, since: Stretch) -> Entry:
    """Sign a checkpoint."""
    return Entry(signer.note(str(checkpoint)), since)


def read(octets: bytes, file: str) -> Iterator[Entry]:
    """Read a file of checkpoints; signatures are not looked at.

    What a crash left of a last entry is left out.
    Raises:  DataError: a whole entry is none; those before it were given.
    """
    done = line = 0
    paragraphs = octets.split(b"\n\n")
    for at in range(0, len(paragraphs) - 3, 3):
        text, signature, since = paragraphs[at : at + 3]
        where = f"{file}:{line + 1}"
        entry = Entry(text + b"\n\n" + signature + b"\n", _since(text, since, where), line + 1)
        spelled = bytes(entry)
        if not octets.startswith(spelled, done):
            raise DataError(where, "is no checkpoint", "text, signature, since")
        yield entry
        done += len(spelled)
        line += spelled.count(b"\n")


def _since(text: bytes, since: bytes, where: str) -> Stretch:
    words = since.decode("ascii", "replace").split(" ")
    lines = text.split(b"\n")
    hashes = [from_base64(word) for word in words[2:]]
    if len(words) >= 2 and words[0] == "since" and len(lines) > 1:
        begin, end = (_number(number) for number in (words[1], lines[1].decode("ascii", "replace")))
        nodes = tuple(node for node in hashes if node is not None and len(node) == HASH_LEN)
        stretch = Stretch(begin, end, nodes)
        if len(nodes) == len(hashes) and stretch.is_whole:
            return stretch
    raise DataError(where, "has no stretch of the tree", "since SIZE HASH…, as many as it takes")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1


def thin(entries: Sequence[Entry], is_kept: Sequence[bool]) -> list[Entry]:
    """Leave out checkpoints, so that each that stays still goes on from the one before it."""
    kept: list[Entry] = []
    left_out: Stretch | None = None
    for entry, stays in zip(entries, is_kept, strict=True):
        since = entry.since if left_out is None else left_out.then(entry.since)
        left_out = None if stays else since
        if stays:
            kept.append(Entry(entry.note, since))
    return kept
