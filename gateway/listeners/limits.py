"""The bounds of a listener.  Owns: Limits.  Knows: RFC 4787, RFC 5382 (what a NAT owes to flows).
Never: counting against them."""

from __future__ import annotations

from dataclasses import dataclass

# A stream's first bytes are kept for each connection: past this a flood of them is our memory.
MOST_FIRST_BYTES = 64 * 1024
"""The most that `first_bytes_len` may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one listener holds, and for how long.  Counts are per listener unless they say."""

    connections: int = 1024
    """Client TCP connections at once; one more is reset."""
    connections_per_client: int = 256
    """Of these for one client address (one /64 of IPv6): a quarter, so that no client, nor three
    of them, can shut the others out."""
    handshake_timeout_s: float = 10.0
    """From accepting a connection to knowing its destination: a silent client keeps no place."""
    resolve_timeout_s: float = 5.0
    """For one name."""
    connect_timeout_s: float = 15.0
    """From starting to dial to being connected."""
    first_bytes_len: int = 16 * 1024
    """Octets of a stream that are held to recognise it; then it is judged by what there is.  As
    many are kept for as long as the stream is open, for policies to come."""
    first_bytes_timeout_s: float = 10.0
    """How long the first bytes may take; a stream that is still unclear then is cut."""
    silence_timeout_s: float = 1.0
    """How long a client may be silent before its server is let speak first (SMTP, FTP, SSH)."""
    stream_idle_timeout_s: float = 7440.0
    """Neither side spoke.  2 hours 4 minutes, the least that RFC 5382 REQ-5 allows a NAT."""
    closing_timeout_s: float = 60.0
    """For the last bytes to leave once a stream has ended: a stalled reader keeps no place."""
    splices: int = 192
    """Directions of streams, once they are past 64 KiB, that the kernel moves at once; one more is
    copied.  Each has a pipe: two file descriptors, and up to 256 KiB of the 64 MiB that Linux lets
    one user have before it makes pipes too small to be of use (pipe-user-pages-soft)."""
    candidates: int = 16
    """Addresses of one name that are judged; the rest is ignored."""
    udp_sessions: int = 1024
    """Client UDP endpoints at once to which something is let through; a datagram of one more is
    dropped.  Who is only blocked takes no place."""
    udp_sessions_per_client: int = 256
    """Of these for one client address (one /64 of IPv6)."""
    udp_destinations: int = 32768
    """Destinations of all UDP sessions together.  Each keeps one datagram of at most 1500 octets
    for each way to it."""
    udp_destinations_per_client: int = 8192
    """Of these for one client address (one /64 of IPv6)."""
    session_destinations: int = 256
    """Destinations of one UDP session; a datagram to one more is dropped."""
    session_ports: int = 16
    """Upstream sockets of one UDP session.  Two do (IPv4, IPv6), unless two destinations are
    dialled at one address (one relay for both): then each needs its own, to tell answers apart."""
    udp_idle_timeout_s: float = 120.0
    """The client sent nothing to a destination.  RFC 4787 REQ-5: not under 2 minutes."""
    name_lifetime_s: float = 60.0
    """How long an association remembers the addresses of a name."""
    failed_name_lifetime_s: float = 5.0
    """How long it remembers that a name had none."""
    association_names: int = 256
    """Names that one association remembers; the oldest is forgotten."""
    association_pending: int = 32
    """Datagrams that wait for their name in one association; the oldest is dropped."""

    def __post_init__(self) -> None:
        assert 0 < self.first_bytes_len <= MOST_FIRST_BYTES, "first_bytes_len: 1..65536"
