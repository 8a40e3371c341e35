"""What the kernel counted of a queue.  Owns: reading its line of /proc.
Knows: nfnetlink_queue's seq_file.  Never: netlink, verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_PATH = Path("/proc/net/netfilter/nfnetlink_queue")
# queue, port, waiting, copy mode, copied length, dropped, dropped to user space, sequence, 1
_COLUMNS = 9


def queue_counts(queue: int, path: Path = _PATH) -> Mapping[str, int]:
    """Give what the kernel counted of a queue since it was opened, by name: an account of the
    packets that does not rest on this process's own.

    Returns: empty where the kernel does not say.
    """
    try:
        lines = path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    for words in map(str.split, lines):
        if len(words) >= _COLUMNS and words[0] == str(queue) and all(map(str.isdigit, words)):
            return {
                "kernel: queued": int(words[7]),
                "kernel: waiting": int(words[2]),
                "kernel: dropped, queue full": int(words[5]),
                "kernel: dropped, not delivered": int(words[6]),
            }
    return {}
