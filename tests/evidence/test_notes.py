"""gateway.evidence.notes and checkpoints: what is signed, and how it is read."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from gateway.errors import DataError
from gateway.evidence.checkpoints import Checkpoint, Entry, read, sign, thin
from gateway.evidence.notes import MAX_NOTE_LEN, PublicKey
from gateway.evidence.tree import Stretch, leaf_hash
from tests.evidence.proving import OTHER_SIGNER, SIGNER
from tests.support.rows import rows

# The example of Go's golang.org/x/mod/sumdb/note, where the format comes from.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_NOTE = GO_TEXT + (
    "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdng"
    "otpRZb6KE6RyyBwJnAM=\n"
)
LEAVES = [leaf_hash(b"%d\n" % number) for number in range(30)]


def entries(*sizes: int) -> list[Entry]:
    """Sign a log at some sizes."""
    made, before = [], 0
    for size in sizes:
        made.append(
            sign(
                SIGNER,
                Checkpoint(
                    origin="example.org/log",
                    size=size,
                    root=Stretch.of(0, LEAVES[:size]).root(),
                    time="2026-11-23T12:00:00.000Z",
                    first=0,
                    counts={"decided: allow": size, "records: lost": 0},
                ),
                Stretch.of(before, LEAVES[before:size]),
            )
        )
        before = size
    return made


class NoteTests(SynchronousTestCase):
    """Notes are those of transparency logs."""

    def test_others_note(self) -> None:
        """A note that Go's tools signed is read; so ours can be read by them."""
        key = PublicKey.parse(GO_KEY, "key")
        self.assertEqual(str(key), GO_KEY)
        self.assertEqual(key.text_of(GO_NOTE.encode(), "note"), GO_TEXT)

    def test_ours(self) -> None:
        """What we sign our public key checks, read from its text; another key does not."""
        note = SIGNER.note("a\nb\n")
        key = PublicKey.parse(f"{SIGNER.public}\n", "key")
        self.assertEqual(key.text_of(note, "note"), "a\nb\n")
        error = self.assertRaises(DataError, OTHER_SIGNER.public.text_of, note, "here")
        self.assertIn("here: bears no signature of this key", str(error))

    def test_witnesses(self) -> None:
        """Signatures of others below ours do not disturb."""
        note = SIGNER.note("a\n") + "— witness.example AAAAAAAA\n".encode()
        self.assertEqual(SIGNER.public.text_of(note, "note"), "a\n")

    def test_every_bit(self) -> None:
        """A note of which any bit was changed is refused."""
        note = SIGNER.note("a\nb\n")
        for at in range(len(note) * 8):
            changed = bytearray(note)
            changed[at // 8] ^= 1 << at % 8
            self.assertRaises(DataError, SIGNER.public.text_of, bytes(changed), "note")

    def test_too_long(self) -> None:
        """A note that is longer than any is not even looked at."""
        note = SIGNER.note("a" * MAX_NOTE_LEN + "\n")
        self.assertRaises(DataError, SIGNER.public.text_of, note, "note")


@rows(
    text={
        "nothing": ("",),
        "no key": ("name+00000000+",),
        "another id": (GO_KEY.replace("c74f20a3", "c74f20a4"),),
        "another name": (GO_KEY.replace("Peter", "Pieter"),),
        "another type": ("name+00000000+AhpcAAAA",),
        "a file": ("\x00\xff",),
    }
)
class KeyTextTests(SynchronousTestCase):
    """A public key is read exactly or refused."""

    def check_text(self, text: str) -> None:
        """This is none."""
        error = self.assertRaises(DataError, PublicKey.parse, text, "log.pub")
        self.assertIn("log.pub: is no public key", str(error))


class CheckpointTests(SynchronousTestCase):
    """A file of checkpoints is read as it was written, or not at all."""

    def test_there_and_back(self) -> None:
        """What was signed is read again."""
        made = entries(1, 7, 7, 30)
        found = list(read(b"".join(map(bytes, made)), "file"))
        self.assertEqual(
            [(one.note, one.since) for one in found], [(e.note, e.since) for e in made]
        )
        checkpoint = found[1].checkpoint(SIGNER.public, "file:9")
        self.assertEqual((checkpoint.size, checkpoint.counts["decided: allow"]), (7, 7))
        self.assertEqual(found[1].line, bytes(made[0]).count(b"\n") + 1)

    def test_cut(self) -> None:
        """Cut anywhere, the entries that are whole are read."""
        made = entries(1, 7)
        octets = b"".join(map(bytes, made))
        for end in range(len(octets)):
            found = list(read(octets[:end], "file"))
            self.assertEqual(len(found), end >= len(bytes(made[0])))

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=60), st.integers(0, 900))
    def test_anything(self, octets: bytes, at: int) -> None:
        """Whatever is in the file, it is entries, or our error."""
        whole = b"".join(map(bytes, entries(1, 7)))
        try:
            for one in read(whole[:at] + octets + whole[at:], "file"):
                one.checkpoint(SIGNER.public, "file")
        except DataError as error:
            self.assertIn("file", str(error))

    def test_other_text(self) -> None:
        """What is signed and no checkpoint is refused."""
        good = str(entries(3)[0].checkpoint(SIGNER.public, "x"))
        for text in ("a\n", good.replace("3\n", "03\n", 1), good + "more\n", good + "count x y\n"):
            self.assertRaises(DataError, Checkpoint.parse, text, "file")

    def test_thin(self) -> None:
        """Of checkpoints that are left out, what the others stand on stays."""
        kept = thin(entries(1, 4, 9, 17, 30), [True, False, False, True, True])
        whole = Stretch()
        for entry, size in zip(kept, (1, 17, 30), strict=True):
            whole = whole.then(entry.since)
            self.assertEqual(whole, Stretch.of(0, LEAVES[:size]))
