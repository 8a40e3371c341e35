"""FF1: encryption that keeps a number in its range.  Owns: the keyed permutation of strings of
numerals, as numbers.  Knows: NIST SP 800-38G revision 1, section 5.1 (FF1); AES.
Never: what the numbers mean."""

from __future__ import annotations

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

MIN_DOMAIN = 1_000_000
"""With fewer values the standard forbids it: whoever sees enough of them could learn the rest."""

_BLOCK_LEN = 16
_ROUNDS = 10


class Ff1:
    """A permutation of 0..radix**length - 1: the numbers that `length` numerals write."""

    def __init__(self, key: bytes, radix: int, length: int, tweak: bytes = b"") -> None:
        """Begin.

        Args:    key: of AES, 16, 24 or 32 octets; radix: 2..65536; tweak: another one is another
                 permutation.
        """
        if radix**length < MIN_DOMAIN:
            raise ValueError(f"{length} numerals of radix {radix} are too few")
        # One block at a time, each on its own: the chaining is done here (algorithm 6, PRF).
        self._cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        first, second = length // 2, length - length // 2
        self._moduli: tuple[int, int] = radix**first, radix**second
        self._number_len = ((radix**second - 1).bit_length() + 7) // 8
        self._keystream_len = 4 * ((self._number_len + 3) // 4) + 4
        head = bytes((1, 2, 1)) + radix.to_bytes(3, "big") + bytes((_ROUNDS, first % 256))
        head += length.to_bytes(4, "big") + len(tweak).to_bytes(4, "big")
        self._head = int.from_bytes(self._cipher.update(head), "big")
        self._tweak = tweak + bytes((-len(tweak) - self._number_len - 1) % _BLOCK_LEN)

    def encrypt(self, number: int) -> int:
        """Permute (algorithm 7)."""
        left, right = divmod(number, self._moduli[1])
        for turn in range(_ROUNDS):
            added = (left + self._keystream(turn, right)) % self._moduli[turn % 2]
            left, right = right, added
        return left * self._moduli[1] + right

    def decrypt(self, number: int) -> int:
        """Take the permutation back (algorithm 8)."""
        left, right = divmod(number, self._moduli[1])
        for turn in reversed(range(_ROUNDS)):
            taken = (right - self._keystream(turn, left)) % self._moduli[turn % 2]
            left, right = taken, left
        return left * self._moduli[1] + right

    def _keystream(self, turn: int, number: int) -> int:
        data = self._tweak + bytes((turn,)) + number.to_bytes(self._number_len, "big")
        mixed = self._head
        for at in range(0, len(data), _BLOCK_LEN):
            mixed = self._encrypted(mixed ^ int.from_bytes(data[at : at + _BLOCK_LEN], "big"))
        stream = mixed.to_bytes(_BLOCK_LEN, "big")
        for block in range(1, -(-self._keystream_len // _BLOCK_LEN)):
            stream += self._encrypted(mixed ^ block).to_bytes(_BLOCK_LEN, "big")
        return int.from_bytes(stream[: self._keystream_len], "big")

    def _encrypted(self, block: int) -> int:
        octets = self._cipher.update(block.to_bytes(_BLOCK_LEN, "big"))
        return int.from_bytes(octets, "big")
