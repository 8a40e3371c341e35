"""Proofs on paper.  Owns: "this record is in that log" as a text that stands alone.
Knows: C2SP tlog-proof v1.  Never: logs, files."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import DataError
from gateway.evidence.checkpoints import Checkpoint
from gateway.evidence.notes import PublicKey, from_base64, to_base64
from gateway.evidence.tree import HASH_LEN, leaf_hash, root_of_path

_MAGIC = "c2sp.org/tlog-proof@v1"
_EXPECTED = "a proof as `gateway verify --record` prints it"
# A tree of 2**64 leaves is no higher.
_MAX_PATH = 64
# A record has 1 kB.
MAX_PROOF_LEN = 1 << 20


@dataclass(frozen=True, slots=True)
class Proof:
    """That a record is in a log, at its place."""

    record: bytes
    """With its line end."""
    index: int
    path: tuple[bytes, ...]
    note: bytes
    """The signed checkpoint."""

    def __str__(self) -> str:
        lines = [_MAGIC, f"extra {to_base64(self.record)}", f"index {self.index}"]
        lines += map(to_base64, self.path)
        return "".join(f"{line}\n" for line in lines) + "\n" + self.note.decode()

    def check(self, key: PublicKey, where: str) -> Checkpoint:
        """Give the checkpoint of the log that the record is in.

        Raises:  DataError: it is not, or nothing says so that the key signed.
        """
        checkpoint = Checkpoint.parse(key.text_of(self.note, where), where)
        leaf = leaf_hash(self.record)
        if root_of_path(leaf, self.index, checkpoint.size, self.path) != checkpoint.root:
            what = f"does not prove that the record is number {self.index} of that log"
            raise DataError(where, what, "hashes that lead to the root that was signed")
        return checkpoint


def read_proof(octets: bytes, where: str) -> Proof:
    """Read a proof.

    Raises:  DataError: it is none.
    """
    if len(octets) > MAX_PROOF_LEN:
        raise DataError(where, "is too long for a proof", f"{MAX_PROOF_LEN} octets at most")
    begin, _, note = octets.partition(b"\n\n")
    magic, *lines = begin.decode("ascii", "replace").split("\n")
    if magic != _MAGIC or len(lines) < 2 or len(lines) > 2 + _MAX_PATH:
        raise DataError(where, "is no proof", _EXPECTED)
    record = from_base64(lines[0].removeprefix("extra "))
    number = lines[1].removeprefix("index ")
    path = [from_base64(line) for line in lines[2:]]
    hashes = tuple(one for one in path if one is not None and len(one) == HASH_LEN)
    if record is None or not (number.isascii() and number.isdigit() and len(number) < 20):
        raise DataError(where, "is no proof", _EXPECTED)
    proof = Proof(record, int(number), hashes, note)
    if len(hashes) != len(path) or str(proof).encode() != octets:
        raise DataError(where, "is no proof", _EXPECTED)
    return proof
