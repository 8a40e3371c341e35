"""Telegram's calls through a reflector.  Owns: one datagram by which a client finds it → Content.
Knows: libtgvoip and tgcalls, as published (16 octets of a call's peer tag, then -1 three times).
Never: ports, policy, the media, which is noise, nor MTProto over TCP, which is obfuscated."""

from __future__ import annotations

from gateway.model import Content, Protocol, Traffic

_TAG_LEN = 16
_MARK = b"\xff" * 12
# What is behind the mark, and how long the whole is: -1 asks whether the reflector is there, -2
# for the client's own address, with a number.
_KINDS = {
    (b"\xff\xff\xff\xff", 32): Content(Protocol.TELEGRAM, "Reflector Ping", Traffic.PING),
    (b"\xfe\xff\xff\xff", 40): Content(Protocol.TELEGRAM, "Reflector Self Info", Traffic.PING),
}


def recognise(payload: bytes) -> Content | None:
    """Recognise a question to a reflector by the 16 octets behind its tag; None if it is none.

    Plaintext is None: the tag before them names the call, in the media behind it too, and these
    cannot be told; so the flow is to be treated as what cannot be read.
    """
    length = len(payload)
    if length > 40 or not payload.startswith(_MARK, _TAG_LEN) or payload.startswith(_MARK):
        return None
    return _KINDS.get((payload[_TAG_LEN + len(_MARK) :][:4], length))
