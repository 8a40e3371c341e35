"""What the bytes are.  Owns: recognisers, one protocol a file, and the table of signatures.
Knows: the RFCs that each file names.  Never: addresses, policy, sockets, time.

A recogniser is a pure function of bytes that gives a Content or None and never raises; `recognise`
asks those that may know (`demultiplex` says which)."""

from gateway.wire.demultiplex import MAX_FIRST_BYTES_LEN, messages, recognise, wants_more
from gateway.wire.quic import IN_PART as QUIC_IN_PART
from gateway.wire.quic import recognise_together
from gateway.wire.sd_rtn import dashed_address
from gateway.wire.signatures import SIGNATURES, Condition, LengthField, Signature, signature

__all__ = [
    "MAX_FIRST_BYTES_LEN",
    "QUIC_IN_PART",
    "SIGNATURES",
    "Condition",
    "LengthField",
    "Signature",
    "dashed_address",
    "messages",
    "recognise",
    "recognise_together",
    "signature",
    "wants_more",
]
