"""Host names in payloads.  Owns: octets → a name that is safe to judge and to write down, or None.
Knows: RFC 1123 section 2.1 (form), 2181 (underscores happen), 3696 (top labels).
Never: where a name stood."""

from __future__ import annotations

import re

# RFC 1035 section 2.3.4: 255 octets on the wire are 253 as text.
_MAX_NAME_LEN = 253
_LABELS = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*([a-z0-9_-]{1,63})")
# A last label of this form makes the whole an address, to a browser ("0x7f.1").
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")


def host_name(octets: bytes) -> str | None:
    """Give a host name in lower case without final dot; None for all that is none.

    Clients put what they like where a name should be: without a form, it would be judged, logged
    and shown as it is.
    """
    if len(octets) > _MAX_NAME_LEN + 1 or not octets.isascii():
        return None
    text = octets.decode("ascii").lower().removesuffix(".")
    match = _LABELS.fullmatch(text)
    if match is None or len(text) > _MAX_NAME_LEN or _NUMBER.fullmatch(match[1]):
        return None
    return None if match[1].startswith("-") or match[1].endswith("-") else text
